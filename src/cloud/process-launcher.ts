import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { enterCgroup } from '#linux/cgroups.ts';
import { internal, unavailable } from '#model/errors.ts';

/**
 * Starts a program that outlives this one, in a session of its own; gives its PID. It is born in `cgroup`, so that whoever is
 * interrupted right after leaves nothing that cannot be found. `unavailable` where there is no such program.
 */
export function launch(o: { program: string; args: readonly string[]; cgroup: string; log: string }): number {
  const log = openSync(o.log, 'a', 0o640);
  try {
    using _born = enterCgroup(o.cgroup);
    const child = spawn(o.program, o.args, { detached: true, cwd: '/', stdio: ['ignore', log, log] });
    // no number: the error says why, and comes as an event as well
    child.once('error', () => undefined);
    if (child.pid === undefined) throw unavailable(`cannot run ${o.program}: is it installed?`);
    child.unref();
    return child.pid;
  } finally {
    closeSync(log);
  }
}

/** Runs a program to its end; `internal` with what it said where it fails. */
export async function runCommand(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += String(chunk);
  });
  const [code]: unknown[] = await once(child, 'close');
  if (code !== 0) throw internal(`${program} ${args.join(' ')}: ${said.trim()}`);
}

/** Runs a program with this one's input and output; resolves with its exit code, or 128 and more after a signal. */
export async function runInForeground(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<number> {
  const child = spawn(program, args, { stdio: 'inherit', env: { ...process.env, ...environment } });
  // Ctrl-C is for the program, which the terminal tells as well.
  const ignore = (): void => undefined;
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.on(signal, ignore);
  try {
    const [code]: unknown[] = await once(child, 'close');
    return typeof code === 'number' ? code : 130;
  } finally {
    for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.off(signal, ignore);
  }
}
