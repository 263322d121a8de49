import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { KeyedMutex } from '#control/keyed-mutex.ts';
import { makeKnownDigests } from '#engine/layers/known-digests.ts';
import type { LayerWorkers } from '#engine/layers/layer-workers.ts';
import { directoryBytes } from '#engine/volumes/directory-size.ts';
import type { RunMount } from './run-mounts.ts';

/** A directory that steps of several builds share. */
export interface CacheMountRecord {
  id: string;
  path: string;
  createdAt: string;
  usedAt: string;
  inUse: boolean;
}

/** `RUN --mount=type=cache`: directories by their ID, which outlive builds and are no part of an image. */
export class CacheMounts {
  /** Where digests of files that have not changed are remembered. */
  readonly knownDigests: string;
  readonly #directory: string;
  readonly #workers: LayerWorkers;
  readonly #locks = new KeyedMutex();
  readonly #users = new Map<string, number>();

  constructor(o: { dataRoot: string; workers: LayerWorkers }) {
    this.#directory = join(o.dataRoot, 'cache-mounts');
    this.knownDigests = join(o.dataRoot, 'file-digests.db');
    this.#workers = o.workers;
    makeKnownDigests(this.knownDigests);
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
  }

  /** The directory for a step; given back with `undo`. What is in `seed` is there first, when it is new. */
  async use(
    mount: RunMount,
    target: string,
    seed: { root: string; path: string } | undefined,
    undo: AsyncDisposableStack,
  ): Promise<string> {
    const id = mount.id ?? target;
    let name = nameOf(id);
    if (mount.sharing === 'locked') await this.#lock(name, undo);
    // A private one that somebody uses is left to them; the next free one serves, or a new one.
    for (let count = 1; mount.sharing === 'private' && (this.#users.get(name) ?? 0) > 0; count++)
      name = nameOf(`${id}\0${count}`);
    this.#users.set(name, (this.#users.get(name) ?? 0) + 1);
    undo.defer(() => {
      this.#users.set(name, (this.#users.get(name) ?? 1) - 1);
    });
    const path = join(this.#directory, name);
    if (!existsSync(path)) await this.#make(path, id, mount, seed);
    this.#noteUse(path);
    return join(path, 'data');
  }

  async #lock(name: string, undo: AsyncDisposableStack): Promise<void> {
    const held = Promise.withResolvers<void>();
    const free = Promise.withResolvers<void>();
    void this.#locks.run(name, async () => {
      held.resolve();
      await free.promise;
    });
    undo.defer(() => free.resolve());
    await held.promise;
  }

  async #make(
    path: string,
    id: string,
    mount: RunMount,
    seed: { root: string; path: string } | undefined,
  ): Promise<void> {
    const half = join(this.#directory, `.${randomBytes(8).toString('hex')}`);
    const data = join(half, 'data');
    mkdirSync(data, { recursive: true });
    if (seed !== undefined)
      await this.#workers.run('copyTree', {
        selection: { root: seed.root, sources: [seed.path], literal: true },
        root: data,
        destination: '/',
        owner: undefined,
        isDirectory: true,
      });
    chownSync(data, mount.uid ?? 0, mount.gid ?? 0);
    chmodSync(data, mount.mode ?? 0o755);
    writeFileSync(join(half, 'created'), JSON.stringify({ id, createdAt: new Date().toISOString() }));
    this.#noteUse(half);
    if (existsSync(path)) rmSync(half, { recursive: true, force: true });
    else renameSync(half, path);
  }

  /** Whole or not at all: what is half written would be in the way of every list. */
  #noteUse(path: string): void {
    const file = join(path, 'used');
    writeFileSync(`${file}.new`, JSON.stringify({ usedAt: new Date().toISOString() }));
    renameSync(`${file}.new`, file);
  }

  list(): CacheMountRecord[] {
    return readdirSync(this.#directory)
      .filter((name) => !name.startsWith('.'))
      .map((name) => {
        const path = join(this.#directory, name);
        const created: { id: string; createdAt: string } = JSON.parse(
          readFileSync(join(path, 'created'), 'utf8'),
        );
        const { usedAt }: { usedAt: string } = JSON.parse(readFileSync(join(path, 'used'), 'utf8'));
        return { ...created, path, usedAt, inUse: (this.#users.get(name) ?? 0) > 0 };
      });
  }

  size(record: CacheMountRecord): Promise<number> {
    return directoryBytes(record.path);
  }

  /** Removes a directory that no step uses. */
  remove(record: CacheMountRecord): void {
    if (!record.inUse) rmSync(record.path, { recursive: true, force: true });
  }

  /** At start: removes what was half made. */
  recover(): void {
    for (const name of readdirSync(this.#directory))
      if (name.startsWith('.')) rmSync(join(this.#directory, name), { recursive: true, force: true });
  }
}

function nameOf(id: string): string {
  return createHash('sha256').update(id).digest('hex');
}
