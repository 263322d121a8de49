import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { removeCgroup } from '#linux/cgroups.ts';

const START_LIMIT_MS = 60_000;

/** Debian's dockerd on directories, a socket and a cgroup of its own below `directory`. */
export class Dockerd implements AsyncDisposable {
  readonly socket: string;
  readonly process: ChildProcess;
  readonly #cgroup: string;

  private constructor(process: ChildProcess, socket: string, cgroup: string) {
    this.process = process;
    this.socket = socket;
    this.#cgroup = cgroup;
  }

  /** Resolves when the API listens. `launcher` is what runs the command: unshare(1) with its options, say. */
  static async start(directory: string, launcher: readonly string[] = []): Promise<Dockerd> {
    mkdirSync(directory, { recursive: true });
    const cgroup = directory.slice(1).replaceAll('/', '_');
    const socket = join(directory, 'd.sock');
    const log = join(directory, 'dockerd.log');
    const [program = '', ...argv] = [
      ...[...launcher, 'dockerd', '--data-root', join(directory, 'data')],
      ...['--exec-root', join(directory, 'run', 'exec'), '--pidfile', join(directory, 'dockerd.pid')],
      ...['--host', `unix://${socket}`, '--cgroup-parent', `/${cgroup}`, '--storage-driver', 'overlay2'],
    ];
    const process = spawn(program, argv, { stdio: ['ignore', 'ignore', openSync(log, 'w')] });
    const dockerd = new Dockerd(process, socket, cgroup);
    const deadline = Date.now() + START_LIMIT_MS;
    while (!readFileSync(log, 'utf8').includes('API listen on')) {
      if (process.exitCode !== null || process.pid === undefined || Date.now() > deadline)
        throw new Error(`dockerd did not start:\n${readFileSync(log, 'utf8')}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return dockerd;
  }

  /** Ends the daemon and removes its cgroups; its containers have to be gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode === null) {
      const exit = once(this.process, 'exit');
      this.process.kill('SIGTERM');
      await exit;
    }
    removeCgroup(`/${this.#cgroup}`);
  }
}
