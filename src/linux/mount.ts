import { closeSync, constants, lstatSync, openSync, readFileSync, rmdirSync, unlinkSync } from 'node:fs';
import { release } from 'node:os';
import { close, fsconfigCreate, fsconfigString, fsmount, fsopen, mount, moveMount, umount2 } from './libc.ts';
import {
  MNT_DETACH,
  MS_BIND,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  MS_REC,
  MS_REMOUNT,
  O_PATH,
} from './mount-flags.ts';
import { hasCode } from './system-call-error.ts';

/** An overlay that is to be mounted. */
export interface OverlayMount {
  /** Topmost first. */
  readonly lowerDirs: readonly string[];
  /** Without it the mount cannot be written to; there have to be two lower ones then. */
  readonly upper?: { readonly dir: string; readonly work: string };
  readonly target: string;
}

/**
 * Mounts an overlay. One fsconfig(2) call a layer, so that their number is not bounded by the page that mount(2)'s
 * options have to fit in; kernels before 6.7 have no such call, and there it is 200 or so.
 */
export function mountOverlay(o: OverlayMount): void {
  // asked of an older one, it writes a line to its log each time
  if (isSince(6, 7)) mountOverlayByLayers(o);
  else mountOverlayByOptions(o);
}

function mountOverlayByLayers(o: OverlayMount): void {
  const context = fsopen('overlay');
  try {
    for (const lower of o.lowerDirs) fsconfigString(context, 'lowerdir+', lower);
    if (o.upper !== undefined) {
      fsconfigString(context, 'upperdir', o.upper.dir);
      fsconfigString(context, 'workdir', o.upper.work);
    }
    fsconfigString(context, 'source', 'overlay');
    fsconfigCreate(context);
    const mounted = fsmount(context);
    try {
      moveMount(mounted, o.target);
    } finally {
      close(undefined, mounted);
    }
  } finally {
    close(undefined, context);
  }
}

function isSince(major: number, minor: number): boolean {
  const [own = 0, ownMinor = 0] = release().split('.').map(Number);
  return own > major || (own === major && ownMinor >= minor);
}

/** By mount(2) alone. Directories are named by open descriptors: these are short, and have nothing in them that had to be escaped. */
export function mountOverlayByOptions({ lowerDirs, upper, target }: OverlayMount): void {
  const open: number[] = [];
  const short = (path: string): string => {
    const descriptor = openSync(path, O_PATH | constants.O_DIRECTORY);
    open.push(descriptor);
    return `/proc/self/fd/${descriptor}`;
  };
  try {
    const options = [`lowerdir=${lowerDirs.map(short).join(':')}`];
    if (upper !== undefined) options.push(`upperdir=${short(upper.dir)}`, `workdir=${short(upper.work)}`);
    mount(target, 'overlay', target, 'overlay', 0, options.join(','));
  } finally {
    for (const descriptor of open) closeSync(descriptor);
  }
}

/** mount(2) with MS_BIND; a read-only bind takes a second call. */
export function bindMount(o: {
  source: string;
  target: string;
  readOnly?: boolean;
  recursive?: boolean;
}): void {
  const flags = MS_BIND | (o.recursive === true ? MS_REC : 0);
  mount(o.target, o.source, o.target, null, flags, null);
  if (o.readOnly === true) mount(o.target, null, o.target, null, flags | MS_REMOUNT | MS_RDONLY, null);
}

/** Mounts a tmpfs, nosuid and nodev; `options` such as `size=64m,mode=1777`. */
export function mountTmpfs(o: { target: string; options?: string; noExec?: boolean }): void {
  const flags = MS_NOSUID | MS_NODEV | (o.noExec === true ? MS_NOEXEC : 0);
  mount(o.target, 'tmpfs', o.target, 'tmpfs', flags, o.options ?? null);
}

/**
 * Mounts a ramfs, nosuid, nodev and noexec: a tmpfs that is never written to swap, and that nothing but its writers bounds.
 * `options` is `mode=…`.
 */
export function mountMemory(o: { target: string; options: string }): void {
  mount(o.target, 'ramfs', o.target, 'ramfs', MS_NOSUID | MS_NODEV | MS_NOEXEC, o.options);
}

/** Any other file system by mount(2), for volumes with driver options. */
export function mountFilesystem(o: { source: string; target: string; type: string; options?: string }): void {
  mount(o.target, o.source, o.target, o.type, 0, o.options ?? null);
}

/** umount2(2). Succeeds where nothing is mounted. */
export function unmount(target: string, o: { detach?: boolean } = {}): void {
  try {
    umount2(target, target, o.detach === true ? MNT_DETACH : 0);
  } catch (error) {
    if (!hasCode(error, 'EINVAL', 'ENOENT')) throw error;
  }
}

/** Unmounts what is at a path, and removes the path, a file or an empty directory. Nothing there is success. */
export function unmountAndRemove(path: string): void {
  // who has files of it mounted or open still sees them, as one sees a file that was deleted
  unmount(path, { detach: true });
  try {
    // never recursively: should it be mounted still, what is in it is not ours to remove
    if (lstatSync(path).isDirectory()) rmdirSync(path);
    else unlinkSync(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}

export interface MountEntry {
  target: string;
  type: string;
  source: string;
  options: string;
}

/** The mounts this process sees, in the order they were made (proc(5), mountinfo). */
export function listMounts(): MountEntry[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [before = '', after = ''] = line.split(' - ');
      const left = before.split(' ');
      const right = after.split(' ');
      return {
        target: unescapeOctal(left[4] ?? ''),
        type: right[0] ?? '',
        source: unescapeOctal(right[1] ?? ''),
        options: `${left[5] ?? ''},${right[2] ?? ''}`,
      };
    });
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
