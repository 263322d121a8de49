import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { digestOf, isDigest, type Lease } from '#engine/blobs/blob-store.ts';
import {
  type Descriptor,
  ImageIndex,
  ImageManifest,
  OCI_INDEX,
  OCI_LAYER_GZIP,
  OCI_MANIFEST,
  parseDocument,
} from '#engine/images/image-documents.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import { completeFile } from '#engine/layers/layer-workers.ts';
import { invalid, messageOf, notFound } from '#model/errors.ts';
import type { BuildCache, CacheRecord } from './build-cache.ts';
import type { BuildProgress } from './build-progress.ts';
import type { BuildRequest, CacheReference } from './build-request.ts';

/** What a registry has to do for caches in it: manifests and blobs of a repository. */
export interface ArtifactTransfer {
  /** The manifest of a reference; `not-found` where there is none. */
  manifest(o: ArtifactAccess): Promise<Buffer>;
  /** A small blob. */
  blob(o: ArtifactAccess & { descriptor: Descriptor }): Promise<Buffer>;
  /** Brings a layer here, unpacked. */
  layer(o: ArtifactAccess & { descriptor: Descriptor; diffId: string; lease: Lease }): Promise<void>;
  /** Sends blobs that are in the store, then the manifest. */
  push(o: ArtifactAccess & { manifest: Buffer; blobs: readonly Descriptor[] }): Promise<void>;
}

export interface ArtifactAccess {
  reference: string;
  request: BuildRequest;
  signal: AbortSignal;
}

/** Of a cache in a folder, which is read whole. */
const LARGEST_DOCUMENT = 64 * 1024 * 1024;

const CACHE_TYPE = 'application/vnd.drover.build-cache.config.v1+json';

/** Where an image's configuration carries the cache of its own layers. */
export const INLINE_CACHE = 'drover.cache.v1';

interface CacheLine {
  key: string;
  diffId?: string | undefined;
  description: string;
  createdAt: string;
}

const CacheDocument = z.object({
  records: z.array(
    z.object({
      key: z.string().regex(/^sha256:[0-9a-f]{64}$/),
      diffId: z
        .string()
        .regex(/^sha256:[0-9a-f]{64}$/)
        .optional(),
      description: z.string(),
      createdAt: z.string(),
    }),
  ),
  /** Diff IDs of the manifest's layers, in their order. */
  layers: z.array(z.string()),
});

const InlineDocument = z.looseObject({
  [INLINE_CACHE]: CacheDocument.shape.records.optional(),
  rootfs: z.object({ diff_ids: z.array(z.string()) }),
});

/** A cache of elsewhere that was opened: records by key, and a way to bring a layer here. */
interface OpenedCache {
  records: Map<string, CacheLine>;
  bring: (diffId: string, lease: Lease) => Promise<void>;
}

/** Takes steps from caches of elsewhere, and leaves those of a build there. */
export class CacheTransfer {
  readonly #layers: LayerStore;
  readonly #cache: BuildCache;
  readonly #artifacts: ArtifactTransfer;
  readonly #request: BuildRequest;
  readonly #signal: AbortSignal;
  readonly #lease: Lease;
  readonly #progress: BuildProgress;
  #opened: Promise<OpenedCache[]> | undefined;
  /** Keys of the steps of this build. */
  readonly #used = new Set<string>();

  constructor(o: {
    layers: LayerStore;
    cache: BuildCache;
    artifacts: ArtifactTransfer;
    request: BuildRequest;
    signal: AbortSignal;
    lease: Lease;
    progress: BuildProgress;
  }) {
    this.#layers = o.layers;
    this.#cache = o.cache;
    this.#artifacts = o.artifacts;
    this.#request = o.request;
    this.#signal = o.signal;
    this.#lease = o.lease;
    this.#progress = o.progress;
  }

  /** Notes a step of this build for what is exported. */
  use(key: string): void {
    this.#used.add(key);
  }

  /** A step's result out of one of the caches to import; its layer is here then. A cache that fails is passed over. */
  async find(key: string): Promise<CacheRecord | undefined> {
    if (this.#request.cacheFrom.length === 0) return undefined;
    this.#opened ??= this.#openAll();
    for (const opened of await this.#opened) {
      const line = opened.records.get(key);
      if (line === undefined) continue;
      try {
        if (line.diffId !== undefined && !this.#layers.has(line.diffId))
          await opened.bring(line.diffId, this.#lease);
      } catch (error) {
        if (this.#signal.aborted) throw error;
        this.#progress.warn(`a layer of the imported cache cannot be had: ${messageOf(error)}`);
        continue;
      }
      return this.#cache.put({
        key,
        description: line.description,
        createdAt: line.createdAt,
        ...(line.diffId === undefined ? {} : { diffId: line.diffId }),
      });
    }
    return undefined;
  }

  async #openAll(): Promise<OpenedCache[]> {
    const found = await Promise.all(
      this.#request.cacheFrom.map(async (reference) => {
        try {
          return await this.#open(reference);
        } catch (error) {
          if (this.#signal.aborted) throw error;
          // The first build of all has none yet.
          this.#progress.warn(`cache ${describe(reference)} is not used: ${messageOf(error)}`);
          return undefined;
        }
      }),
    );
    return found.filter((each) => each !== undefined);
  }

  async #open(reference: CacheReference): Promise<OpenedCache | undefined> {
    switch (reference.type) {
      case 'inline':
        return undefined;
      case 'registry':
        return await this.#openRegistry(attribute(reference, 'ref'));
      case 'local':
        return openFolder(attribute(reference, 'src'), this.#layers);
    }
  }

  async #openRegistry(reference: string): Promise<OpenedCache> {
    const access = { reference, request: this.#request, signal: this.#signal };
    const manifest = parseDocument(
      ImageManifest,
      await this.#artifacts.manifest(access),
      `cache ${reference}`,
    );
    const config = await this.#artifacts.blob({ ...access, descriptor: manifest.config });
    const { records, layers } = readDocument(config, manifest, reference);
    return {
      records,
      bring: async (diffId, lease) => {
        const descriptor = manifest.layers[layers.indexOf(diffId)];
        if (descriptor === undefined) throw invalid(`layer ${diffId} is not in the cache ${reference}`);
        await this.#artifacts.layer({ ...access, descriptor, diffId, lease });
      },
    };
  }

  /** The records that the image itself carries; undefined where that was not asked for. */
  inlineRecords(diffIds: readonly string[]): CacheLine[] | undefined {
    if (!this.#request.cacheTo.some(({ type }) => type === 'inline')) return undefined;
    return this.#lines().filter(({ diffId }) => diffId !== undefined && diffIds.includes(diffId));
  }

  /** Leaves this build's steps where they are wanted: with mode=min those of the image's own layers, with mode=max all. */
  async export(diffIds: readonly string[]): Promise<void> {
    for (const reference of this.#request.cacheTo) {
      if (reference.type === 'inline') continue;
      const step = this.#progress.begin(`export cache to ${describe(reference)}`);
      const isWhole = reference.attributes['mode'] === 'max';
      const lines = this.#lines().filter(
        ({ diffId }) => isWhole || diffId === undefined || diffIds.includes(diffId),
      );
      try {
        await this.#exportTo(reference, lines);
        step.done();
      } catch (error) {
        step.failed(messageOf(error));
        if (reference.attributes['ignore-error'] !== 'true') throw error;
      }
    }
  }

  #lines(): CacheLine[] {
    return [...this.#used].flatMap((key) => {
      const record = this.#cache.find(key);
      if (record === undefined) return [];
      const { diffId, description, createdAt } = record;
      return [{ key, description, createdAt, ...(diffId === undefined ? {} : { diffId }) }];
    });
  }

  async #exportTo(reference: CacheReference, lines: readonly CacheLine[]): Promise<void> {
    const diffIds = [...new Set(lines.flatMap(({ diffId }) => (diffId === undefined ? [] : [diffId])))];
    const layers: Descriptor[] = [];
    for (const diffId of diffIds) {
      const made = await this.#layers.archive(diffId, { compress: true, lease: this.#lease });
      if (made === undefined) throw invalid(`layer ${diffId} cannot be exported: its archive is not kept`);
      layers.push({ mediaType: OCI_LAYER_GZIP, ...made });
    }
    const config = Buffer.from(JSON.stringify({ records: lines, layers: diffIds }));
    const configDescriptor = {
      mediaType: CACHE_TYPE,
      digest: this.#layers.blobs.put(config),
      size: config.length,
    };
    this.#lease.keep(configDescriptor.digest);
    const manifest = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config: configDescriptor, layers }),
    );
    const blobs = [...layers, configDescriptor];
    if (reference.type === 'local') {
      writeFolder(attribute(reference, 'dest'), manifest, blobs, this.#layers);
      return;
    }
    await this.#artifacts.push({
      reference: attribute(reference, 'ref'),
      request: this.#request,
      signal: this.#signal,
      manifest,
      blobs,
    });
  }
}

function readDocument(
  config: Buffer,
  manifest: ImageManifest,
  what: string,
): { records: Map<string, CacheLine>; layers: readonly string[] } {
  if (manifest.config.mediaType === CACHE_TYPE) {
    const { records, layers } = parseDocument(CacheDocument, config, `cache ${what}`);
    return { records: new Map(records.map((line) => [line.key, line])), layers };
  }
  const image = parseDocument(InlineDocument, config, `image ${what}`);
  const records = image[INLINE_CACHE] ?? [];
  if (records.length === 0) throw notFound(`${what} carries no cache: build it with --cache-to type=inline`);
  return { records: new Map(records.map((line) => [line.key, line])), layers: image.rootfs.diff_ids };
}

function attribute(reference: CacheReference, name: string): string {
  const value = reference.attributes[name];
  if (value === undefined) throw invalid(`cache type ${reference.type} needs ${name}=`);
  return value;
}

function describe({ type, attributes }: CacheReference): string {
  return `${type} ${attributes['ref'] ?? attributes['src'] ?? attributes['dest'] ?? ''}`.trim();
}

/** An OCI image layout with one manifest in it. */
function openFolder(path: string, layers: LayerStore): OpenedCache {
  if (!existsSync(join(path, 'index.json'))) throw notFound(`${path} holds no cache`);
  const index = parseDocument(ImageIndex, readSmall(join(path, 'index.json')), `the index of ${path}`);
  const [described] = index.manifests;
  if (described === undefined) throw notFound(`${path} holds no cache`);
  const manifestData = readSmall(blobFile(path, described.digest));
  if (digestOf(manifestData) !== described.digest)
    throw invalid(`${path}: the manifest does not have its digest`);
  const manifest = parseDocument(ImageManifest, manifestData, `cache ${path}`);
  const read = readDocument(readSmall(blobFile(path, manifest.config.digest)), manifest, path);
  return {
    records: read.records,
    bring: async (diffId, lease) => {
      const descriptor = manifest.layers[read.layers.indexOf(diffId)];
      if (descriptor === undefined) throw invalid(`layer ${diffId} is not in the cache ${path}`);
      await layers.unpack({
        source: { path: blobFile(path, descriptor.digest), growth: completeFile() },
        lease,
        blob: true,
        expectedDiffId: diffId,
        expectedDigest: descriptor.digest,
      });
    },
  };
}

/** Where a layout has a blob. What it says of itself leads nowhere else. */
function blobFile(layout: string, digest: string): string {
  if (!isDigest(digest)) throw invalid(`${layout}: ${digest} is no digest`);
  return join(layout, 'blobs', digest.replace(':', '/'));
}

/** A document of a layout, whole. */
function readSmall(file: string): Buffer {
  if (statSync(file).size > LARGEST_DOCUMENT)
    throw invalid(`${file} is larger than ${LARGEST_DOCUMENT} bytes`);
  return readFileSync(file);
}

function writeFolder(path: string, manifest: Buffer, blobs: readonly Descriptor[], layers: LayerStore): void {
  mkdirSync(join(path, 'blobs', 'sha256'), { recursive: true });
  for (const { digest } of blobs) {
    const file = blobFile(path, digest);
    if (existsSync(file)) continue;
    copyFileSync(layers.blobs.path(digest), `${file}.new`);
    renameSync(`${file}.new`, file);
  }
  const digest = digestOf(manifest);
  writeFileSync(blobFile(path, digest), manifest);
  writeFileSync(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const index = {
    schemaVersion: 2,
    mediaType: OCI_INDEX,
    manifests: [{ mediaType: OCI_MANIFEST, digest, size: manifest.length }],
  };
  // Last, and at once: whoever reads it finds all of what it names.
  const half = join(path, 'index.json.new');
  writeFileSync(half, JSON.stringify(index));
  renameSync(half, join(path, 'index.json'));
}
