import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { posixSpawn, socketpair, spawnActions, spawnAttributes, waitpid } from './libc.ts';

const AF_UNIX = 1;
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000;
const O_RDWR = 2;
/** The descriptor of the first pipe that a detached process is given. */
export const FIRST_PIPE = 3;
const WNOHANG = 1;
const SIGPIPE = 13;
const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;
/** More than glibc's structures take, on every architecture. */
const STRUCTURE = 512;
const REAP_INTERVAL_MS = 20;

/**
 * Starts a program that outlives this process: in a session of its own, so that no signal meant for us reaches it, with socket
 * pairs from descriptor 3 on and nothing else of ours. Resolves with our ends of them once the program runs; SystemCallError ENOENT
 * where there is none. By posix_spawn(3): node's own spawn copies this process's page tables, which takes longer than all the rest.
 */
export async function startDetached(o: {
  /** Looked for in this process's PATH. */
  program: string;
  args: readonly string[];
  environment: Readonly<Record<string, string>>;
  cwd: string;
  pipes: number;
}): Promise<Socket[]> {
  using cleanup = new DisposableStack();
  const actions = Buffer.alloc(STRUCTURE);
  spawnActions.init(actions);
  cleanup.defer(() => spawnActions.destroy(actions));
  spawnActions.chdir(actions, o.cwd);
  for (const fd of [0, 1, 2]) spawnActions.open(actions, fd, '/dev/null', O_RDWR, 0);
  const sockets: Socket[] = [];
  for (let index = 0; index < o.pipes; index += 1) {
    const [own, other] = pair();
    cleanup.defer(() => closeSync(other));
    sockets.push(new Socket({ fd: own, allowHalfOpen: true }));
    // Node has the low descriptors itself, so no end is overwritten before its turn.
    spawnActions.dup2(actions, other, FIRST_PIPE + index);
  }
  try {
    const pid = await posixSpawn({
      ...{ file: o.program, actions, attributes: attributes(), argv: [o.program, ...o.args] },
      environment: Object.entries(o.environment).map(([name, value]) => `${name}=${value}`),
    });
    void reap(pid);
    return sockets;
  } catch (error) {
    for (const socket of sockets) socket.destroy();
    throw error;
  }
}

function pair(): [number, number] {
  const fds = new Int32Array(2);
  socketpair(undefined, AF_UNIX, SOCK_STREAM_CLOEXEC, 0, fds);
  const [own = -1, other = -1] = fds;
  return [own, other];
}

/** A session of its own, no signal blocked, and none ignored: node ignores SIGPIPE. */
function attributes(): Buffer {
  const buffer = Buffer.alloc(STRUCTURE);
  spawnAttributes.init(buffer);
  spawnAttributes.flags(buffer, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  const signals = Buffer.alloc(128);
  spawnAttributes.signalMask(buffer, signals);
  signals.writeUInt32LE(1 << (SIGPIPE - 1), 0);
  spawnAttributes.defaultSignals(buffer, signals);
  return buffer;
}

/** Such a program leaves its first process behind at once; nobody else waits for that. */
async function reap(pid: number): Promise<void> {
  while (waitpid(undefined, pid, new Int32Array(1), WNOHANG) === 0)
    await delay(REAP_INTERVAL_MS, undefined, { ref: false });
}
