import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/**
 * Opens an SQLite file, made with its folder (0710) where it is not there. `tables` are the statements that make what is missing.
 *
 * A returned write is on its way to disk and survives the process's death (WAL, synchronous=NORMAL: losing power may
 * lose the last moments, never consistency). Waits 5 s for another process's lock. The caller closes it.
 */
export function openDatabase(file: string, tables: string): DatabaseSync {
  mkdirSync(dirname(file), { recursive: true, mode: 0o710 });
  const database = new DatabaseSync(file, { timeout: 5000 });
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
  database.exec(tables);
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
    database.exec('ROLLBACK');
    throw error;
  }
}
