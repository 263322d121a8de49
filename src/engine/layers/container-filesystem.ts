import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bindMount, mountOverlay, mountTmpfs, unmount, unmountAndRemove } from '#linux/mount.ts';
import { removeTree } from '#linux/remove-tree.ts';
import { RootedDirectory } from '#linux/rooted-directory.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { invalid, messageOf } from '#model/errors.ts';
import type { LayerStore } from './layer-store.ts';

/** Files that the engine writes for a container and mounts into its /etc. */
export interface NetworkFiles {
  hosts: string;
  hostname: string;
  resolvConf: string;
}

/**
 * The root file systems of containers: one overlay mount each, however many layers its image has. What a container wrote and its
 * log are under the data root; mount points and the files of its run are under the exec root, which is in memory on most machines
 * and empty after their restart, as mounts are.
 */
export class ContainerFilesystems {
  /** How many look at a root that is mounted, and whether it stays when the last of them is done. */
  readonly #held = new Map<string, { holders: number; isWanted: boolean }>();
  readonly #containers: string;
  readonly #runs: string;
  readonly #mountpoints: string;
  readonly #layers: LayerStore;

  constructor(o: { dataRoot: string; execRoot: string; layers: LayerStore }) {
    this.#containers = join(o.dataRoot, 'containers');
    this.#runs = join(o.execRoot, 'containers');
    this.#mountpoints = join(o.dataRoot, 'mountpoints');
    this.#layers = o.layers;
    mkdirSync(this.#containers, { recursive: true, mode: 0o710 });
    mkdirSync(this.#runs, { recursive: true, mode: 0o710 });
    makeMountpoints(this.#mountpoints);
  }

  /** Makes the container's directories. */
  create(containerId: string): void {
    for (const path of [this.upperPath(containerId), this.workPath(containerId)])
      mkdirSync(path, { recursive: true, mode: 0o755 });
  }

  /** Mounts the container's root; one that is mounted stays as it is. Gives its path. */
  mount(containerId: string, diffIds: readonly string[]): string {
    const target = this.mergedPath(containerId);
    mkdirSync(target, { recursive: true, mode: 0o755 });
    const held = this.#held.get(containerId);
    if (held !== undefined) held.isWanted = true;
    if (this.isMounted(containerId)) return target;
    mountOverlay({
      lowerDirs: this.lowerDirs(diffIds),
      upper: { dir: this.upperPath(containerId), work: this.workPath(containerId) },
      target,
    });
    return target;
  }

  /** What lies below what a container writes, topmost first. */
  lowerDirs(diffIds: readonly string[]): string[] {
    // Lowest, so that whatever an image has in these places is seen instead.
    return [...this.#layers.lowerDirs(diffIds), this.#mountpoints];
  }

  /**
   * The container's root for somebody who looks at it while it may start and end: mounted until disposed of at least. What a
   * container wrote must not be mounted twice (overlayfs(5)), so that its own mount waits for whoever looks.
   */
  hold(containerId: string, diffIds: readonly string[]): Disposable & { path: string } {
    const isWanted = this.#held.get(containerId)?.isWanted ?? this.isMounted(containerId);
    const path = this.mount(containerId, diffIds);
    const held = { holders: (this.#held.get(containerId)?.holders ?? 0) + 1, isWanted };
    this.#held.set(containerId, held);
    let isDone = false;
    return {
      path,
      [Symbol.dispose]: () => {
        if (isDone) return;
        isDone = true;
        this.#release(containerId);
      },
    };
  }

  #release(containerId: string): void {
    const held = this.#held.get(containerId);
    if (held === undefined) return;
    held.holders -= 1;
    if (held.holders > 0) return;
    this.#held.delete(containerId);
    if (!held.isWanted) this.#unmountRoot(containerId);
  }

  isMounted(containerId: string): boolean {
    const target = this.mergedPath(containerId);
    const device = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.dev;
    return device(target) !== device(dirname(target));
  }

  /** Mounts the /dev/shm that a container shares with those that join its IPC namespace. Gives its path. */
  mountShm(containerId: string, bytes: number): string {
    const target = this.shmPath(containerId);
    mkdirSync(target, { recursive: true, mode: 0o700 });
    unmount(target, { detach: true });
    mountTmpfs({ target, options: `mode=1777,size=${bytes}`, noExec: true });
    return target;
  }

  /**
   * Mounts what lies at a path in a directory for a run of the container, links followed inside of it, whoever changes them meanwhile.
   * Gives where it is. `invalid` where nothing lies there.
   */
  mountInside(containerId: string, { root, path }: { root: string; path: string }): string {
    const places = this.#placesInside(containerId);
    mkdirSync(places, { recursive: true, mode: 0o700 });
    const target = join(places, String(readdirSync(places).length));
    const found = openFound(root, path);
    try {
      if (fstatSync(found).isDirectory()) mkdirSync(target);
      else writeFileSync(target, '');
      bindMount({ source: `/proc/self/fd/${found}`, target });
    } finally {
      closeSync(found);
    }
    return target;
  }

  /** Unmounts what is mounted for a run and removes its files; a root that is held, with its last holder. Nothing there is success. */
  unmount(containerId: string): void {
    const { hosts, hostname, resolvConf } = this.networkFiles(containerId);
    for (const path of [hosts, hostname, resolvConf]) rmSync(path, { force: true });
    unmountAndRemove(this.shmPath(containerId));
    const places = this.#placesInside(containerId);
    if (existsSync(places)) {
      for (const name of readdirSync(places)) unmountAndRemove(join(places, name));
      removeEmptyDirectory(places);
    }
    const held = this.#held.get(containerId);
    if (held === undefined) this.#unmountRoot(containerId);
    else held.isWanted = false;
  }

  #unmountRoot(containerId: string): void {
    unmountAndRemove(this.mergedPath(containerId));
    removeEmptyDirectory(this.#runDirectory(containerId));
  }

  /** Unmounts and removes all that is kept of the container. */
  async remove(containerId: string): Promise<void> {
    // Whoever looks keeps what he opened.
    this.#held.delete(containerId);
    this.unmount(containerId);
    // Most have written nothing, and going to the thread pool would cost more than removing that.
    if (existsSync(this.upperPath(containerId)) && readdirSync(this.upperPath(containerId)).length > 0)
      await removeTree(this.upperPath(containerId));
    rmSync(this.directory(containerId), { recursive: true, force: true });
  }

  unmountAll(): void {
    for (const id of this.listRuns()) this.unmount(id);
  }

  /** Everything that something is kept of. */
  listKept(): string[] {
    return readdirSync(this.#containers);
  }

  /** The containers that something of a run is left of. */
  listRuns(): string[] {
    return readdirSync(this.#runs);
  }

  /** What outlives the container's runs. */
  directory(containerId: string): string {
    return join(this.#containers, containerId);
  }

  /** Where the runtime writes what the container writes to its standard output. */
  logPath(containerId: string): string {
    return join(this.directory(containerId), 'log');
  }

  networkFiles(containerId: string): NetworkFiles {
    const directory = this.#runDirectory(containerId);
    return {
      hosts: join(directory, 'hosts'),
      hostname: join(directory, 'hostname'),
      resolvConf: join(directory, 'resolv.conf'),
    };
  }

  mergedPath(containerId: string): string {
    return join(this.#runDirectory(containerId), 'merged');
  }

  shmPath(containerId: string): string {
    return join(this.#runDirectory(containerId), 'shm');
  }

  upperPath(containerId: string): string {
    return join(this.directory(containerId), 'upper');
  }

  workPath(containerId: string): string {
    return join(this.directory(containerId), 'work');
  }

  /** Bytes of the files the container wrote. */
  writableSize(containerId: string): Promise<number> {
    return sizeOf(this.upperPath(containerId));
  }

  #placesInside(containerId: string): string {
    return join(this.#runDirectory(containerId), 'inside');
  }

  #runDirectory(containerId: string): string {
    return join(this.#runs, containerId);
  }
}

/**
 * A layer below all others with what every container has mounted over, and Docker's mark of a container: made once instead of by
 * the runtime in each container.
 */
function makeMountpoints(directory: string): void {
  if (existsSync(join(directory, '.dockerenv'))) return;
  for (const name of ['dev', 'proc', 'sys', 'etc'])
    mkdirSync(join(directory, name), { recursive: true, mode: 0o755 });
  for (const name of ['hosts', 'hostname', 'resolv.conf']) writeFileSync(join(directory, 'etc', name), '');
  rmSync(join(directory, 'etc', 'mtab'), { force: true });
  symlinkSync('/proc/mounts', join(directory, 'etc', 'mtab'));
  // Last: it says that all the others are there.
  writeFileSync(join(directory, '.dockerenv'), '');
}

function openFound(root: string, path: string): number {
  try {
    using directory = new RootedDirectory(root);
    return directory.openPlace(path);
  } catch (cause) {
    if (!hasCode(cause, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw cause;
    throw invalid(`cannot access path ${join(root, path)}: ${messageOf(cause)}`, {
      cause,
      hint: 'A path in a volume has to be there before it is mounted.',
    });
  }
}

function removeEmptyDirectory(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}

async function sizeOf(directory: string): Promise<number> {
  let total = 0;
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) total += await sizeOf(path);
    else if (entry.isFile()) total += (await lstat(path)).size;
  }
  return total;
}
