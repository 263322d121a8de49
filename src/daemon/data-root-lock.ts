import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { conflict, messageOf } from '#model/errors.ts';

/**
 * One daemon a data root. The kernel holds the lock (SQLite's, on a file of its own) and lets go of it when the process
 * ends, however it ends; the file beside it only says who has it.
 */
export class DataRootLock implements Disposable {
  readonly #database: DatabaseSync;
  readonly #holder: string;

  /** `conflict` names the process that has the data root. */
  constructor(dataRoot: string) {
    this.#holder = join(dataRoot, 'daemon.pid');
    this.#database = new DatabaseSync(join(dataRoot, 'daemon.lock'), { timeout: 0 });
    try {
      this.#database.exec('BEGIN EXCLUSIVE');
    } catch (cause) {
      this.#database.close();
      throw conflict(
        `the data root ${dataRoot} is in use by a daemon with PID ${readPid(this.#holder) ?? 'unknown'}: ${messageOf(cause)}`,
        { cause },
      );
    }
    writeFileSync(this.#holder, `${process.pid}\n`);
  }

  [Symbol.dispose](): void {
    rmSync(this.#holder, { force: true });
    this.#database.close();
  }
}

/** The number in a pid file; undefined when there is no such file or nothing of the kind in it. */
export function readPid(file: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  const pid = Number.parseInt(text, 10);
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}
