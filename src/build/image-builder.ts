import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Logger } from 'pino';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { ImageStore } from '#engine/images/image-store.ts';
import { parseReference } from '#engine/images/reference.ts';
import type { ContainerFilesystems } from '#engine/layers/container-filesystem.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import type { NetworkStore } from '#engine/networks/network-store.ts';
import type { RecordStore } from '#engine/records/record-store.ts';
import type { ContainerRuntime } from '#engine/runtime/container-runtime.ts';
import { invalid } from '#model/errors.ts';
import type { BuildRecipe, Image, ImageConfiguration } from '#model/image.ts';
import { BaseImages, type PullImage } from './base-images.ts';
import { BuildCache, cacheKey, type PruneOptions } from './build-cache.ts';
import { type BuildDirectory, BuildFilesystems } from './build-filesystems.ts';
import { BuildProgress } from './build-progress.ts';
import type { BuildEvent, BuildRequest } from './build-request.ts';
import { BuildRun } from './build-run.ts';
import { CacheMounts } from './cache-mounts.ts';
import { type ArtifactTransfer, CacheTransfer, INLINE_CACHE } from './cache-transfer.ts';
import { SLSA_PROVENANCE, slsaProvenance } from './provenance.ts';
import { SPDX_DOCUMENT, spdxInWorker } from './software-bill.ts';
import type { StageState } from './stage-state.ts';
import { StepContainers } from './step-container.ts';

/** What nobody has used for longest goes when the cache is larger than this after a build; 20 GB, as with Docker. */
const LARGEST_CACHE = 20e9;

export interface BuildOutcome {
  image: Image;
  /** Names that mean it now. */
  tags: string[];
}

/** Dockerfiles to images: stages that do not wait for each other run at once, what was done before is not done again. */
export class ImageBuilder {
  readonly cache: BuildCache;
  readonly cacheMounts: CacheMounts;
  readonly #layers: LayerStore;
  readonly #images: ImageStore;
  readonly #events: EventBus;
  readonly #filesystems: BuildFilesystems;
  readonly #containers: StepContainers;
  readonly #pull: PullImage;
  readonly #artifacts: ArtifactTransfer;
  readonly #version: string;
  readonly #log: Logger;

  constructor(o: {
    dataRoot: string;
    execRoot: string;
    records: RecordStore;
    layers: LayerStore;
    images: ImageStore;
    events: EventBus;
    filesystems: ContainerFilesystems;
    networks: NetworkStore;
    runtime: ContainerRuntime;
    pull: PullImage;
    artifacts: ArtifactTransfer;
    /** Of this program, for attestations. */
    version: string;
    log: Logger;
  }) {
    const { dataRoot, execRoot, records, layers, filesystems, networks, runtime } = o;
    this.cache = new BuildCache({ records, layers });
    this.cacheMounts = new CacheMounts({ dataRoot, workers: layers.workers });
    this.#layers = layers;
    this.#images = o.images;
    this.#events = o.events;
    this.#filesystems = new BuildFilesystems({ dataRoot, execRoot, layers, log: o.log });
    this.#containers = new StepContainers({ filesystems, networks, runtime });
    this.#pull = o.pull;
    this.#artifacts = o.artifacts;
    this.#version = o.version;
    this.#log = o.log;
  }

  /** At start: removes what builds that were cut off left. */
  recover(): void {
    this.#filesystems.recover();
    this.cacheMounts.recover();
  }

  /** The files of an image in a directory, for reading. Gone when disposed of. */
  openFiles(image: Image): { root: string } & Disposable {
    const directory = this.#filesystems.open();
    try {
      const root = directory.view(image.configuration.rootfs.diff_ids);
      return { root, [Symbol.dispose]: () => directory[Symbol.dispose]() };
    } catch (error) {
      directory[Symbol.dispose]();
      throw error;
    }
  }

  /** The files of an image as one archive, without its layers. Gone when disposed of. */
  async exportFiles(image: Image): Promise<{ stream: () => Readable } & AsyncDisposable> {
    const directory = this.#filesystems.open();
    try {
      const output = directory.path('data', 'files');
      const view = directory.view(image.configuration.rootfs.diff_ids);
      await this.#layers.workers.run('archive', { directory: view, output });
      return {
        stream: () => createReadStream(output, { highWaterMark: 1024 * 1024 }),
        [Symbol.asyncDispose]: () => Promise.resolve(directory[Symbol.dispose]()),
      };
    } catch (error) {
      directory[Symbol.dispose]();
      throw error;
    }
  }

  /** `docker builder prune`: forgets results, and with `all` the directories of cache mounts too. */
  async prune(o: PruneOptions): Promise<{ keys: string[]; bytes: number }> {
    const { keys, bytes } = this.cache.prune(o);
    let freed = bytes;
    const isWhole = o.keepBytes === undefined && o.accept === undefined;
    for (const record of o.all || isWhole ? this.cacheMounts.list() : []) {
      const isOld = o.usedBeforeMs === undefined || Date.parse(record.usedAt) < o.usedBeforeMs;
      if (!isOld || record.inUse) continue;
      freed += await this.cacheMounts.size(record);
      this.cacheMounts.remove(record);
      keys.push(record.id);
    }
    return { keys, bytes: freed };
  }

  /** Builds an image. What fails because of the Dockerfile is an error that shows its place. */
  async build(
    request: BuildRequest,
    o: { report: (event: BuildEvent) => void; signal: AbortSignal },
  ): Promise<BuildOutcome> {
    const tags = request.tags.map((tag) => {
      const parsed = parseReference(tag);
      if (parsed.digest !== undefined)
        throw invalid(`invalid tag ${JSON.stringify(tag)}: it cannot have a digest`);
      return parsed;
    });
    using directory = this.#filesystems.open();
    using lease = this.#layers.blobs.lease();
    const failed = new AbortController();
    const signal = AbortSignal.any([o.signal, failed.signal]);
    const progress = new BuildProgress(o.report);
    const transfer = new CacheTransfer({
      layers: this.#layers,
      cache: this.cache,
      artifacts: this.#artifacts,
      request,
      signal,
      lease,
      progress,
    });
    const run = new BuildRun({
      request,
      directory,
      lease,
      signal,
      fail: (error) => failed.abort(error),
      progress,
      transfer,
      layers: this.#layers,
      cache: this.cache,
      cacheMounts: this.cacheMounts,
      containers: this.#containers,
      bases: new BaseImages({ images: this.#images, pull: this.#pull, request, signal }),
    });
    const startedOn = new Date().toISOString();
    const { state, epochNs, dockerfile, bases } = await run.run();
    const image = this.#store(state, request, epochNs, transfer.inlineRecords(state.diffIds));
    await transfer.export(state.diffIds);
    await this.#attest(image, request, { directory, dockerfile, bases, startedOn });
    for (const tag of tags) this.#images.point(tag, image.id);
    if (this.cache.bytes > LARGEST_CACHE) this.cache.prune({ all: false, keepBytes: LARGEST_CACHE });
    this.#events.publish('builder', 'build', image.id, { name: tags[0]?.familiar ?? image.id });
    this.#log.debug({ image: image.id }, 'built');
    return {
      image: this.#images.resolve(image.id),
      tags: tags.map(({ familiar, tag = 'latest' }) => `${familiar}:${tag}`),
    };
  }

  async #attest(
    image: Image,
    request: BuildRequest,
    o: {
      directory: BuildDirectory;
      dockerfile: string;
      bases: readonly { reference: string; digest: string }[];
      startedOn: string;
    },
  ): Promise<void> {
    const finishedOn = new Date().toISOString();
    if (request.provenance)
      this.#images.attest(
        image.id,
        SLSA_PROVENANCE,
        slsaProvenance({ ...o, image, request, finishedOn, builderVersion: this.#version }),
      );
    if (!request.sbom) return;
    const root = o.directory.view(image.configuration.rootfs.diff_ids);
    const name = request.tags[0] ?? image.id;
    const document = await spdxInWorker({ name, root, created: finishedOn, toolVersion: this.#version });
    this.#images.attest(image.id, SPDX_DOCUMENT, document);
  }

  /** The same state gives the same image: its time is that of the first build that came to it. */
  #store(
    state: StageState,
    request: BuildRequest,
    epochNs: bigint | undefined,
    inline: object[] | undefined,
  ): Image {
    const config = {
      ...state.config,
      ...(Object.keys(request.labels).length === 0
        ? {}
        : { Labels: { ...state.config.Labels, ...request.labels } }),
    };
    const key = cacheKey('image', state.diffIds, config, state.history, state.platform, request.annotations);
    const epoch = epochNs === undefined ? undefined : new Date(Number(epochNs / 1_000_000n)).toISOString();
    const created = epoch ?? this.cache.find(key)?.createdAt ?? new Date().toISOString();
    this.cache.put({ key, description: 'image', createdAt: created });
    const { os, architecture, variant } = state.platform;
    const configuration: ImageConfiguration = {
      created,
      ...(state.author === undefined ? {} : { author: state.author }),
      architecture,
      ...(variant ? { variant } : {}),
      os,
      config,
      rootfs: { type: 'layers', diff_ids: [...state.diffIds] },
      history: state.history.map((entry) => ({ created, ...entry })),
    };
    const document = inline === undefined ? configuration : { ...configuration, [INLINE_CACHE]: inline };
    return this.#images.add({
      configuration: Buffer.from(JSON.stringify(document)),
      annotations: request.annotations,
      ...(state.lineage === undefined ? {} : { lineage: { ...state.lineage, ...recipeOf(request) } }),
    });
  }
}

/** How the build can be asked for again, where nothing but directories of this machine went into it. */
function recipeOf(request: BuildRequest): { recipe?: BuildRecipe } {
  const { context, dockerfile, target, platform, network, buildArgs, labels } = request;
  const isRepeatable =
    context.kind === 'directory' &&
    dockerfile.text === undefined &&
    Object.keys(request.contexts).length === 0 &&
    request.secrets.size === 0 &&
    request.ssh.size === 0 &&
    request.entitlements.length === 0;
  if (!isRepeatable) return {};
  return {
    recipe: {
      context: context.path,
      dockerfile: dockerfile.path,
      ...(target === undefined ? {} : { target }),
      ...(platform === undefined ? {} : { platform }),
      network,
      buildArgs,
      labels,
    },
  };
}
