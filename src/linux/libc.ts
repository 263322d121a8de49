import koffi from 'koffi';
import { SystemCallError } from './system-call-error.ts';

const library = koffi.load('libc.so.6');

type Argument = string | number | bigint | Uint8Array | Int32Array | readonly (string | null)[] | null;

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

/** A function of posix_spawn(3)'s family, which gives the error's number itself. */
type SpawnCall = (...args: Argument[]) => void;

function declareSpawn(prototype: string, name: string): SpawnCall {
  const call = library.func(prototype);
  return (...args) => {
    const error = Number(call(...args));
    if (error !== 0) throw new SystemCallError(name, error);
  };
}

export const mount: LibcCall = declare(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  'mount',
);
export const umount2: LibcCall = declare('int umount2(const char *target, int flags)', 'umount2');
export const pivotRoot: LibcCall = declare(
  'int pivot_root(const char *newRoot, const char *oldRoot)',
  'pivot_root',
);
/** Of the calling thread alone once it has unshared its file system attributes; of all threads before. */
export const chdir: LibcCall = declare('int chdir(const char *path)', 'chdir');
export const pipe2: LibcCall = declare('int pipe2(_Out_ int *fds, int flags)', 'pipe2');
export const unshare: LibcCall = declare('int unshare(int flags)', 'unshare');
export const setns: LibcCall = declare('int setns(int fd, int kind)', 'setns');
export const openPath: LibcCall = declare('int open(const char *path, int flags, unsigned int mode)', 'open');
export const close: LibcCall = declare('int close(int fd)', 'close');
export const closeRange: LibcCall = declare(
  'int close_range(unsigned int first, unsigned int last, int flags)',
  'close_range',
);
export const socket: LibcCall = declare('int socket(int domain, int type, int protocol)', 'socket');
export const socketpair: LibcCall = declare(
  'int socketpair(int domain, int type, int protocol, _Out_ int *fds)',
  'socketpair',
);
/** 0 where nothing has ended: only with WNOHANG. */
export const waitpid: LibcCall = declare('int waitpid(int pid, _Out_ int *status, int options)', 'waitpid');
export const fcntl: LibcCall = declare('int fcntl(int fd, int command, int argument)', 'fcntl');
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
export const sendfile: LibcCall = declare(
  'long sendfile(int out, int in, uint8_t *offset, size_t count)',
  'sendfile',
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
export const futimens: LibcCall = declare('int futimens(int fd, const uint8_t *times)', 'futimens');
export const fsetxattr: LibcCall = declare(
  'int fsetxattr(int fd, const char *name, const uint8_t *value, size_t size, int flags)',
  'fsetxattr',
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

export const spawnActions: Record<'init' | 'dup2' | 'open' | 'chdir' | 'destroy', SpawnCall> = {
  init: declareSpawn('int posix_spawn_file_actions_init(uint8_t *actions)', 'posix_spawn_file_actions_init'),
  dup2: declareSpawn(
    'int posix_spawn_file_actions_adddup2(uint8_t *actions, int fd, int newFd)',
    'posix_spawn_file_actions_adddup2',
  ),
  open: declareSpawn(
    'int posix_spawn_file_actions_addopen(uint8_t *actions, int fd, const char *path, int flags, unsigned int mode)',
    'posix_spawn_file_actions_addopen',
  ),
  chdir: declareSpawn(
    'int posix_spawn_file_actions_addchdir_np(uint8_t *actions, const char *path)',
    'posix_spawn_file_actions_addchdir_np',
  ),
  destroy: declareSpawn(
    'int posix_spawn_file_actions_destroy(uint8_t *actions)',
    'posix_spawn_file_actions_destroy',
  ),
};
export const spawnAttributes: Record<'init' | 'flags' | 'signalMask' | 'defaultSignals', SpawnCall> = {
  init: declareSpawn('int posix_spawnattr_init(uint8_t *attributes)', 'posix_spawnattr_init'),
  flags: declareSpawn(
    'int posix_spawnattr_setflags(uint8_t *attributes, short flags)',
    'posix_spawnattr_setflags',
  ),
  signalMask: declareSpawn(
    'int posix_spawnattr_setsigmask(uint8_t *attributes, const uint8_t *signals)',
    'posix_spawnattr_setsigmask',
  ),
  defaultSignals: declareSpawn(
    'int posix_spawnattr_setsigdefault(uint8_t *attributes, const uint8_t *signals)',
    'posix_spawnattr_setsigdefault',
  ),
};
const spawnp = library.func(
  'int posix_spawnp(_Out_ int *pid, const char *file, const uint8_t *actions, const uint8_t *attributes, const char **argv, const char **envp)',
);

/** posix_spawnp(3) on a thread of the pool; gives the pid. */
export function posixSpawn(o: {
  file: string;
  actions: Uint8Array;
  attributes: Uint8Array;
  argv: readonly string[];
  environment: readonly string[];
}): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const pid = new Int32Array(1);
  const done = (failure: Error | null, error: number): void => {
    if (failure !== null) reject(failure);
    else if (error !== 0) reject(new SystemCallError('posix_spawn', error, o.file));
    else resolve(pid[0] ?? 0);
  };
  spawnp.async(pid, o.file, o.actions, o.attributes, [...o.argv, null], [...o.environment, null], done);
  return promise;
}

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
  how.writeUInt32LE(flags, 0);
  how.writeUInt32LE(mode, 8);
  how.writeUInt32LE(resolve, 16);
  return checked('openat2', path, rawSyscall4(437, fd, path, how, how.length));
}

/** pidfd_open(2): a descriptor of the process itself, whatever becomes of its number. */
export function pidfdOpen(pid: number): number {
  return checked('pidfd_open', String(pid), rawSyscall3(434, pid, 0, 0));
}

/** pidfd_send_signal(2). */
export function pidfdSendSignal(fd: number, signal: number): void {
  checked('pidfd_send_signal', '', rawSyscall5(424, fd, signal, null, null, 0));
}
