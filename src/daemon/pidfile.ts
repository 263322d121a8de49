import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { conflict } from '#model/errors.ts';
import { readPid } from './data-root-lock.ts';

/** Tells service managers the daemon's process. What a dead one left, or one whose number another program has now, is taken over. */
export class Pidfile implements Disposable {
  readonly #file: string;

  /** `conflict` when the daemon that wrote the file still runs. */
  constructor(file: string) {
    this.#file = file;
    const pid = readPid(file);
    if (pid !== undefined && pid !== process.pid && isDaemon(pid)) {
      throw conflict(`the pid file ${file} belongs to a daemon that runs, with PID ${pid}`);
    }
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${process.pid}\n`);
  }

  [Symbol.dispose](): void {
    if (readPid(this.#file) === process.pid) rmSync(this.#file, { force: true });
  }
}

function isDaemon(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('daemon/main.ts');
  } catch {
    return false;
  }
}
