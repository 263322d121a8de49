import { randomBytes } from 'node:crypto';
import { lstatSync, readdirSync, renameSync, rmdirSync, rmSync, unlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from './system-call-error.ts';

/** Removes a file, or a tree however deep: a container can make directories that no path is long enough for. Nothing there is success. */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (!hasCode(error, ...TOO_DEEP)) throw error;
    removeDeep(path);
  }
}

/** The same, at once. */
export function removeTreeSync(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    if (!hasCode(error, ...TOO_DEEP)) throw error;
    removeDeep(path);
  }
}

const TOO_DEEP = ['ENAMETOOLONG', 'EMFILE', 'ENFILE'] as const;

/** Brings every directory to the top before what is in it is looked at, so that all paths stay short. */
function removeDeep(top: string): void {
  const pending = readdirSync(top);
  for (const name of pending) {
    const path = join(top, name);
    if (!lstatSync(path).isDirectory()) {
      unlinkSync(path);
      continue;
    }
    for (const child of readdirSync(path, { withFileTypes: true })) {
      if (!child.isDirectory()) {
        unlinkSync(join(path, child.name));
        continue;
      }
      const brought = randomBytes(16).toString('hex');
      renameSync(join(path, child.name), join(top, brought));
      pending.push(brought);
    }
    rmdirSync(path);
  }
  rmdirSync(top);
}
