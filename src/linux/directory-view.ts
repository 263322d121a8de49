import { closeSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path/posix';
import { chdir, mount, openat2, pivotRoot, setns, umount2, unshare } from './libc.ts';
import { mountOverlay } from './mount.ts';
import {
  MNT_DETACH,
  MS_BIND,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_REMOUNT,
  O_PATH,
} from './mount-flags.ts';
import { RootedDirectory } from './rooted-directory.ts';
import { hasCode } from './system-call-error.ts';

const CLONE_NEWNS = 0x20000;
const O_CREAT = 0o100;
const O_WRONLY = 1;
const O_CLOEXEC = 0o2000000;
const RESOLVE_NO_MAGICLINKS = 2;
const RESOLVE_IN_ROOT = 16;
const OWN = '/proc/thread-self/ns/mnt';

/** Something that lies in the view over what the root has there. */
export interface ViewMount {
  /** On the host. */
  source: string;
  /** A path in the source, which is mounted instead; links are followed inside of it. */
  inside?: string;
  /** In the view, links followed inside of it; made where it is not there. */
  target: string;
  readOnly: boolean;
  /** With what is mounted below the source. */
  recursive: boolean;
}

export interface ViewRequest {
  /** A directory, or directories that lie over each other, topmost first, which cannot be written to. */
  root: string | readonly string[];
  /** What is mounted in it says so for itself. */
  readOnly: boolean;
  /** A parent before what lies in it. */
  mounts: readonly ViewMount[];
}

/** Descriptors, for the caller to close: the view is gone with the last of them, and with the process. */
export interface DirectoryView {
  root: number;
  /** Keeps together what is mounted in the view. */
  namespace: number;
}

/**
 * A tree of directories as its user sees it, mounted where nobody else does: in a mount namespace of its own. Devices in it
 * cannot be opened and programs not run. Synchronous, and for worker threads only: the thread has a working directory of its own
 * afterwards.
 */
export function openDirectoryView(request: ViewRequest): DirectoryView {
  const own = openSync(OWN, 'r');
  try {
    unshare('mount namespace', CLONE_NEWNS);
    try {
      return buildView(request);
    } finally {
      comeBack(own);
    }
  } finally {
    closeSync(own);
  }
}

function buildView({ root, readOnly, mounts }: ViewRequest): DirectoryView {
  mount('/', null, '/', null, MS_REC | MS_PRIVATE, null);
  const top = mountRoot(root);
  using opened = new DisposableStack();
  const namespace = openSync(OWN, 'r');
  opened.defer(() => closeSync(namespace));
  const view = openSync(top, O_PATH | O_CLOEXEC);
  opened.defer(() => closeSync(view));
  for (const each of mounts) bindInto(view, each);
  // Last, so that what is mounted inside can be made a place.
  const limits = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  for (const each of mounts) {
    const mounted = openInside(view, each.target, O_PATH | O_CLOEXEC);
    const flags = limits | (each.readOnly ? MS_RDONLY : 0);
    try {
      mount(each.target, null, `/proc/self/fd/${mounted}`, null, flags, null);
    } finally {
      closeSync(mounted);
    }
  }
  mount(top, null, top, null, limits | (readOnly ? MS_RDONLY : 0), null);
  letGoOfHost(top);
  opened.move();
  return { root: view, namespace };
}

/** Gives where it is mounted. */
function mountRoot(root: string | readonly string[]): string {
  const [first = '', ...others] = typeof root === 'string' ? [root] : root;
  if (others.length > 0) mountOverlay({ lowerDirs: [first, ...others], target: first });
  else mount(first, first, first, null, MS_BIND, null);
  return first;
}

function bindInto(view: number, { source, inside, target, recursive }: ViewMount): void {
  using opened = new DisposableStack();
  let from = source;
  if (inside !== undefined) {
    using directory = new RootedDirectory(source);
    const within = opened.adopt(directory.openPlace(inside), closeSync);
    from = `/proc/self/fd/${within}`;
  }
  const place = opened.adopt(openPlace(view, target, statSync(from).isDirectory()), closeSync);
  mount(target, from, `/proc/self/fd/${place}`, null, MS_BIND | (recursive ? MS_REC : 0), null);
}

function openPlace(view: number, target: string, isDirectory: boolean): number {
  try {
    return openInside(view, target, O_PATH | O_CLOEXEC);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
  using inside = new RootedDirectory(view);
  makeDirectories(inside, isDirectory ? target : dirname(target));
  if (!isDirectory) closeSync(openInside(view, target, O_CREAT | O_WRONLY | O_CLOEXEC, 0o644));
  return openInside(view, target, O_PATH | O_CLOEXEC);
}

function makeDirectories(inside: RootedDirectory, path: string): void {
  if (path === '/' || path === '.' || inside.stat(`${path}/.`) !== undefined) return;
  makeDirectories(inside, dirname(path));
  inside.makeDirectory(path, 0o755);
}

function openInside(view: number, path: string, flags: number, mode = 0): number {
  return openat2(view, path, flags, mode, RESOLVE_NO_MAGICLINKS | RESOLVE_IN_ROOT);
}

/** What else is mounted on the host must not live on because somebody looks at one container. */
function letGoOfHost(top: string): void {
  chdir(top, top);
  try {
    pivotRoot(top, '.', '.');
  } catch (error) {
    // A machine that still runs on its first RAM disk: its root cannot be left.
    if (hasCode(error, 'EINVAL')) return;
    throw error;
  }
  // The old root now lies over the new one.
  umount2('.', '.', MNT_DETACH);
}

/** A thread that is stuck among a container's files would take the host's for them: better to die. */
function comeBack(own: number): void {
  try {
    setns(OWN, own, CLONE_NEWNS);
  } catch {
    process.abort();
  }
}
