import type { Stats } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Bytes of all regular files below a directory, each inode once, links not followed; 0 when it is not there. */
export async function directoryBytes(directory: string): Promise<number> {
  const counted = new Set<number>();
  let bytes = 0;
  const pending = [directory];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const entry of await entriesOf(next)) {
      const path = join(next, entry.name);
      if (entry.isDirectory()) {
        pending.push(path);
        continue;
      }
      const found = await statsOf(path);
      if (found === undefined || counted.has(found.ino)) continue;
      counted.add(found.ino);
      bytes += found.size;
    }
  }
  return bytes;
}

async function entriesOf(directory: string): Promise<{ name: string; isDirectory(): boolean }[]> {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    // removed while the tree is walked
    if (isMissing(error)) return [];
    throw error;
  }
}

async function statsOf(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
