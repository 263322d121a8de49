import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { patience } from './patience.ts';

export const DROVER: string = fileURLToPath(new URL('../../bin/drover', import.meta.url));
const START_LIMIT_MS = patience(20_000);

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

/** Test files run at the same time: each has a bridge and addresses of its own, by its process. */
function ownBridge(): { bridge: string; bip: string } {
  const { pid } = process;
  return { bridge: `dv${pid.toString(36)}`, bip: `10.${128 + ((pid >> 8) % 64)}.${pid & 0xff}.1/24` };
}

/** A real daemon on roots, a socket and a bridge of its own; nothing of it is left when it is disposed of. */
export class ApiDaemon implements AsyncDisposable {
  readonly directory: string;
  readonly socket: string;
  readonly flags: readonly string[];
  readonly #process: ChildProcess;
  #log = '';
  #isExpectedToEnd = false;

  private constructor(directory: string, flags: readonly string[]) {
    this.directory = directory;
    this.socket = join(directory, 'd.sock');
    this.flags = flags;
    this.#process = spawn(DROVER, ['daemon', ...flags], { stdio: ['ignore', 'inherit', 'pipe'] });
    this.#process.stderr?.on('data', (chunk) => {
      this.#log += String(chunk);
    });
    this.#process.once('exit', (code, signal) => {
      if (!this.#isExpectedToEnd)
        console.error(`the daemon ended by itself: ${signal ?? code}\n${this.#log}`);
    });
  }

  /** `flags` beside those that keep it apart from others. */
  static async start(
    o: { bridge: string; bip: string } = ownBridge(),
    flags: readonly string[] = [],
  ): Promise<ApiDaemon> {
    const directory = mkdtempSync(join(tmpdir(), 'drover-api-'));
    return await ApiDaemon.#startOn(directory, [
      ...['--data-root', join(directory, 'data'), '--exec-root', join(directory, 'exec')],
      ...['-H', `unix://${join(directory, 'd.sock')}`, '--bridge', o.bridge, '--bip', o.bip],
      ...flags,
    ]);
  }

  /** The next daemon on the same roots, after this one has ended. */
  async startAgain(): Promise<ApiDaemon> {
    return await ApiDaemon.#startOn(this.directory, this.flags);
  }

  static async #startOn(directory: string, flags: readonly string[]): Promise<ApiDaemon> {
    const daemon = new ApiDaemon(directory, flags);
    const deadline = Date.now() + START_LIMIT_MS;
    while (!daemon.#log.includes('API listen on')) {
      if (daemon.#process.exitCode !== null || Date.now() > deadline) {
        const log = daemon.#log;
        await daemon[Symbol.asyncDispose]();
        throw new Error(`the daemon did not start:\n${log}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return daemon;
  }

  get log(): string {
    return this.#log;
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  docker(...argv: string[]): { status: number | null; stdout: string; stderr: string } {
    return spawnSync('docker', ['-H', `unix://${this.socket}`, ...argv], {
      encoding: 'utf8',
      timeout: START_LIMIT_MS,
    });
  }

  async call(
    method: string,
    path: string,
    o: { headers?: Record<string, string>; body?: string | Buffer } = {},
  ): Promise<Answer> {
    const call = request({ socketPath: this.socket, method, path, headers: { ...o.headers }, agent: false });
    call.end(o.body);
    const [response] = await once(call, 'response');
    // who has answered before it read the whole body need not read the rest
    call.on('error', () => undefined);
    let body = '';
    for await (const chunk of response) body += String(chunk);
    return { status: response.statusCode, headers: response.headers, body };
  }

  /** Sends bytes as they are, half-closes, and collects what comes back. */
  async raw(bytes: string): Promise<string> {
    const socket = connect({ path: this.socket, allowHalfOpen: true });
    let received = '';
    socket.on('data', (chunk) => {
      received += String(chunk);
    });
    socket.end(bytes);
    await once(socket, 'close');
    return received;
  }

  /** What a service manager does: SIGTERM, then wait. */
  async stop(): Promise<number | null> {
    this.#isExpectedToEnd = true;
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill('SIGTERM');
      await once(this.#process, 'exit');
    }
    return this.#process.exitCode;
  }

  /** What the kernel does when memory runs out. */
  async kill(): Promise<void> {
    this.#isExpectedToEnd = true;
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (existsSync(join(this.directory, 'data', 'drover.db'))) {
      spawnSync(DROVER, ['daemon', '--teardown', ...this.flags], {
        stdio: 'ignore',
        timeout: START_LIMIT_MS,
      });
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}
