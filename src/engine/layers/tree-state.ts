import { createHash } from 'node:crypto';
import { isSettled } from './known-digests.ts';
import { selectEntries, type TreeSelection } from './tree-selection.ts';

/**
 * `sha256:…` of what tells that selected files are the ones of another time: their names, inodes and times, and not a byte of them. Equal
 * states are equal files; other states may be. On the caller's own thread: undefined where `withinMs` milliseconds do not suffice, or a file
 * changed so lately that its times may not tell of the next change. A source that is not there is `not-found`.
 */
export function treeState(
  selection: TreeSelection,
  withinMs: number,
  nowMs: number = Date.now(),
): string | undefined {
  const deadline = performance.now() + withinMs;
  const hash = createHash('sha256');
  const numbers = new BigInt64Array(6);
  try {
    const visit = (): void => {
      if (performance.now() > deadline) throw new NoState();
    };
    for (const { target, stats, isNamedFile } of selectEntries(selection, visit)) {
      if (!isSettled(stats, nowMs)) return undefined;
      numbers.set([stats.dev, stats.ino, stats.mode, stats.size, stats.mtimeNs, stats.ctimeNs]);
      hash.update(`${target.length}:${target}${isNamedFile ? '=' : '/'}`).update(numbers);
    }
  } catch (error) {
    if (error instanceof NoState) return undefined;
    throw error;
  }
  return `sha256:${hash.digest('hex')}`;
}

/** Ends a walk that takes too long. */
class NoState extends Error {}
