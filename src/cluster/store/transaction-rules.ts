import { invalid } from '#model/errors.ts';
import type { Transaction } from './store.ts';

const MAX_KEY_BYTES = 512;
const MAX_VALUE_BYTES = 1536 * 1024;
const PRINTABLE = /^[\x20-\x7e]+$/;

/** What every store refuses alike, before anything is written: `invalid`, naming what is wrong. */
export function checkTransaction(transaction: Transaction, maxOperations: number): void {
  const { checks, puts, deletes } = transaction;
  const writes = puts.length + deletes.length;
  if (checks.length > maxOperations || writes > maxOperations)
    throw invalid(
      `a transaction of ${checks.length} checks and ${writes} writes is too large: this store takes ${maxOperations} of each`,
    );
  for (const { key } of checks) checkKey(key);
  const written = new Set<string>();
  for (const { key, value } of puts) {
    if (written.size === written.add(checkKey(key)).size) throw writtenTwice(key);
    checkValue(key, value);
  }
  for (const key of deletes) if (written.size === written.add(checkKey(key)).size) throw writtenTwice(key);
}

/** Gives the key. */
function checkKey(key: string): string {
  if (key.length > MAX_KEY_BYTES || !PRINTABLE.test(key))
    throw invalid(`not a key of the store: ${JSON.stringify(key.slice(0, MAX_KEY_BYTES))}`);
  return key;
}

function checkValue(key: string, value: string): void {
  // UTF-8 takes at most three bytes for each of JavaScript's units: most values need not be counted
  if (value.length * 3 <= MAX_VALUE_BYTES || Buffer.byteLength(value) <= MAX_VALUE_BYTES) return;
  throw invalid(`the value of ${key} is too large: a value has at most ${MAX_VALUE_BYTES} bytes`);
}

function writtenTwice(key: string): Error {
  return invalid(`a transaction writes ${key} twice`);
}
