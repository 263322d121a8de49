import { type BigIntStats, closeSync, openSync, readdirSync } from 'node:fs';
import { checkDepth, isOpaque, isWhiteout, lookAt, openDirectory, placeIn } from './open-directory.ts';

export interface ChangesTask {
  /** Descriptors of what a container wrote, with overlayfs's marks, and of what its image has. */
  upper: number;
  lower: number;
}

export interface FileChange {
  /** Absolute. */
  path: string;
  kind: 'modified' | 'added' | 'deleted';
}

/**
 * What differs from the image, by path; of a tree that is gone, its top alone. A directory is modified where something in it is, or
 * its owner, mode or time. Synchronous: for workers.
 */
export function listChanges({ upper, lower }: ChangesTask): FileChange[] {
  using closing = new DisposableStack();
  const above = closing.adopt(openSync(`/proc/self/fd/${upper}`, 'r'), closeSync);
  const below = closing.adopt(openSync(`/proc/self/fd/${lower}`, 'r'), closeSync);
  const changes: FileChange[] = [];
  compare(above, below, '', changes);
  return changes.sort((a, b) => (a.path < b.path ? -1 : 1));
}

function compare(upper: number, lower: number | undefined, prefix: string, changes: FileChange[]): void {
  checkDepth(prefix);
  for (const name of readdirSync(`/proc/self/fd/${upper}`)) {
    const now = lookAt(placeIn(upper, name));
    if (now === undefined) continue;
    const path = `${prefix}/${name}`;
    const before = lower === undefined ? undefined : lookAt(placeIn(lower, name));
    if (isWhiteout(now)) {
      if (before !== undefined) changes.push({ path, kind: 'deleted' });
      continue;
    }
    const known = changes.length;
    if (now.isDirectory()) compareDirectories(placeIn(upper, name), lowerPlace(lower, name), path, changes);
    if (before === undefined) changes.push({ path, kind: 'added' });
    else if (changes.length > known || !isSameDirectory(now, before))
      changes.push({ path, kind: 'modified' });
  }
}

function lowerPlace(lower: number | undefined, name: string): string | undefined {
  return lower === undefined ? undefined : placeIn(lower, name);
}

function compareDirectories(
  upper: string,
  lower: string | undefined,
  path: string,
  changes: FileChange[],
): void {
  using closing = new DisposableStack();
  const opened = (file: string | undefined): number | undefined => {
    const fd = file === undefined ? undefined : openDirectory(file);
    return fd === undefined ? undefined : closing.adopt(fd, closeSync);
  };
  const above = opened(upper);
  const below = opened(lower);
  if (above === undefined) return;
  compare(above, below, path, changes);
  if (below === undefined || !isOpaque(upper)) return;
  for (const name of readdirSync(`/proc/self/fd/${below}`))
    if (lookAt(placeIn(above, name)) === undefined)
      changes.push({ path: `${path}/${name}`, kind: 'deleted' });
}

/** Copied up for the sake of what is in it, and otherwise as it was. Anything else that was copied up was written to. */
function isSameDirectory(now: BigIntStats, before: BigIntStats): boolean {
  return (
    now.isDirectory() &&
    before.isDirectory() &&
    now.mode === before.mode &&
    now.uid === before.uid &&
    now.gid === before.gid &&
    now.mtimeNs === before.mtimeNs
  );
}
