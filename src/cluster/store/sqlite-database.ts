import { randomUUID } from 'node:crypto';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { openDatabase, transaction } from '#engine/records/database-file.ts';
import { forgotten } from './change-log.ts';
import type { Change, ChangeBatch, Entry, Transaction } from './store.ts';

/** `lease` only says that there is one: leases are the process's. */
const TABLES = `
CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL, lease TEXT) STRICT;
CREATE INDEX IF NOT EXISTS leased ON entries (key) WHERE lease IS NOT NULL;
CREATE TABLE IF NOT EXISTS changes (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, key TEXT NOT NULL, value TEXT, lease TEXT) STRICT;
CREATE INDEX IF NOT EXISTS by_revision ON changes (revision);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;

type Row = Record<string, unknown>;
type StateName = 'id' | 'revision' | 'forgotten' | 'successor';

/** How much of what changed is kept for watches; the last commit always is, whole. */
export interface HistoryLimits {
  readonly changes: number;
  readonly bytes: number;
}

/**
 * The file of a {@link SqliteStore}: entries, what changed last, and where both stand. A commit is on disk when the call returns. Errors
 * are SQLite's own.
 */
export class SqliteDatabase implements Disposable {
  readonly id: string;
  readonly #database: DatabaseSync;
  readonly #limits: HistoryLimits;
  readonly #statements: Readonly<Record<keyof typeof STATEMENTS, StatementSync>>;
  #revision: number;
  #forgotten: number;
  #kept: { changes: number; bytes: number };

  constructor(file: string, limits: HistoryLimits) {
    this.#database = openDatabase(file, TABLES, { durable: true });
    this.#limits = limits;
    try {
      const prepare = (sql: string): StatementSync => this.#database.prepare(sql);
      this.#statements = {
        ...{
          get: prepare(STATEMENTS.get),
          list: prepare(STATEMENTS.list),
          leased: prepare(STATEMENTS.leased),
        },
        ...{ put: prepare(STATEMENTS.put), delete: prepare(STATEMENTS.delete) },
        ...{ remember: prepare(STATEMENTS.remember), forget: prepare(STATEMENTS.forget) },
        ...{ next: prepare(STATEMENTS.next), of: prepare(STATEMENTS.of), oldest: prepare(STATEMENTS.oldest) },
        ...{ state: prepare(STATEMENTS.state), setState: prepare(STATEMENTS.setState) },
        unseal: prepare(STATEMENTS.unseal),
      };
      this.#revision = Number(this.state('revision') ?? 0);
      this.#forgotten = Number(this.state('forgotten') ?? 0);
      const kept = prepare('SELECT count(*) AS changes, total(length(value)) AS bytes FROM changes').get();
      this.#kept = { changes: Number(kept?.['changes']), bytes: Number(kept?.['bytes']) };
      if (this.state('id') === undefined) this.#setState('id', randomUUID());
      this.id = this.state('id') ?? '';
      this.#shrink();
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  get revision(): number {
    return this.#revision;
  }

  /** Of the file, what waits in its log left out. */
  get bytes(): number {
    return this.#pragma('page_count') * this.#pragma('page_size');
  }

  /** Writes the file anew, as small as what it keeps. Nothing else is done meanwhile; it needs as much disk again. */
  compact(): void {
    this.#database.exec('VACUUM; PRAGMA wal_checkpoint(TRUNCATE)');
  }

  /** The store that this one has been moved to, or is being moved to. */
  get successor(): string | undefined {
    return this.state('successor');
  }

  seal(successor: string): void {
    this.#setState('successor', successor);
  }

  unseal(): void {
    this.#statements.unseal.run();
  }

  get(key: string): Entry | undefined {
    const row = this.#statements.get.get(key);
    return row === undefined ? undefined : entryOf(row);
  }

  /** 0 for a key that is not there. */
  revisionOf(key: string): number {
    return this.get(key)?.revision ?? 0;
  }

  list(prefix: string): Entry[] {
    return this.#statements.list.all(prefix, `${prefix}\u007f`).map(entryOf);
  }

  /** The keys that went with a lease when they were written. */
  leasedKeys(): string[] {
    return this.#statements.leased.all().map((row) => String(row['key']));
  }

  /** Writes all of it under the next revision, which it gives; the present one where nothing changes. */
  write(puts: Transaction['puts'], deletes: readonly string[]): number {
    const there = deletes.filter((key) => this.revisionOf(key) > 0);
    if (puts.length === 0 && there.length === 0) return this.#revision;
    const revision = this.#revision + 1;
    const kept = { ...this.#kept };
    const dropped = transaction(this.#database, () => {
      for (const { key, value, lease } of puts) {
        this.#statements.put.run(key, value, revision, lease ?? null);
        this.#statements.remember.run(revision, key, value, lease ?? null);
        kept.bytes += value.length;
      }
      for (const key of there) {
        this.#statements.delete.run(key);
        this.#statements.remember.run(revision, key, null, null);
      }
      kept.changes += puts.length + there.length;
      this.#setState('revision', String(revision));
      return this.#dropOldest(kept, revision);
    });
    this.#revision = revision;
    this.#kept = kept;
    this.#forgotten = dropped ?? this.#forgotten;
    return revision;
  }

  /** The next commit after a revision; undefined where there is none yet, `conflict` where it is forgotten. */
  after(revision: number): ChangeBatch | undefined {
    if (revision < this.#forgotten) throw forgotten(revision);
    if (revision >= this.#revision) return undefined;
    const next = this.#statements.next.get(revision);
    if (next?.['revision'] === null || next === undefined) return undefined;
    const found = Number(next['revision']);
    return { revision: found, changes: this.#statements.of.all(found).map(changeOf) };
  }

  state(name: StateName): string | undefined {
    const row = this.#statements.state.get(name);
    return row === undefined ? undefined : String(row['value']);
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  /** SQLite uses free pages again, and never gives them back by itself. */
  #shrink(): void {
    if (this.bytes < SMALL_BYTES || this.#pragma('freelist_count') < this.#pragma('page_count') / 2) return;
    try {
      this.compact();
    } catch {
      // a store that is too large is a store: the disk may be full
    }
  }

  #pragma(name: 'page_count' | 'page_size' | 'freelist_count'): number {
    return Number(this.#database.prepare(`PRAGMA ${name}`).get()?.[name]);
  }

  #setState(name: StateName, value: string): void {
    this.#statements.setState.run(name, value);
  }

  /**
   * Forgets the oldest commits when there is a quarter more than the limits say, so that it is done seldom. Takes what goes from `kept` and
   * gives the last revision that went.
   */
  #dropOldest(kept: { changes: number; bytes: number }, newest: number): number | undefined {
    const { changes, bytes } = this.#limits;
    if (kept.changes <= changes * SLACK && kept.bytes <= bytes * SLACK) return undefined;
    let last: number | undefined;
    for (const row of this.#statements.oldest.iterate(newest)) {
      if (kept.changes <= changes && kept.bytes <= bytes) break;
      last = Number(row['revision']);
      kept.changes -= Number(row['changes']);
      kept.bytes -= Number(row['bytes']);
    }
    if (last === undefined) return undefined;
    this.#statements.forget.run(last);
    this.#setState('forgotten', String(last));
    return last;
  }
}

const SLACK = 1.25;
/** A file below this is left as it is. */
const SMALL_BYTES = 16 * 1024 * 1024;

const STATEMENTS = {
  get: 'SELECT key, value, revision, lease FROM entries WHERE key = ?',
  list: 'SELECT key, value, revision, lease FROM entries WHERE key >= ? AND key < ? ORDER BY key',
  leased: 'SELECT key FROM entries WHERE lease IS NOT NULL ORDER BY key',
  put: 'INSERT OR REPLACE INTO entries (key, value, revision, lease) VALUES (?, ?, ?, ?)',
  delete: 'DELETE FROM entries WHERE key = ?',
  remember: 'INSERT INTO changes (revision, key, value, lease) VALUES (?, ?, ?, ?)',
  forget: 'DELETE FROM changes WHERE revision <= ?',
  next: 'SELECT min(revision) AS revision FROM changes WHERE revision > ?',
  of: 'SELECT key, value, revision, lease FROM changes WHERE revision = ? ORDER BY id',
  oldest:
    'SELECT revision, count(*) AS changes, total(length(value)) AS bytes FROM changes WHERE revision < ? GROUP BY revision ORDER BY revision',
  state: 'SELECT value FROM state WHERE name = ?',
  unseal: "DELETE FROM state WHERE name = 'successor'",
  setState: 'INSERT OR REPLACE INTO state (name, value) VALUES (?, ?)',
} as const;

function entryOf(row: Row): Entry {
  const { key, value, revision, lease } = row;
  return {
    ...{ key: String(key), value: String(value), revision: Number(revision) },
    ...(lease === null ? {} : { lease: String(lease) }),
  };
}

function changeOf(row: Row): Change {
  if (row['value'] !== null) return { kind: 'put', entry: entryOf(row) };
  return { kind: 'delete', key: String(row['key']), revision: Number(row['revision']) };
}
