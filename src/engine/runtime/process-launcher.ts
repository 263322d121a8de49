import { spawn } from 'node:child_process';
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
