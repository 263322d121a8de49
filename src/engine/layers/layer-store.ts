import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { BlobStore, Lease } from '#engine/blobs/blob-store.ts';
import type { RecordStore } from '#engine/records/record-store.ts';
import { removeTree, removeTreeSync } from '#linux/remove-tree.ts';
import { internal, invalid, messageOf, notFound } from '#model/errors.ts';
import type { ExtractionOptions } from './archive-extractor.ts';
import type { ArchiveSource } from './archive-pass.ts';
import { type LayerWorkers, makeWorkDirectory } from './layer-workers.ts';

/** What is kept of an unpacked layer. */
export interface LayerRecord {
  diffId: string;
  /** Bytes of its files. */
  size: number;
  /** Bytes of its uncompressed archive. */
  tarSize: number;
  /** Made here: its archive can be made again of its directory, byte for byte. */
  isOwn?: boolean;
  /** gzip of the archive, where it was made for a push. */
  compressed?: { digest: string; size: number };
}

/** The OCI image specification's ChainID: what a layer is once it lies on those below it; one for each layer, lowest first. */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const parent = chain.at(-1);
    chain.push(
      parent === undefined
        ? diffId
        : `sha256:${createHash('sha256').update(`${parent} ${diffId}`).digest('hex')}`,
    );
  }
  return chain;
}

/**
 * Unpacked layers, `layers/<diff ID>/diff`: each once, whatever it lies on. A layer's record is written after its directory is
 * complete, so what has no record is half made and goes at the next start.
 */
export class LayerStore {
  readonly workers: LayerWorkers;
  readonly blobs: BlobStore;
  readonly #dataRoot: string;
  readonly #records: RecordStore;
  readonly #log: Logger;
  readonly #trash: string;
  readonly #referrers: (() => Iterable<string>)[] = [];
  /** Layers being unpacked, so that two pulls of one do it once. */
  readonly #unpacking = new Map<string, Promise<unknown>>();

  constructor(o: {
    dataRoot: string;
    records: RecordStore;
    blobs: BlobStore;
    workers: LayerWorkers;
    log: Logger;
  }) {
    this.#dataRoot = o.dataRoot;
    this.#records = o.records;
    this.blobs = o.blobs;
    this.workers = o.workers;
    this.#log = o.log;
    this.#trash = join(o.dataRoot, 'trash');
    for (const name of ['layers', 'trash'])
      mkdirSync(join(o.dataRoot, name), { recursive: true, mode: 0o710 });
  }

  /**
   * Unpacks an archive as a layer. With `blob`, its bytes as they came become a blob; with `plain` those of the uncompressed archive. Kept from being swept by `lease`. What is not
   * `expectedDiffId` or `expectedDigest` is `invalid`, and nothing is kept of it.
   */
  async unpack(o: {
    source: ArchiveSource;
    lease: Lease;
    blob?: boolean | 'plain';
    expectedDiffId?: string;
    expectedDigest?: string;
    checkFirst?: boolean;
  }): Promise<{ diffId: string; digest: string; sourceSize: number }> {
    using work = makeWorkDirectory(this.#dataRoot);
    const copy = join(work.path, 'source');
    const options: ExtractionOptions = { whiteouts: true };
    const result = await this.workers.run('unpack', {
      source: o.source,
      target: join(work.path, 'layer', 'diff'),
      options,
      ...(o.blob === true ? { copy } : {}),
      ...(o.blob === 'plain' ? { plain: copy } : {}),
      ...(o.checkFirst === true ? { checkFirst: true } : {}),
    });
    const { diffId, sourceDigest: digest, sourceSize, size, tarSize } = result;
    if (o.expectedDigest !== undefined && digest !== o.expectedDigest)
      throw invalid(`invalid layer: its content is ${digest}, not ${o.expectedDigest} as it should be`);
    if (o.expectedDiffId !== undefined && diffId !== o.expectedDiffId)
      throw invalid(
        `invalid layer: its content is ${diffId}, the image's configuration says ${o.expectedDiffId}`,
      );
    o.lease.keep(digest);
    o.lease.keep(diffId);
    if (o.blob === true) this.blobs.adopt(copy, digest);
    if (o.blob === 'plain') this.blobs.adopt(copy, diffId);
    if (!this.has(diffId)) {
      this.#place(join(work.path, 'layer'), diffId);
      this.#put({ diffId, size, tarSize });
    }
    return { diffId, digest, sourceSize };
  }

  /** Runs `work`, which unpacks the layer, unless it is there or another one is at it: then that is waited for. */
  async once(diffId: string, work: () => Promise<void>): Promise<void> {
    for (;;) {
      if (this.has(diffId)) return;
      const other = this.#unpacking.get(diffId);
      if (other === undefined) break;
      // Should it fail, this one's turn comes.
      await other.catch(() => undefined);
    }
    const own = work();
    this.#unpacking.set(diffId, own);
    try {
      await own;
    } finally {
      this.#unpacking.delete(diffId);
    }
  }

  /**
   * Makes a layer of a directory with overlayfs's marks, which is used up. `latestMtimeNs` bounds the times in it. An equal one that
   * is there already is taken instead. `lease` keeps it.
   */
  async adopt(o: { directory: string; lease: Lease; latestMtimeNs?: bigint }): Promise<LayerRecord> {
    const { diffId, size, tarSize } = await this.workers.run('archive', {
      directory: o.directory,
      ...(o.latestMtimeNs === undefined ? {} : { latestMtimeNs: o.latestMtimeNs }),
    });
    o.lease.keep(diffId);
    const existing = this.find(diffId);
    if (existing !== undefined) {
      this.discard(o.directory);
      return existing;
    }
    using work = makeWorkDirectory(this.#dataRoot);
    const layer = join(work.path, 'layer');
    mkdirSync(layer, { mode: 0o710 });
    renameSync(o.directory, join(layer, 'diff'));
    this.#place(layer, diffId);
    const record: LayerRecord = { diffId, size, tarSize, isOwn: true };
    this.#put(record);
    return record;
  }

  /** Writes the archive of a layer that was made here as a blob, where it is not one; undefined for layers of other origin. */
  async archive(
    diffId: string,
    o: { compress: boolean; lease: Lease },
  ): Promise<{ digest: string; size: number } | undefined> {
    const record = this.#get(diffId);
    const known = o.compress ? record.compressed : { digest: diffId, size: record.tarSize };
    if (known !== undefined) o.lease.keep(known.digest);
    if (known !== undefined && this.blobs.has(known.digest)) return known;
    const source = this.#plainSource(record);
    if (source === undefined) return undefined;
    using work = makeWorkDirectory(this.#dataRoot);
    const output = join(work.path, 'archive');
    const made = await this.workers.run('archive', { ...source, output, compress: o.compress });
    if (made.diffId !== diffId)
      throw internal(`layer ${diffId} cannot be archived: its directory is ${made.diffId} now`);
    o.lease.keep(made.digest);
    this.blobs.adopt(output, made.digest);
    const archived = { digest: made.digest, size: made.outputSize };
    if (o.compress) this.#put({ ...this.#get(diffId), compressed: archived });
    return archived;
  }

  #plainSource(record: LayerRecord): { directory: string } | { archive: string } | undefined {
    if (record.isOwn === true) return { directory: this.path(record.diffId) };
    return this.blobs.has(record.diffId) ? { archive: this.blobs.path(record.diffId) } : undefined;
  }

  has(diffId: string): boolean {
    return this.find(diffId) !== undefined;
  }

  find(diffId: string): LayerRecord | undefined {
    return this.#records.get<LayerRecord>('layer', diffId);
  }

  /** Bytes of the layer's files. */
  size(diffId: string): number {
    return this.find(diffId)?.size ?? 0;
  }

  /** Where a layer's files are. */
  path(diffId: string): string {
    return join(this.#layerPath(diffId), 'diff');
  }

  /** For overlayfs: topmost first, and each once: a layer that lies on itself is seen through its upper place. */
  lowerDirs(diffIds: readonly string[]): string[] {
    return [...new Set([...diffIds].reverse())].map((diffId) => this.path(diffId));
  }

  /** Adds to what is kept in every sweep: the diff IDs that somebody's records name. */
  addReferrer(diffIds: () => Iterable<string>): void {
    this.#referrers.push(diffIds);
  }

  /** Removes every layer and blob that nobody names or holds. */
  sweep(): void {
    const kept = this.blobs.held();
    for (const referrer of this.#referrers) for (const diffId of referrer()) kept.add(diffId);
    for (const record of this.#records.list<LayerRecord>('layer')) {
      if (kept.has(record.diffId)) continue;
      this.#records.delete('layer', record.diffId);
      this.discard(this.#layerPath(record.diffId));
    }
    this.blobs.sweep();
  }

  /** Gone from its place at once; its files are removed beside everything else, or by the next start. */
  discard(path: string): void {
    const trash = join(this.#trash, randomBytes(8).toString('hex'));
    if (!existsSync(path)) return;
    renameSync(path, trash);
    removeTree(trash).catch((error: unknown) => {
      this.#log.warn({ path: trash, error: messageOf(error) }, 'left for the next start to remove');
    });
  }

  /** At start, before anything is unpacked: removes half-made work and directories without a record. */
  recover(): void {
    this.blobs.recover();
    for (const name of readdirSync(this.#trash)) removeTreeSync(join(this.#trash, name));
    const layers = join(this.#dataRoot, 'layers');
    for (const name of readdirSync(layers)) {
      if (!this.has(`sha256:${name}`)) removeTreeSync(join(layers, name));
    }
  }

  #get(diffId: string): LayerRecord {
    const record = this.find(diffId);
    if (record === undefined) throw notFound(`layer ${diffId} is not in the store`);
    return record;
  }

  #put(record: LayerRecord): void {
    this.#records.put('layer', record.diffId, record);
  }

  #place(directory: string, diffId: string): void {
    const final = this.#layerPath(diffId);
    rmSync(final, { recursive: true, force: true });
    renameSync(directory, final);
  }

  #layerPath(diffId: string): string {
    return join(this.#dataRoot, 'layers', diffId.replace('sha256:', ''));
  }
}
