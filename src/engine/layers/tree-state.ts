import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { isSettled } from './known-digests.ts';
import { addEntry, contentDigest } from './tree-digest.ts';
import { selectEntries, type TreeSelection } from './tree-selection.ts';

/** Bytes of files that are read, since their times tell nothing yet. */
const MOST_READ = 1024 * 1024;

/**
 * `sha256:…` of what tells that selected files are the ones of another time: their names, inodes and times, and what is in those that changed
 * so lately that their times may not tell of the next change. Equal states are equal files; other states may be. On the caller's own
 * thread: undefined where `withinMs` milliseconds do not suffice, or too much would have to be read. A source that is not there is `not-found`.
 */
export function treeState(
  selection: TreeSelection,
  withinMs: number,
  nowMs: number = Date.now(),
): string | undefined {
  const deadline = performance.now() + withinMs;
  const nowNs = BigInt(nowMs) * 1_000_000n;
  const visit = (): void => {
    if (performance.now() > deadline) throw new NoState();
  };
  const hash = createHash('sha256');
  const numbers = new BigInt64Array(6);
  const content = new LittleContent();
  const links = new Map<string, string>();
  try {
    for (const entry of selectEntries(selection, visit)) {
      const { target, stats, isNamedFile } = entry;
      if (!isSettled(stats, nowNs)) {
        addEntry(hash.update('!'), entry, true, (file) => content.digest(file), links);
        continue;
      }
      numbers.set([stats.dev, stats.ino, stats.mode, stats.size, stats.mtimeNs, stats.ctimeNs]);
      hash.update(`${target.length}:${target}${isNamedFile ? '=' : '/'}`).update(numbers);
    }
  } catch (error) {
    if (error instanceof NoState) return undefined;
    throw error;
  }
  return `sha256:${hash.digest('hex')}`;
}

/** Reads files as long as they are few and small. */
class LittleContent {
  #buffer: Buffer | undefined;
  #left = MOST_READ;

  digest(entry: { file: string; stats: BigIntStats }): string {
    this.#left -= Number(entry.stats.size);
    if (this.#left < 0) throw new NoState();
    this.#buffer ??= Buffer.allocUnsafe(64 * 1024);
    return contentDigest(entry, this.#buffer);
  }
}

/** Ends a walk that takes too long, or would. */
class NoState extends Error {}
