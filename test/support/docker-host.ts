import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach } from 'node:test';
import { fileURLToPath } from 'node:url';
import { hasCode } from '#linux/system-call-error.ts';
import { ApiDaemon } from './api-daemon.ts';
import { patience } from './patience.ts';

/** The image that the tests run: a static busybox. */
export const BUSYBOX: string = fileURLToPath(new URL('../../.cache/busybox.tar', import.meta.url));
const COMMAND_LIMIT_MS = patience(20_000);

export interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** The socket of a dockerd that the suite runs against in place of a daemon of ours; set by `npm run test:reference`. */
export function referenceSocket(): string | undefined {
  return process.env['DROVER_TEST_REFERENCE'];
}

/**
 * A daemon of our own, or the reference, driven by the docker CLI; with the image `bb`. Disposing of it removes every container,
 * volume and network that the tests made.
 */
export class DockerHost implements AsyncDisposable {
  readonly socket: string;
  /** For files of the tests; gone with the host. */
  readonly directory: string = mkdtempSync(join(tmpdir(), 'drover-test-'));
  readonly #daemon: ApiDaemon | undefined;

  private constructor(socket: string, daemon: ApiDaemon | undefined) {
    this.socket = socket;
    this.#daemon = daemon;
  }

  static async open(): Promise<DockerHost> {
    const reference = referenceSocket();
    const daemon = reference === undefined ? await ApiDaemon.start() : undefined;
    const host = new DockerHost(daemon?.socket ?? reference ?? '', daemon);
    if (host.docker('image', 'inspect', 'bb').status !== 0) host.ok('import', BUSYBOX, 'bb');
    return host;
  }

  /** The daemon's process, its log and its end: for what only our own daemon is asked. */
  get daemon(): ApiDaemon {
    assert.ok(this.#daemon !== undefined, 'the reference is not ours to touch');
    return this.#daemon;
  }

  /** Runs the docker CLI to its end. */
  docker(...argv: string[]): Result {
    return this.input('', ...argv);
  }

  /** The same with something on its standard input. */
  input(stdin: string | Buffer, ...argv: string[]): Result {
    const done = spawnSync('docker', ['-H', `unix://${this.socket}`, ...argv], {
      input: stdin,
      encoding: 'utf8',
      timeout: COMMAND_LIMIT_MS,
      maxBuffer: 256 << 20,
    });
    // A command may end before it has read its input.
    if (done.error !== undefined && !hasCode(done.error, 'EPIPE')) throw done.error;
    return done;
  }

  /** Runs the docker CLI to its end, with the bytes it prints as they are. */
  binary(...argv: string[]): { status: number | null; stdout: Buffer; stderr: Buffer } {
    return spawnSync('docker', ['-H', `unix://${this.socket}`, ...argv], {
      timeout: COMMAND_LIMIT_MS,
      maxBuffer: 256 << 20,
    });
  }

  /** What a command that must succeed prints, without the white space at its ends. */
  ok(...argv: string[]): string {
    const { status, stdout, stderr } = this.docker(...argv);
    assert.equal(status, 0, `docker ${argv.join(' ')}: ${status}\n${stderr}`);
    return stdout.trim();
  }

  /** What a command that must fail says; `status` is the CLI's exit code. */
  fails(status: number, message: RegExp, ...argv: string[]): void {
    const done = this.docker(...argv);
    assert.equal(done.status, status, `docker ${argv.join(' ')}: ${done.stdout}${done.stderr}`);
    assert.match(done.stderr, message);
  }

  /** A command on a terminal of its own, with what is typed there: what the terminal showed, and the exit code. */
  async tty(typed: string, ...argv: string[]): Promise<{ status: number | null; shown: string }> {
    const command = this.startTty(...argv);
    command.process.stdin.end(typed);
    const status = await command.end();
    return { status, shown: command.stdout.replaceAll(/\r+\n/g, '\n') };
  }

  /** The same, going on: script(1) holds the terminal. */
  startTty(...argv: string[]): RunningCommand {
    const quoted = ['docker', '-H', `unix://${this.socket}`, ...argv].map(
      (word) => `'${word.replaceAll("'", `'\\''`)}'`,
    );
    return new RunningCommand(
      spawn('script', ['-qec', quoted.join(' '), '/dev/null'], {
        env: { ...process.env, TERM: 'xterm', SHELL: '/bin/sh' },
      }),
    );
  }

  /** A command that goes on; its output is collected. */
  start(...argv: string[]): RunningCommand {
    return new RunningCommand(spawn('docker', ['-H', `unix://${this.socket}`, ...argv]));
  }

  /** `docker run -d` of the test image; the container's id. */
  runDetached(options: readonly string[], ...command: string[]): string {
    return this.ok('run', '-d', ...options, 'bb', ...command);
  }

  /** One field of a container, as `docker inspect -f` prints it. */
  inspect(container: string, format: string): string {
    return this.ok('inspect', '-f', format, container);
  }

  /** A call without the CLI, for what it cannot ask for; gives the status and the parsed body. */
  async call(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
    const { status, body: promised } = await this.open(method, path, body);
    return { status, body: await promised };
  }

  /** The same, resolved as soon as the answer's head is there. */
  async open(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: Promise<unknown> }> {
    const call = request({
      socketPath: this.socket,
      method,
      path,
      agent: false,
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
    });
    call.end(body === undefined ? undefined : JSON.stringify(body));
    const [response]: IncomingMessage[] = await once(call, 'response');
    assert.ok(response !== undefined);
    return { status: response.statusCode ?? 0, body: parsedBody(response) };
  }

  /** Containers, volumes and networks that a test left for the next one to stumble over. */
  clear(): void {
    const containers = this.ok('ps', '-aq').split('\n').filter(Boolean);
    if (containers.length > 0) this.ok('rm', '-f', '-v', ...containers);
    const volumes = this.ok('volume', 'ls', '-q').split('\n').filter(Boolean);
    if (volumes.length > 0) this.ok('volume', 'rm', ...volumes);
    const networks = this.ok('network', 'ls', '-q', '--filter', 'type=custom').split('\n').filter(Boolean);
    if (networks.length > 0) this.ok('network', 'rm', ...networks);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#daemon === undefined) this.clear();
    await this.#daemon?.[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The host of a test file: cleared after each of its tests, gone after the last. Called once, at the file's top. */
export async function hostOfFile(): Promise<DockerHost> {
  const host = await DockerHost.open();
  afterEach(() => host.clear());
  after(() => host[Symbol.asyncDispose]());
  return host;
}

/** A docker command that has not ended yet. */
export class RunningCommand {
  readonly process: ChildProcessWithoutNullStreams;
  stdout = '';
  stderr = '';
  readonly #closed: Promise<number | null>;

  constructor(process: ChildProcessWithoutNullStreams) {
    this.process = process;
    process.stdout.on('data', (chunk) => {
      this.stdout += String(chunk);
    });
    process.stderr.on('data', (chunk) => {
      this.stderr += String(chunk);
    });
    process.stdin.on('error', () => undefined);
    this.#closed = once(process, 'close').then(([code]: unknown[]) =>
      typeof code === 'number' ? code : null,
    );
  }

  /** Resolves when its output says so. */
  async prints(pattern: RegExp): Promise<void> {
    await eventually(() => pattern.test(this.stdout) || pattern.test(this.stderr), String(pattern));
  }

  /** Resolves with its exit code; null after a signal. */
  async end(): Promise<number | null> {
    return await this.#closed;
  }

  /** Ends it as Ctrl-C outside of a terminal does. */
  async interrupt(): Promise<number | null> {
    this.process.kill('SIGINT');
    return await this.#closed;
  }
}

/** Waits for a condition; an error that names it when it does not come true. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string,
  limitMs = 20_000,
): Promise<void> {
  const deadline = Date.now() + patience(limitMs);
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function parsedBody(response: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of response) text += String(chunk);
  const isJson = response.headers['content-type']?.startsWith('application/json');
  return isJson && text !== '' ? JSON.parse(text) : text;
}
