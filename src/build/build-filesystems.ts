import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Logger } from 'pino';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import { mountOverlay, unmount } from '#linux/mount.ts';
import { messageOf } from '#model/errors.ts';

/** A root file system that a step writes into; what it wrote is in `upper`. */
export interface StepRoot extends Disposable {
  root: string;
  upper: string;
}

/**
 * The files of builds: `DATA/builds/<id>` for what is written, `EXEC/builds/<id>` for mounts and secrets. Both are gone with the
 * build; what a daemon that was killed left goes at the next start.
 */
export class BuildFilesystems {
  readonly #data: string;
  readonly #exec: string;
  readonly #gone: string;
  readonly #layers: LayerStore;
  readonly #log: Logger;

  constructor(o: { dataRoot: string; execRoot: string; layers: LayerStore; log: Logger }) {
    this.#data = join(o.dataRoot, 'builds');
    this.#exec = join(o.execRoot, 'builds');
    this.#gone = join(o.execRoot, 'builds-gone');
    this.#log = o.log;
    this.#layers = o.layers;
    for (const path of [this.#data, this.#exec, this.#gone])
      mkdirSync(path, { recursive: true, mode: 0o700 });
  }

  /** At start, before the first build. */
  recover(): void {
    for (const id of readdirSync(this.#exec)) this.#unmountAll(join(this.#exec, id));
    for (const path of [this.#data, this.#exec, this.#gone])
      for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true, force: true });
  }

  open(): BuildDirectory {
    const id = randomBytes(8).toString('hex');
    const directory = new BuildDirectory({
      data: join(this.#data, id),
      exec: join(this.#exec, id),
      layers: this.#layers,
      unmountAll: (path) => this.#unmountAll(path),
      discard: (path) => this.#discard(path),
    });
    return directory;
  }

  /** Out of the way at once; its files go beside everything else, or at the next start. */
  #discard(path: string): void {
    const gone = join(this.#gone, basename(path));
    renameSync(path, gone);
    rm(gone, { recursive: true, force: true }).catch((error: unknown) => {
      this.#log.warn({ path: gone, error: messageOf(error) }, 'left for the next start to remove');
    });
  }

  #unmountAll(directory: string): void {
    const mounts = join(directory, 'mounts');
    if (!existsSync(mounts)) return;
    for (const name of readdirSync(mounts)) unmount(join(mounts, name), { detach: true });
  }
}

/** One build's files and mounts; disposing of it takes them away. */
export class BuildDirectory implements Disposable {
  readonly #data: string;
  readonly #exec: string;
  readonly #layers: LayerStore;
  readonly #unmountAll: (path: string) => void;
  readonly #discard: (path: string) => void;
  readonly #views = new Map<string, string>();
  readonly #releases: (() => void)[] = [];
  #isMade = false;
  #count = 0;

  /** @package */
  constructor(o: {
    data: string;
    exec: string;
    layers: LayerStore;
    unmountAll: (path: string) => void;
    discard: (path: string) => void;
  }) {
    this.#data = o.data;
    this.#exec = o.exec;
    this.#layers = o.layers;
    this.#unmountAll = o.unmountAll;
    this.#discard = o.discard;
  }

  [Symbol.dispose](): void {
    for (const release of this.#releases) release();
    if (!this.#isMade) return;
    this.#unmountAll(this.#exec);
    rmSync(join(this.#exec, 'secrets'), { recursive: true, force: true });
    // Both may be large, and nothing waits for them to be gone.
    this.#layers.discard(this.#data);
    this.#discard(this.#exec);
  }

  /** What of others the build uses is given back when it ends; `release` does not throw. */
  onEnd(release: () => void): void {
    this.#releases.push(release);
  }

  /** A new name below `parent`, for something of this build's own. */
  path(parent: 'data' | 'exec', kind: string): string {
    return this.#named(parent === 'data' ? this.#data : this.#exec, `${kind}-`);
  }

  /** A build with nothing new has no files: the directories are made for the first of them. */
  #named(directory: string, prefix: string): string {
    if (!this.#isMade) {
      for (const path of [this.#data, this.#exec, join(this.#exec, 'mounts'), join(this.#exec, 'secrets')])
        mkdirSync(path, { recursive: true, mode: 0o700 });
      this.#isMade = true;
    }
    this.#count += 1;
    return join(directory, `${prefix}${this.#count}`);
  }

  /** Where the files of layers are seen as one tree, for reading. */
  view(diffIds: readonly string[]): string {
    const lowerDirs = this.#layers.lowerDirs(diffIds);
    const key = lowerDirs.join('\0');
    const known = this.#views.get(key);
    if (known !== undefined) return known;
    const view = this.#makeView(lowerDirs);
    this.#views.set(key, view);
    return view;
  }

  #makeView(lowerDirs: readonly string[]): string {
    const [only, ...others] = lowerDirs;
    if (only !== undefined && others.length === 0) return only;
    if (only === undefined) {
      const empty = this.path('data', 'empty');
      mkdirSync(empty);
      return empty;
    }
    const target = this.#mountPoint();
    mountOverlay({ lowerDirs, target });
    return target;
  }

  /** A tree on top of layers for a step to write into; disposing of it unmounts and keeps what was written. */
  writable(diffIds: readonly string[]): StepRoot {
    const upper = this.path('data', 'upper');
    mkdirSync(upper, { mode: 0o755 });
    if (diffIds.length === 0) return { root: upper, upper, [Symbol.dispose]: () => undefined };
    const work = this.path('data', 'work');
    mkdirSync(work, { mode: 0o700 });
    const target = this.#mountPoint();
    mountOverlay({ lowerDirs: this.#layers.lowerDirs(diffIds), upper: { dir: upper, work }, target });
    return { root: target, upper, [Symbol.dispose]: () => unmount(target) };
  }

  /** A copy of a directory that may be written to and is thrown away with `undo`; files are taken as they are. */
  scratchOver(path: string, undo: AsyncDisposableStack): string {
    if (!statSync(path).isDirectory()) return path;
    const upper = this.path('data', 'upper');
    const work = this.path('data', 'work');
    for (const each of [upper, work]) mkdirSync(each, { mode: 0o755 });
    const target = this.#mountPoint();
    mountOverlay({ lowerDirs: [path], upper: { dir: upper, work }, target });
    undo.defer(() => unmount(target, { detach: true }));
    return target;
  }

  /** Puts a secret where only the step that asks for it sees it: in memory, as the exec root is. */
  secret(data: Buffer, o: { mode: number; uid: number; gid: number }): string {
    const file = this.#named(join(this.#exec, 'secrets'), '');
    writeFileSync(file, data, { mode: 0o600 });
    chownSync(file, o.uid, o.gid);
    chmodSync(file, o.mode);
    return file;
  }

  #mountPoint(): string {
    const target = this.#named(join(this.#exec, 'mounts'), '');
    mkdirSync(target, { mode: 0o700 });
    return target;
  }
}
