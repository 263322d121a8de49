import * as libc from './libc.ts';
import { deviceNumber } from './rooted-directory.ts';
import { hasCode } from './system-call-error.ts';

const LARGEST = 64 * 1024;

/** All extended attributes of a file, links not followed (xattr(7)); empty where the file system has none. */
export function listAttributes(path: string): { name: string; value: Uint8Array }[] {
  const names = Buffer.alloc(LARGEST);
  let length: number;
  try {
    length = libc.llistxattr(path, path, names, names.length);
  } catch (error) {
    if (hasCode(error, 'ENOTSUP', 'EOPNOTSUPP')) return [];
    throw error;
  }
  return names
    .toString('utf8', 0, length)
    .split('\0')
    .filter((name) => name !== '')
    .flatMap((name) => {
      const value = Buffer.alloc(LARGEST);
      try {
        const size = libc.lgetxattr(path, path, name, value, value.length);
        return [{ name, value: new Uint8Array(value.subarray(0, size)) }];
      } catch (error) {
        // Removed between the two calls.
        if (hasCode(error, 'ENODATA')) return [];
        throw error;
      }
    });
}

/** lsetxattr(2). */
export function setAttribute(path: string, name: string, value: Uint8Array): void {
  libc.lsetxattr(path, path, name, value, value.length, 0);
}

/** mknod(2); `mode` with type bits. */
export function makeNode(path: string, mode: number, device: { major: number; minor: number }): void {
  libc.mknodat(path, -100, path, mode, deviceNumber(device));
}
