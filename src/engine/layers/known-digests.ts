import type { BigIntStats } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { openDatabase, transaction } from '#engine/records/database-file.ts';

const SETTLED_NS = 2_000_000_000n;
const MOST_KNOWN = 2_000_000;
const TABLES =
  'CREATE TABLE IF NOT EXISTS digests (inode TEXT PRIMARY KEY, state TEXT NOT NULL, digest TEXT NOT NULL) STRICT, WITHOUT ROWID';

/** Whether a change after `nowNs`, since the epoch, shows in the file's times: clocks of file systems are coarse. */
export function isSettled({ ctimeNs }: Pick<BigIntStats, 'ctimeNs'>, nowNs: bigint): boolean {
  return nowNs - ctimeNs >= SETTLED_NS;
}

/** Makes the file where it is not there. Before anybody opens it: SQLite refuses it to all but one of several that make it at once. */
export function makeKnownDigests(file: string): void {
  openDatabase(file, TABLES).close();
}

/**
 * Digests of files that have not changed since they were read, by inode, size and times; in a file, which several may have open. What is
 * remembered is for those that open it after this one is disposed of.
 */
export class KnownDigests implements Disposable {
  readonly #database: DatabaseSync;
  readonly #get: StatementSync;
  readonly #remembered = new Map<string, { state: string; digest: string }>();
  readonly #now = BigInt(Date.now()) * 1_000_000n;

  constructor(file: string) {
    this.#database = new DatabaseSync(file, { timeout: 10_000 });
    this.#database.exec('PRAGMA synchronous = OFF');
    this.#get = this.#database.prepare('SELECT state, digest FROM digests WHERE inode = ?');
    // For reading alone: who writes after another has written what it does not see is refused at once.
    this.#database.exec('BEGIN');
  }

  find(stats: BigIntStats): string | undefined {
    const row = this.#get.get(inodeOf(stats));
    return row?.['state'] === stateOf(stats) ? String(row['digest']) : undefined;
  }

  remember(stats: BigIntStats, digest: string): void {
    if (!isSettled(stats, this.#now)) return;
    this.#remembered.set(inodeOf(stats), { state: stateOf(stats), digest });
  }

  [Symbol.dispose](): void {
    using database = this.#database;
    database.exec('COMMIT');
    if (this.#remembered.size === 0) return;
    transaction(database, () => {
      const put = database.prepare('INSERT OR REPLACE INTO digests VALUES (?, ?, ?)');
      for (const [inode, { state, digest }] of this.#remembered) put.run(inode, state, digest);
      const rows = Number(database.prepare('SELECT count(*) AS rows FROM digests').get()?.['rows']);
      if (rows > MOST_KNOWN) database.exec('DELETE FROM digests');
    });
  }
}

function inodeOf(stats: BigIntStats): string {
  return `${stats.dev}:${stats.ino}`;
}

function stateOf(stats: BigIntStats): string {
  return `${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`;
}
