import * as libc from './libc.ts';
import { deviceNumber } from './rooted-directory.ts';
import { hasCode } from './system-call-error.ts';
import { timeSpecs } from './time-specs.ts';

const LARGEST = 64 * 1024;

/** All extended attributes of a file, links not followed (xattr(7)); empty where the file system has none. */
export function listAttributes(path: string): { name: string; value: Uint8Array }[] {
  let names: Buffer;
  try {
    // Most files have none, and then this one call is all.
    const length = libc.llistxattr(path, path, null, 0);
    if (length === 0) return [];
    names = Buffer.alloc(LARGEST);
    names = names.subarray(0, libc.llistxattr(path, path, names, names.length));
  } catch (error) {
    if (hasCode(error, 'ENOTSUP', 'EOPNOTSUPP')) return [];
    throw error;
  }
  return names
    .toString('utf8')
    .split('\0')
    .filter((name) => name !== '')
    .flatMap((name) => {
      const value = getAttribute(path, name);
      return value === undefined ? [] : [{ name, value }];
    });
}

/** lgetxattr(2); undefined where the file does not have it. */
function getAttribute(path: string, name: string): Uint8Array | undefined {
  const value = Buffer.alloc(LARGEST);
  try {
    const size = libc.lgetxattr(path, path, name, value, value.length);
    return new Uint8Array(value.subarray(0, size));
  } catch (error) {
    if (hasCode(error, 'ENODATA', 'ENOTSUP', 'EOPNOTSUPP')) return undefined;
    throw error;
  }
}

/** lsetxattr(2). */
export function setAttribute(path: string, name: string, value: Uint8Array): void {
  libc.lsetxattr(path, path, name, value, value.length, 0);
}

/** mknod(2); `mode` with type bits. */
export function makeNode(path: string, mode: number, device: { major: number; minor: number }): void {
  libc.mknodat(path, -100, path, mode, deviceNumber(device));
}

/** utimensat(2) of both times, in nanoseconds since the epoch; links are not followed. */
export function setTimes(path: string, ns: bigint): void {
  libc.utimensat(path, -100, path, timeSpecs(ns), AT_SYMLINK_NOFOLLOW);
}

const AT_SYMLINK_NOFOLLOW = 0x100;
