import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const COMMAND_LIMIT_MS = 120_000;

/** Runs a command to its end; its standard output, or an error that says what it printed. */
export function run(command: readonly string[], env: NodeJS.ProcessEnv = process.env): string {
  const [program = '', ...argv] = command;
  const done = spawnSync(program, argv, {
    encoding: 'utf8',
    env,
    timeout: COMMAND_LIMIT_MS,
    maxBuffer: 64 << 20,
  });
  if (done.status !== 0) {
    throw new Error(`${command.join(' ')}: ${done.status ?? done.signal}\n${done.stderr || done.error}`);
  }
  return done.stdout.trim();
}

/** The wall time of a command in milliseconds; it must succeed. */
export function timed(command: readonly string[], env: NodeJS.ProcessEnv = process.env): number {
  const start = performance.now();
  run(command, env);
  return performance.now() - start;
}

/** The wall time of a command with each of some words at its end, `width` of them at a time, by xargs(1): it is lighter than node. */
export function timedTogether(command: readonly string[], words: readonly string[], width: number): number {
  const start = performance.now();
  const done = spawnSync('xargs', ['-P', String(width), '-n', '1', ...command], {
    input: words.join('\n'),
    encoding: 'utf8',
    timeout: COMMAND_LIMIT_MS,
  });
  if (done.status !== 0) throw new Error(`${command.join(' ')}: ${done.status}\n${done.stderr}`);
  return performance.now() - start;
}

/** Ends a process that was started here: SIGTERM, then SIGKILL when it does not listen. */
export async function end(child: ChildProcess, limitMs = 15_000): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
  await exited;
  clearTimeout(timer);
}

export interface RunningProcess {
  pid: number;
  name: string;
}

/** The processes that live in the same mount namespace as `pid`: an engine's own, without its containers'. */
export function processesBeside(pid: number): RunningProcess[] {
  const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
  const found: RunningProcess[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      if (readlinkSync(`/proc/${entry}/ns/mnt`) !== namespace) continue;
      found.push({ pid: Number(entry), name: readFileSync(`/proc/${entry}/comm`, 'utf8').trim() });
    } catch (error) {
      if (!isUnreadable(error)) throw error;
    }
  }
  return found;
}

/** Proportional set size in bytes: memory shared with others counts by the share. 0 for a process that has ended. */
export function pssBytes(pid: number): number {
  try {
    const line = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'));
    return Number(line?.[1] ?? 0) * 1024;
  } catch (error) {
    if (isUnreadable(error)) return 0;
    throw error;
  }
}

function isUnreadable(error: unknown): boolean {
  return (
    error instanceof Error && 'code' in error && ['ENOENT', 'ESRCH', 'EACCES'].includes(String(error.code))
  );
}
