import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { openDatabase, transaction } from './database-file.ts';

/** The kinds of record an engine keeps, one table each. */
export type RecordKind =
  | 'container'
  | 'image'
  | 'reference'
  | 'repository-digest'
  | 'layer'
  | 'network'
  | 'network-plan'
  | 'network-encryption'
  | 'volume'
  | 'build-cache';

/**
 * The engine's own records: JSON under (kind, key) in one SQLite file.
 *
 * A returned call is on its way to disk and survives the daemon's death (WAL, synchronous=NORMAL: losing power may
 * lose the last moments, never consistency). All calls are synchronous and take tens of microseconds.
 */
export class RecordStore implements Disposable {
  readonly #database: DatabaseSync;
  readonly #get: StatementSync;
  readonly #put: StatementSync;
  readonly #delete: StatementSync;
  readonly #list: StatementSync;

  constructor(file: string) {
    this.#database = openDatabase(
      file,
      'CREATE TABLE IF NOT EXISTS records (kind TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (kind, key)) STRICT, WITHOUT ROWID',
    );
    this.#get = this.#database.prepare('SELECT value FROM records WHERE kind = ? AND key = ?');
    this.#put = this.#database.prepare('INSERT OR REPLACE INTO records (kind, key, value) VALUES (?, ?, ?)');
    this.#delete = this.#database.prepare('DELETE FROM records WHERE kind = ? AND key = ?');
    this.#list = this.#database.prepare('SELECT value FROM records WHERE kind = ? ORDER BY key');
  }

  /** The record, or undefined. The caller names the type it wrote under this kind. */
  get<T>(kind: RecordKind, key: string): T | undefined {
    const row = this.#get.get(kind, key);
    return row === undefined ? undefined : (JSON.parse(String(row['value'])) as T);
  }

  put(kind: RecordKind, key: string, value: unknown): void {
    this.#put.run(kind, key, JSON.stringify(value));
  }

  delete(kind: RecordKind, key: string): void {
    this.#delete.run(kind, key);
  }

  list<T>(kind: RecordKind): T[] {
    return this.#list.all(kind).map((row) => JSON.parse(String(row['value'])) as T);
  }

  /** Runs `work` (synchronous) so that all of its writes happen or none does. */
  transaction<T>(work: () => T): T {
    return transaction(this.#database, work);
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}
