import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { mountMemory } from './mount.ts';

/**
 * A directory for its owner alone (0700) whose files never get to a disk, nor to swap: a file system in memory is mounted there, where none
 * is yet. What is in it outlives this process, and is gone with the machine's restart, or
 * with `unmountAndRemove`.
 */
export function makeMemoryDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if (statSync(path).dev === statSync(dirname(path)).dev) mountMemory({ target: path, options: 'mode=0700' });
}
