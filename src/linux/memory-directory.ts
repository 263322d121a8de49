import { mkdirSync, rmdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { mountMemory, unmount } from './mount.ts';
import { hasCode } from './system-call-error.ts';

/**
 * A directory for its owner alone (0700) whose files never get to a disk, nor to swap: a file system in memory is mounted there, where none
 * is yet. What is in it outlives this process, and is gone with the machine's restart.
 */
export function makeMemoryDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if (statSync(path).dev === statSync(dirname(path)).dev) mountMemory({ target: path, options: 'mode=0700' });
}

/** Takes it away with what is in it. Nothing there is success. */
export function removeMemoryDirectory(path: string): void {
  // who has files of it mounted or open still sees them, as one sees a file that was deleted
  unmount(path, { detach: true });
  try {
    rmdirSync(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}
