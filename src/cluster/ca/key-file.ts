import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { hasCode } from '#linux/system-call-error.ts';
import { formatUnlockKey, parseUnlockKey, type SealingKey, sealedWith, sealKey } from './sealing.ts';

/** What lies on a manager's disk: the managers' key itself, or that key sealed with the unlock key while the swarm is locked. */
export type KeptKey = { readonly key: SealingKey } | { readonly sealed: string };

/** The managers' key on disk: one line, readable by root alone. Undefined where there is none. Throws `invalid` for another content. */
export function readKeyFile(path: string): KeptKey | undefined {
  const text = textOf(path);
  if (text === undefined) return undefined;
  if (text.startsWith('SWMKEY-')) return { key: parseUnlockKey(text) };
  sealedWith(text);
  return { sealed: text };
}

/** The key where it lies there as it is; undefined where it is sealed, or where there is none. Throws as {@link readKeyFile}. */
export function readOpenKey(path: string): SealingKey | undefined {
  const kept = readKeyFile(path);
  return kept !== undefined && 'key' in kept ? kept.key : undefined;
}

/** Makes it lie there as it is, or under `unlockKey`. In one step: after a crash there is the old one or the new one. */
export function writeKeyFile(path: string, key: SealingKey, unlockKey: SealingKey | undefined): void {
  if (isKept(readKeyFile(path), key, unlockKey)) return;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const text = unlockKey === undefined ? formatUnlockKey(key) : sealKey(key, unlockKey);
  writePrivateFile(`${path}.new`, `${text}\n`);
  renameSync(`${path}.new`, path);
  syncDirectory(dirname(path));
}

function isKept(kept: KeptKey | undefined, key: SealingKey, unlockKey: SealingKey | undefined): boolean {
  if (kept === undefined) return false;
  if ('key' in kept) return unlockKey === undefined && kept.key.id === key.id;
  // what is sealed is the same key: a cluster has one for all of its life
  return unlockKey !== undefined && sealedWith(kept.sealed) === unlockKey.id;
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Removes it: this node is no manager any more. */
export function removeKeyFile(path: string): void {
  rmSync(path, { force: true });
  rmSync(`${path}.new`, { force: true });
  syncDirectory(dirname(path));
}

/** A file that only its owner reads, on disk when this returns. What was there goes first, with its mode. */
export function writePrivateFile(path: string, text: string): void {
  rmSync(path, { force: true });
  const file = openSync(path, 'wx', 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Names in a directory are on disk when this returns. */
export function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
