import { spawn } from 'node:child_process';
import { PassThrough, type Readable } from 'node:stream';
import { unavailable } from '#model/errors.ts';

export interface CommandResult {
  /** Exit code, or 128 + the signal's number. */
  code: number;
  stdout: string;
  stderr: string;
}

const SIGKILL_CODE = 137;

/** Runs a program to its end and collects what it prints; `unavailable` where it cannot be started. */
export function runCommand(program: string, args: readonly string[]): Promise<CommandResult> {
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.once('error', (cause) => reject(unavailable(`cannot run ${program}: ${cause.message}`, { cause })));
  child.once('close', (code) => resolve({ code: code ?? SIGKILL_CODE, stdout, stderr }));
  return promise;
}

/** What a program prints, as it prints it; the stream fails where the program does, with what it said. */
export function outputOf(program: string, args: readonly string[]): Readable {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
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
  return output;
}
