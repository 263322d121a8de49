import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { listMounts, mountOverlay, mountTmpfs, unmount } from '#linux/mount.ts';
import type { LayerStore } from './layer-store.ts';

/** The root file systems of containers: one overlay mount each, however many layers its image has. */
export class ContainerFilesystems {
  readonly #containers: string;
  readonly #layers: LayerStore;

  constructor(o: { dataRoot: string; layers: LayerStore }) {
    this.#containers = join(o.dataRoot, 'containers');
    this.#layers = o.layers;
    mkdirSync(this.#containers, { recursive: true, mode: 0o710 });
  }

  /** Makes the container's directories. */
  create(containerId: string): void {
    for (const path of [
      this.upperPath(containerId),
      this.#workPath(containerId),
      this.mergedPath(containerId),
    ]) {
      mkdirSync(path, { recursive: true, mode: 0o755 });
    }
  }

  /** Mounts the container's root; one that is mounted stays as it is. Gives its path. */
  mount(containerId: string, chainIds: readonly string[]): string {
    const target = this.mergedPath(containerId);
    if (this.isMounted(containerId)) return target;
    const lowerDirs = this.#layers.lowerDirs(chainIds);
    if (lowerDirs.length === 0) lowerDirs.push(this.#emptyPath(containerId));
    mountOverlay({
      lowerDirs,
      upperDir: this.upperPath(containerId),
      workDir: this.#workPath(containerId),
      target,
    });
    return target;
  }

  isMounted(containerId: string): boolean {
    const target = this.mergedPath(containerId);
    return listMounts().some((mount) => mount.target === target);
  }

  /** Mounts the /dev/shm that a container shares with those that join its IPC namespace. Gives its path. */
  mountShm(containerId: string, bytes: number): string {
    const target = this.shmPath(containerId);
    mkdirSync(target, { recursive: true, mode: 0o700 });
    unmount(target, { detach: true });
    mountTmpfs({ target, options: `mode=1777,size=${bytes}`, noExec: true });
    return target;
  }

  /** Not mounted is success. */
  unmount(containerId: string): void {
    unmount(this.mergedPath(containerId), { detach: true });
    unmount(this.shmPath(containerId), { detach: true });
  }

  /** Unmounts and removes all that is kept of the container. */
  remove(containerId: string): void {
    this.unmount(containerId);
    rmSync(this.directory(containerId), { recursive: true, force: true });
  }

  /** The IDs that have a directory. */
  list(): string[] {
    return readdirSync(this.#containers);
  }

  unmountAll(): void {
    for (const id of this.list()) this.unmount(id);
  }

  directory(containerId: string): string {
    return join(this.#containers, containerId);
  }

  mergedPath(containerId: string): string {
    return join(this.directory(containerId), 'merged');
  }

  shmPath(containerId: string): string {
    return join(this.directory(containerId), 'shm');
  }

  upperPath(containerId: string): string {
    return join(this.directory(containerId), 'rw', 'upper');
  }

  /** Bytes of the files the container wrote. */
  writableSize(containerId: string): Promise<number> {
    return sizeOf(this.upperPath(containerId));
  }

  #workPath(containerId: string): string {
    return join(this.directory(containerId), 'rw', 'work');
  }

  /** overlayfs wants at least one lower directory; an image without layers has none. */
  #emptyPath(containerId: string): string {
    const path = join(this.directory(containerId), 'rw', 'empty');
    if (!existsSync(path)) mkdirSync(path, { mode: 0o755 });
    return path;
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
