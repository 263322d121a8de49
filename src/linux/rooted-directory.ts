import { closeSync, fchmodSync, fchownSync, fstatSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { basename, dirname as posixDirname } from 'node:path/posix';
import * as libc from './libc.ts';
import { O_PATH } from './mount-flags.ts';
import { hasCode } from './system-call-error.ts';
import { timeSpecs } from './time-specs.ts';

const O_RDONLY = 0;
const O_WRONLY = 1;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_NONBLOCK = 0o4000;
const O_DIRECTORY = 0o200000;
const O_NOFOLLOW = 0o400000;
const O_CLOEXEC = 0o2000000;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;
const RESOLVE_NO_MAGICLINKS = 2;
const RESOLVE_IN_ROOT = 16;
const RESOLVE = RESOLVE_NO_MAGICLINKS | RESOLVE_IN_ROOT;

export interface FileStatus {
  size: number;
  isFile: boolean;
  isDirectory: boolean;
}

/**
 * A directory that nothing leads out of: every path is resolved by openat2(2) with RESOLVE_IN_ROOT, so `..`, absolute names
 * and symbolic links all stay inside, whatever races with it. The last component is never followed, but by `readFile` and `openPlace`.
 * All calls are synchronous and throw SystemCallError.
 */
export class RootedDirectory implements Disposable {
  readonly #root: number;
  /** The directory used last, kept open: most calls in a row are about names in the same one. */
  #parent: { path: string; fd: number } | undefined;

  /** By its path, or by a descriptor, which stays the caller's. */
  constructor(root: string | number) {
    const path = typeof root === 'string' ? root : `/proc/self/fd/${root}`;
    this.#root = libc.openPath(path, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  }

  [Symbol.dispose](): void {
    this.#forgetParent();
    closeSync(this.#root);
  }

  makeDirectory(path: string, mode: number): void {
    this.#at(path, (fd, name) => {
      libc.mkdirat(path, fd, name, mode & 0o7777);
      libc.fchmodat(path, fd, name, mode & 0o7777, 0);
    });
  }

  /** A new file, which must not exist; gives its descriptor, open for writing. */
  createFile(path: string, mode: number): number {
    return this.#at(path, (fd, name) =>
      libc.openat2(fd, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, mode & 0o7777, RESOLVE),
    );
  }

  /**
   * Opens what is at a path, symbolic links followed inside the root, as a place only (O_PATH): `/proc/self/fd/N` is what was found,
   * whatever becomes of the path. The caller closes it.
   */
  openPlace(path: string): number {
    return libc.openat2(this.#root, path, O_PATH | O_CLOEXEC, 0, RESOLVE);
  }

  /**
   * What is in a file, symbolic links followed inside the root; undefined where there is none. Of one that is larger than `limit`
   * come that many bytes and one more. Devices, which may have no end, and fifos, which may wait, are no files.
   */
  readFile(path: string, limit: number): Buffer | undefined {
    let fd: number;
    try {
      fd = libc.openat2(this.#root, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0, RESOLVE);
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO')) return undefined;
      throw error;
    }
    try {
      const stats = fstatSync(fd);
      if (!stats.isFile()) return undefined;
      const bytes = Buffer.alloc(Math.min(stats.size, limit + 1));
      let done = 0;
      for (let count = -1; count !== 0 && done < bytes.length; done += count)
        count = readSync(fd, bytes, done, bytes.length - done, done);
      return bytes.subarray(0, done);
    } finally {
      closeSync(fd);
    }
  }

  /**
   * A descriptor that says which file a path means (open(2), O_PATH), for the caller to close. The last component is followed
   * where that is asked for, and where a slash or a dot comes after it.
   */
  openPath(path: string, o: { follow: boolean }): number {
    const flags = O_PATH | O_CLOEXEC | (o.follow ? 0 : O_NOFOLLOW);
    return libc.openat2(this.#root, path === '' ? '.' : path, flags, 0, RESOLVE);
  }

  /** What a symbolic link says; undefined where there is none. */
  readLink(path: string): string | undefined {
    try {
      return this.#at(path, (fd, name) => readlinkSync(`/proc/self/fd/${fd}/${name}`));
    } catch (error) {
      if (hasCode(error, 'EINVAL', 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined;
      throw error;
    }
  }

  makeSymlink(target: string, path: string): void {
    this.#at(path, (fd, name) => libc.symlinkat(path, target, fd, name));
  }

  /** Both inside the root; a symbolic link at `existing` is linked itself. */
  makeHardLink(existing: string, path: string): void {
    const oldFd = libc.openat2(
      this.#root,
      posixDirname(existing),
      O_PATH | O_DIRECTORY | O_CLOEXEC,
      0,
      RESOLVE,
    );
    try {
      this.#at(path, (fd, name) => libc.linkat(path, oldFd, basename(existing), fd, name, 0));
    } finally {
      closeSync(oldFd);
    }
  }

  /** mknod(2): fifo, socket, character and block devices; `mode` with type bits. */
  makeNode(path: string, mode: number, device: { major: number; minor: number }): void {
    this.#at(path, (fd, name) => libc.mknodat(path, fd, name, mode, deviceNumber(device)));
  }

  /** Removes a file or a whole tree without following a link; nothing there is success. */
  remove(path: string): void {
    const status = this.stat(path);
    if (status === undefined) return;
    this.#forgetParent();
    if (status.isDirectory) {
      this.clear(path);
      this.#at(path, (fd, name) => libc.unlinkat(path, fd, name, AT_REMOVEDIR));
      this.#forgetParent();
    } else {
      this.#at(path, (fd, name) => libc.unlinkat(path, fd, name, 0));
    }
  }

  /** Removes what is in a directory. */
  clear(path: string): void {
    for (const name of this.list(path)) this.remove(`${path}/${name}`);
  }

  stat(path: string): FileStatus | undefined {
    try {
      return this.#withPath(path, (fd) => {
        const stats = fstatSync(fd);
        return { size: stats.size, isFile: stats.isFile(), isDirectory: stats.isDirectory() };
      });
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined;
      throw error;
    }
  }

  /** Owner, attributes, mode and times of a file that `createFile` opened; the caller closes it afterwards. */
  finishFile(
    fd: number,
    o: {
      uid: number;
      gid: number;
      mode: number;
      mtimeNs: bigint;
      attributes: readonly { name: string; value: Uint8Array }[];
    },
  ): void {
    // Made by root, so that there is nothing to change for most files.
    if (o.uid !== 0 || o.gid !== 0) fchownSync(fd, o.uid, o.gid);
    // After the owner, because chown(2) clears set-user-ID and file capabilities.
    for (const { name, value } of o.attributes) libc.fsetxattr(name, fd, name, value, value.length, 0);
    fchmodSync(fd, o.mode & 0o7777);
    libc.futimens(undefined, fd, timeSpecs(o.mtimeNs));
  }

  setOwner(path: string, uid: number, gid: number): void {
    this.#at(path, (fd, name) => libc.fchownat(path, fd, name, uid, gid, AT_SYMLINK_NOFOLLOW));
  }

  /** Must not be called on a symbolic link: chmod(2) follows it. */
  setMode(path: string, mode: number): void {
    // Through the opened inode rather than its name, so that no link put there in between is followed.
    this.#withPath(path, (fd) => libc.fchmodat(path, -100, `/proc/self/fd/${fd}`, mode & 0o7777, 0));
  }

  /** Nanoseconds since the epoch, for both access and modification. */
  setTimes(path: string, mtimeNs: bigint): void {
    const times = timeSpecs(mtimeNs);
    this.#at(path, (fd, name) => libc.utimensat(path, fd, name, times, AT_SYMLINK_NOFOLLOW));
  }

  setAttribute(path: string, name: string, value: Uint8Array): void {
    this.#at(path, (fd, base) =>
      libc.lsetxattr(path, `/proc/self/fd/${fd}/${base}`, name, value, value.length, 0),
    );
  }

  list(path: string): string[] {
    const fd = libc.openat2(this.#root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE);
    try {
      return readdirSync(`/proc/self/fd/${fd}`);
    } finally {
      closeSync(fd);
    }
  }

  /** Runs `work` with the parent directory's descriptor and the last name. */
  #at<T>(path: string, work: (fd: number, name: string) => T): T {
    const name = basename(path);
    // `.` and `..` as last names would let the call walk out of its parent.
    if (name === '' || name === '.' || name === '..') return this.#atItself(path, work);
    return work(this.#openParent(posixDirname(path)), name);
  }

  #openParent(path: string): number {
    if (this.#parent?.path === path) return this.#parent.fd;
    this.#forgetParent();
    const fd = libc.openat2(this.#root, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE);
    this.#parent = { path, fd };
    return fd;
  }

  #forgetParent(): void {
    if (this.#parent !== undefined) closeSync(this.#parent.fd);
    this.#parent = undefined;
  }

  #atItself<T>(path: string, work: (fd: number, name: string) => T): T {
    const itself = libc.openat2(
      this.#root,
      path === '' ? '.' : path,
      O_PATH | O_DIRECTORY | O_CLOEXEC,
      0,
      RESOLVE,
    );
    try {
      return work(itself, '.');
    } finally {
      closeSync(itself);
    }
  }

  #withPath<T>(path: string, work: (fd: number) => T): T {
    const fd = libc.openat2(
      this.#root,
      path === '' ? '.' : path,
      O_PATH | O_NOFOLLOW | O_CLOEXEC,
      0,
      RESOLVE,
    );
    try {
      return work(fd);
    } finally {
      closeSync(fd);
    }
  }
}

/** A device number taken apart (makedev(3)). */
export function deviceOf(number: bigint): { major: number; minor: number } {
  return {
    major: Number(((number >> 8n) & 0xfffn) | ((number >> 32n) & 0xfffff000n)),
    minor: Number((number & 0xffn) | ((number >> 12n) & 0xffffff00n)),
  };
}

/** Linux's encoding of a device number (makedev(3)). */
export function deviceNumber(device: { major: number; minor: number }): bigint {
  const major = BigInt(device.major);
  const minor = BigInt(device.minor);
  return (
    ((major & 0xfffff000n) << 32n) |
    ((major & 0xfffn) << 8n) |
    ((minor & 0xffffff00n) << 12n) |
    (minor & 0xffn)
  );
}
