import koffi from 'koffi';
import { SystemCallError } from './system-call-error.ts';

const library = koffi.load('libc.so.6');

type Argument = string | number | bigint | Uint8Array | null;

/** The first argument is what the call is about, for the error's text. */
export type LibcCall = (subject: string | undefined, ...args: Argument[]) => number;

/** Declares a libc function whose -1 means "look at errno". */
function declare(prototype: string, name: string): LibcCall {
  const call = library.func(prototype);
  return (subject, ...args) => {
    const result = Number(call(...args));
    if (result === -1) throw new SystemCallError(name, koffi.errno(), subject);
    return result;
  };
}

export const mount: LibcCall = declare(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  'mount',
);
export const umount2: LibcCall = declare('int umount2(const char *target, int flags)', 'umount2');
export const unshare: LibcCall = declare('int unshare(int flags)', 'unshare');
export const setns: LibcCall = declare('int setns(int fd, int kind)', 'setns');
export const openPath: LibcCall = declare('int open(const char *path, int flags, unsigned int mode)', 'open');
export const close: LibcCall = declare('int close(int fd)', 'close');
export const socket: LibcCall = declare('int socket(int domain, int type, int protocol)', 'socket');
export const bind: LibcCall = declare(
  'int bind(int fd, const uint8_t *address, unsigned int length)',
  'bind',
);
export const connect: LibcCall = declare(
  'int connect(int fd, const uint8_t *address, unsigned int length)',
  'connect',
);
export const getsockname: LibcCall = declare(
  'int getsockname(int fd, _Out_ uint8_t *address, _Inout_ uint8_t *length)',
  'getsockname',
);
export const setsockopt: LibcCall = declare(
  'int setsockopt(int fd, int level, int name, const uint8_t *value, unsigned int length)',
  'setsockopt',
);
export const send: LibcCall = declare(
  'long send(int fd, const uint8_t *data, size_t length, int flags)',
  'send',
);
export const recv: LibcCall = declare(
  'long recv(int fd, _Out_ uint8_t *data, size_t length, int flags)',
  'recv',
);
export const mkdirat: LibcCall = declare(
  'int mkdirat(int fd, const char *path, unsigned int mode)',
  'mkdirat',
);
export const symlinkat: LibcCall = declare(
  'int symlinkat(const char *target, int fd, const char *path)',
  'symlinkat',
);
export const linkat: LibcCall = declare(
  'int linkat(int oldFd, const char *oldPath, int newFd, const char *newPath, int flags)',
  'linkat',
);
export const unlinkat: LibcCall = declare('int unlinkat(int fd, const char *path, int flags)', 'unlinkat');
export const mknodat: LibcCall = declare(
  'int mknodat(int fd, const char *path, unsigned int mode, unsigned long device)',
  'mknodat',
);
export const fchownat: LibcCall = declare(
  'int fchownat(int fd, const char *path, unsigned int uid, unsigned int gid, int flags)',
  'fchownat',
);
export const fchmodat: LibcCall = declare(
  'int fchmodat(int fd, const char *path, unsigned int mode, int flags)',
  'fchmodat',
);
export const utimensat: LibcCall = declare(
  'int utimensat(int fd, const char *path, const uint8_t *times, int flags)',
  'utimensat',
);
export const lsetxattr: LibcCall = declare(
  'int lsetxattr(const char *path, const char *name, const uint8_t *value, size_t size, int flags)',
  'lsetxattr',
);
export const lgetxattr: LibcCall = declare(
  'long lgetxattr(const char *path, const char *name, _Out_ uint8_t *value, size_t size)',
  'lgetxattr',
);
export const llistxattr: LibcCall = declare(
  'long llistxattr(const char *path, _Out_ uint8_t *list, size_t size)',
  'llistxattr',
);

const rawSyscall2 = library.func('long syscall(long number, const char *a, unsigned long b)');
const rawSyscall4 = library.func(
  'long syscall(long number, long a, const char *b, const uint8_t *c, unsigned long d)',
);
const rawSyscall5 = library.func(
  'long syscall(long number, long a, unsigned long b, const char *c, const char *d, long e)',
);
const rawMoveMount = library.func(
  'long syscall(long number, long a, const char *b, long c, const char *d, unsigned long e)',
);
const rawSyscall3 = library.func('long syscall(long number, long a, unsigned long b, unsigned long c)');

function checked(name: string, subject: string, result: number | bigint): number {
  if (Number(result) === -1) throw new SystemCallError(name, koffi.errno(), subject);
  return Number(result);
}

/** fsopen(2); these numbers are the same on every architecture since Linux 5.2. */
export function fsopen(type: string): number {
  return checked('fsopen', type, rawSyscall2(430, type, 1));
}

/** fsconfig(2) with a string value. */
export function fsconfigString(fd: number, key: string, value: string): void {
  checked('fsconfig', `${key}=${value}`, rawSyscall5(431, fd, 1, key, value, 0));
}

/** fsconfig(2), FSCONFIG_CMD_CREATE. */
export function fsconfigCreate(fd: number): void {
  checked('fsconfig', 'create', rawSyscall5(431, fd, 6, null, null, 0));
}

/** fsmount(2). */
export function fsmount(fd: number): number {
  return checked('fsmount', '', rawSyscall3(432, fd, 1, 0));
}

/** move_mount(2) of the mount `fd` onto `target`. */
export function moveMount(fd: number, target: string): void {
  checked('move_mount', target, rawMoveMount(429, fd, '', -100, target, 4));
}

/** openat2(2); `resolve` is the RESOLVE_ mask. */
export function openat2(fd: number, path: string, flags: number, mode: number, resolve: number): number {
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(flags), 0);
  how.writeBigUInt64LE(BigInt(mode), 8);
  how.writeBigUInt64LE(BigInt(resolve), 16);
  return checked('openat2', path, rawSyscall4(437, fd, path, how, how.length));
}
