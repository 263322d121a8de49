import { closeSync, openSync, writeFileSync } from 'node:fs';
import { setns, unshare } from './libc.ts';
import { bindMount, unmountAndRemove } from './mount.ts';

const CLONE_NEWNET = 0x40000000;
const OWN = '/proc/thread-self/ns/net';

/**
 * Makes a network namespace that lives as long as `path` is mounted. The thread is back in its own namespace when the
 * call returns; it must not be called from a thread that others share sockets with in between (there is no await).
 */
export function createNetworkNamespace(path: string): void {
  writeFileSync(path, '', { flag: 'a', mode: 0o600 });
  const own = openSync(OWN, 'r');
  try {
    unshare(path, CLONE_NEWNET);
    try {
      bindMount({ source: OWN, target: path });
    } finally {
      comeBack(own);
    }
  } finally {
    closeSync(own);
  }
}

/** Lets go of the namespace; the kernel takes its interfaces down in its own time. Nothing there is success. */
export function removeNetworkNamespace(path: string): void {
  unmountAndRemove(path);
}

/**
 * Runs synchronous `work` in another network namespace. Sockets it opens stay there. It must not await, start threads or
 * use the thread pool.
 */
export function inNetworkNamespace<T>(path: string, work: () => T): T {
  const own = openSync(OWN, 'r');
  const other = openSync(path, 'r');
  try {
    setns(path, other, CLONE_NEWNET);
    try {
      return work();
    } finally {
      comeBack(own);
    }
  } finally {
    closeSync(other);
    closeSync(own);
  }
}

/** A thread that is stuck in a container's network would serve everyone from there: better to die. */
function comeBack(own: number): void {
  try {
    setns(OWN, own, CLONE_NEWNET);
  } catch {
    process.abort();
  }
}
