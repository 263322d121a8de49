import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { conflict } from '#model/errors.ts';
import type { CloudPlace } from './cloud-place.ts';

/** Longer than any change takes. */
const WAIT_MS = 60_000;

/**
 * One change at a time to the clouds of a root. The kernel holds the lock and lets go of it when the process ends. `conflict` when
 * another one's change takes longer than a minute.
 */
export function lockClouds({ lockFile }: CloudPlace): Disposable {
  mkdirSync(dirname(lockFile), { recursive: true, mode: 0o755 });
  const database = new DatabaseSync(lockFile, { timeout: WAIT_MS });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    throw conflict(`another command changes clouds; it has ${lockFile}`, { cause });
  }
  return { [Symbol.dispose]: () => database.close() };
}
