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
import { formatUnlockKey, parseUnlockKey, type SealingKey } from './sealing.ts';

/** The managers' key on disk: one line, the form of an unlock key, readable by root alone. Undefined when there is none: the swarm is locked. */
export function readKeyFile(path: string): SealingKey | undefined {
  try {
    return parseUnlockKey(readFileSync(path, 'utf8').trim());
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Writes it in one step: after a crash there is the old one or the new one. */
export function writeKeyFile(path: string, key: SealingKey): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writePrivateFile(`${path}.new`, `${formatUnlockKey(key)}\n`);
  renameSync(`${path}.new`, path);
  syncDirectory(dirname(path));
}

/** Removes it: from its next start on, this manager asks for the unlock key. */
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
