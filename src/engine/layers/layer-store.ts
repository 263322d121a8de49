import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { RecordStore } from '#engine/records/record-store.ts';
import { invalid, messageOf } from '#model/errors.ts';
import { makeWorkDirectory, unpackInWorker } from './archive-unpacker.ts';

/** What is kept of an unpacked layer. */
interface LayerRecord {
  chainId: string;
  diffId: string;
  parentChainId?: string;
  size: number;
}

/** The OCI image specification's ChainID: what a layer is once it lies on its parent. */
export function chainIdOf(parentChainId: string | undefined, diffId: string): string {
  if (parentChainId === undefined) return diffId;
  return `sha256:${createHash('sha256').update(`${parentChainId} ${diffId}`).digest('hex')}`;
}

/**
 * Unpacked layers, `layers/<chain>/diff`, and their archives, `blobs/sha256/<hex>`. A layer's record is written after its
 * directory is complete, so what has no record is half made and goes at the next start.
 */
export class LayerStore {
  readonly #dataRoot: string;
  readonly #records: RecordStore;
  readonly #log: Logger;
  readonly #trash: string;

  constructor(o: { dataRoot: string; records: RecordStore; log: Logger }) {
    this.#dataRoot = o.dataRoot;
    this.#records = o.records;
    this.#log = o.log;
    this.#trash = join(o.dataRoot, 'trash');
    for (const name of ['layers', 'blobs/sha256', 'tmp', 'trash'])
      mkdirSync(join(o.dataRoot, name), { recursive: true, mode: 0o710 });
  }

  /**
   * Unpacks the archive file at `source` (used up; gzip, zstd or plain) as a layer on `parentChainId` and keeps the plain
   * archive as a blob. One that is there already is not unpacked again.
   */
  async unpack(o: {
    source: string;
    parentChainId: string | undefined;
    expectedDiffId?: string;
  }): Promise<{ chainId: string; diffId: string; size: number }> {
    using work = makeWorkDirectory(this.#dataRoot);
    const plain = join(work.path, 'plain');
    const target = join(work.path, 'layer', 'diff');
    const { diffId, size } = await unpackInWorker({
      source: o.source,
      plain,
      target,
      options: { whiteouts: true },
    });
    if (o.expectedDiffId !== undefined && diffId !== o.expectedDiffId) {
      throw invalid(
        `invalid layer: its content is ${diffId}, the image's configuration says ${o.expectedDiffId}`,
      );
    }
    const chainId = chainIdOf(o.parentChainId, diffId);
    const blob = this.blobPath(diffId);
    if (!existsSync(blob)) renameSync(plain, blob);
    if (!this.has(chainId)) {
      const final = this.#layerPath(chainId);
      rmSync(final, { recursive: true, force: true });
      renameSync(join(work.path, 'layer'), final);
      const record: LayerRecord = { chainId, diffId, size };
      if (o.parentChainId !== undefined) record.parentChainId = o.parentChainId;
      this.#records.put('layer', chainId, record);
    }
    return { chainId, diffId, size };
  }

  has(chainId: string): boolean {
    return this.#records.get<LayerRecord>('layer', chainId) !== undefined;
  }

  /** Bytes of the layer's files. */
  size(chainId: string): number {
    return this.#records.get<LayerRecord>('layer', chainId)?.size ?? 0;
  }

  diffId(chainId: string): string | undefined {
    return this.#records.get<LayerRecord>('layer', chainId)?.diffId;
  }

  /** For overlayfs: topmost first. */
  lowerDirs(chainIds: readonly string[]): string[] {
    return chainIds.map((chainId) => join(this.#layerPath(chainId), 'diff')).reverse();
  }

  /** `blobs/sha256/<hex>` of a digest. */
  blobPath(digest: string): string {
    const match = /^sha256:([0-9a-f]{64})$/.exec(digest);
    if (match === null) throw invalid(`invalid digest ${JSON.stringify(digest)}: only sha256 is supported`);
    return join(this.#dataRoot, 'blobs', 'sha256', match[1] ?? '');
  }

  /** Removes every layer and blob that is not named; gives the bytes of the layers. */
  sweep(keep: { chainIds: Set<string>; digests: Set<string> }): number {
    let bytes = 0;
    for (const record of this.#records.list<LayerRecord>('layer')) {
      if (keep.chainIds.has(record.chainId)) {
        keep.digests.add(record.diffId);
        continue;
      }
      bytes += record.size;
      this.#records.delete('layer', record.chainId);
      this.#discard(this.#layerPath(record.chainId));
    }
    const blobs = join(this.#dataRoot, 'blobs', 'sha256');
    for (const name of readdirSync(blobs))
      if (!keep.digests.has(`sha256:${name}`)) rmSync(join(blobs, name), { force: true });
    return bytes;
  }

  /** Gone from its place at once; its files are removed beside everything else, or by the next start. */
  #discard(path: string): void {
    const trash = join(this.#trash, randomBytes(8).toString('hex'));
    if (!existsSync(path)) return;
    renameSync(path, trash);
    rm(trash, { recursive: true, force: true }).catch((error: unknown) => {
      this.#log.warn({ path: trash, error: messageOf(error) }, 'left for the next start to remove');
    });
  }

  /** At start, before anything is unpacked: removes half-made work and directories without a record. */
  recover(): void {
    rmSync(join(this.#dataRoot, 'tmp'), { recursive: true, force: true });
    mkdirSync(join(this.#dataRoot, 'tmp'), { mode: 0o700 });
    for (const name of readdirSync(this.#trash))
      rmSync(join(this.#trash, name), { recursive: true, force: true });
    const layers = join(this.#dataRoot, 'layers');
    for (const name of readdirSync(layers)) {
      if (!this.has(`sha256:${name}`)) rmSync(join(layers, name), { recursive: true, force: true });
    }
  }

  #layerPath(chainId: string): string {
    return join(this.#dataRoot, 'layers', chainId.replace('sha256:', ''));
  }
}
