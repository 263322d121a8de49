import { type BigIntStats, constants, lstatSync, openSync } from 'node:fs';
import { listAttributes } from '#linux/extended-attributes.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { invalid } from '#model/errors.ts';

/** Names in directories that are open: whatever becomes of the directories' own names, nothing else is looked at. */

/** The kernel's PATH_MAX, less one name: nobody could name what lies deeper, and each level takes a descriptor. */
const LONGEST_PATH = 4096 - 256;
const S_IFMT = 0o170000;
const S_IFCHR = 0o020000;

/** A path for a name in an open directory. */
export function placeIn(directory: number, name: string): string {
  return `/proc/self/fd/${directory}/${name}`;
}

/** lstat(2); undefined where nothing is. */
export function lookAt(file: string): BigIntStats | undefined {
  return lstatSync(file, { bigint: true, throwIfNoEntry: false });
}

/** A descriptor for the caller to close; undefined where no directory is (any more). Links are not followed. */
export function openDirectory(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined;
    throw error;
  }
}

/** Refuses to go deeper than paths can tell: `invalid`. */
export function checkDepth(path: string): void {
  if (path.length > LONGEST_PATH)
    throw invalid(`${JSON.stringify(`${path.slice(0, 64)}…`)}: directories lie too deep in each other`);
}

/** overlayfs's mark of something removed. */
export function isWhiteout(status: BigIntStats): boolean {
  return (Number(status.mode) & S_IFMT) === S_IFCHR && status.rdev === 0n;
}

/** overlayfs's mark of a directory through which those below it are not seen. */
export function isOpaque(directory: string): boolean {
  const opaque = listAttributes(directory).find((each) => each.name === 'trusted.overlay.opaque');
  return opaque?.value[0] === 0x79;
}
