import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/**
 * Opens an SQLite file, made with its folder (0710) where it is not there. `tables` are the statements that make what is missing.
 *
 * A returned write is on its way to disk and survives the process's death (WAL, synchronous=NORMAL: losing power may
 * lose the last moments, never consistency); with `durable` it is on disk (synchronous=FULL) and survives that too. Waits 5 s for
 * another process's lock. The caller closes it.
 */
export function openDatabase(file: string, tables: string, o: { durable?: boolean } = {}): DatabaseSync {
  mkdirSync(dirname(file), { recursive: true, mode: 0o710 });
  const database = new DatabaseSync(file, { timeout: 5000 });
  try {
    database.exec(
      `PRAGMA journal_mode = WAL; PRAGMA synchronous = ${o.durable === true ? 'FULL' : 'NORMAL'}`,
    );
    database.exec(tables);
  } catch (error) {
    database.close();
    throw error;
  }
  return database;
}

/** Runs `work` (synchronous, not nested) so that all of its writes happen or none does. */
export function transaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    database.exec('COMMIT');
    return result;
  } catch (error) {
    // a full disk makes SQLite roll back by itself
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}
