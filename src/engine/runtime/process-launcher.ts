import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { PassThrough, type Readable } from 'node:stream';
import { startDetached } from '#linux/detached-process.ts';
import { cancelled, messageOf, unavailable } from '#model/errors.ts';

export interface CommandResult {
  /** Exit code, or 128 + the signal's number. */
  code: number;
  stdout: string;
  stderr: string;
}

const SIGKILL_CODE = 137;

/** Runs a program to its end, or the signal's, and collects what it prints; `unavailable` where it cannot be started. */
export function runCommand(
  program: string,
  args: readonly string[],
  signal?: AbortSignal,
): Promise<CommandResult> {
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(signal === undefined ? {} : { signal }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.once('error', (cause) => {
    const message = `cannot run ${program}: ${cause.message}`;
    reject(signal?.aborted === true ? cancelled(message, { cause }) : unavailable(message, { cause }));
  });
  child.once('close', (code) => resolve({ code: code ?? SIGKILL_CODE, stdout, stderr }));
  return promise;
}

/** What a program makes of `input`, as it does; the stream fails where the program or `input` does. */
export function filterThrough(program: string, args: readonly string[], input: Readable): Readable {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const output = new PassThrough();
  let message = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    message += text;
  });
  child.once('error', (cause) =>
    output.destroy(unavailable(`cannot run ${program}: ${cause.message}`, { cause })),
  );
  child.once('close', (code) => {
    if (code === 0) output.end();
    else output.destroy(new Error(`${program}: ${message.trim()}`));
  });
  output.once('close', () => child.kill('SIGKILL'));
  child.stdout.pipe(output, { end: false });
  // What the program does not want to read any more is its own affair: it says so by its exit code.
  child.stdin.on('error', () => undefined);
  input.once('error', (error) => output.destroy(error));
  input.pipe(child.stdin);
  return output;
}

/**
 * Starts a Node program of ours that outlives this process, and resolves when it is ready: when it has written to descriptor 3.
 * `unavailable` where it cannot be started, or ended before.
 */
export async function startLasting(file: string, args: readonly string[]): Promise<void> {
  // setsid(1) leaves it behind at once, so that it is no child of ours
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', '--max-semi-space-size=1'];
  const { PATH = '/usr/sbin:/usr/bin:/sbin:/bin' } = process.env;
  try {
    const [said] = await startDetached({
      ...{ program: 'setsid', args: ['--fork', ...node, file, ...args], cwd: '/', pipes: 1 },
      environment: { PATH },
    });
    for await (const _ready of said ?? []) return;
  } catch (cause) {
    throw unavailable(`cannot run ${file}: ${messageOf(cause)}`, { cause });
  }
  throw unavailable(`cannot run ${file}: it ended at once`);
}

export interface StartedService {
  readonly pid: number;
  /** Resolves with how it ended, while this process lives. */
  readonly exited: Promise<string>;
}

/**
 * Starts a program that goes on when this process ends: in a session of its own, so that no signal meant for us reaches it. What it prints
 * is added to `logFile`. `unavailable` where it cannot be started.
 */
export async function startService(o: {
  program: string;
  args: readonly string[];
  environment: Readonly<Record<string, string>>;
  cwd: string;
  logFile: string;
}): Promise<StartedService> {
  const log = openSync(o.logFile, 'a', 0o600);
  try {
    const child = spawn(o.program, o.args, {
      ...{ cwd: o.cwd, env: { ...o.environment }, detached: true, stdio: ['ignore', log, log] },
    });
    const started = Promise.withResolvers<void>();
    child.once('spawn', () => started.resolve());
    child.on('error', (cause) =>
      started.reject(unavailable(`cannot run ${o.program}: ${cause.message}`, { cause })),
    );
    const exited = Promise.withResolvers<string>();
    child.once('exit', (code, signal) => exited.resolve(signal ?? `exit code ${code}`));
    await started.promise;
    child.unref();
    return { pid: child.pid ?? 0, exited: exited.promise };
  } finally {
    closeSync(log);
  }
}
