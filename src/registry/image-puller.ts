import type { BlobStore, Lease } from '#engine/blobs/blob-store.ts';
import { isDigest } from '#engine/blobs/blob-store.ts';
import type { EventBus } from '#engine/events/event-bus.ts';
import {
  ConfigurationShape,
  chooseManifest,
  type Descriptor,
  formatPlatform,
  hostPlatform,
  ImageIndex,
  ImageManifest,
  manifestKind,
  type Platform,
  parseDocument,
  parsePlatform,
} from '#engine/images/image-documents.ts';
import type { ImageStore } from '#engine/images/image-store.ts';
import type { ImageReference } from '#engine/images/reference.ts';
import { FileGrowth } from '#engine/layers/growing-file.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import { completeFile } from '#engine/layers/layer-workers.ts';
import { DroverError, invalid, notFound, notImplemented } from '#model/errors.ts';
import type { Image, ProgressLine } from '#model/image.ts';
import { type BlobDownloads, checkDigest } from './blob-download.ts';
import { boundedParallel } from './bounded-parallel.ts';
import type { RegistryCredentials } from './credentials.ts';
import { type FetchedManifest, fetchManifest } from './manifest-transfer.ts';
import type { Registries } from './registries.ts';
import type { RegistryClient } from './registry-client.ts';
import { shortDigest, TransferProgress } from './transfer-progress.ts';

/** As deep as anybody nests indexes; one that names itself ends here. */
const DEEPEST_INDEX = 4;
/** Docker's --max-concurrent-downloads. */
const PARALLEL_DOWNLOADS = 3;
/** Configurations are read whole. */
const LARGEST_CONFIGURATION = 16 * 1024 * 1024;
/** As many layers as overlayfs takes, and more than anybody has. */
const MOST_LAYERS = 500;

export interface PullRequest {
  reference: ImageReference;
  platform?: string | undefined;
  credentials: RegistryCredentials;
  report: (line: ProgressLine) => void;
  signal: AbortSignal;
}

/** Pulls images: layers are unpacked while they come, and what is on this machine already is not fetched. */
export class ImagePuller {
  readonly #images: ImageStore;
  readonly #layers: LayerStore;
  readonly #blobs: BlobStore;
  readonly #events: EventBus;
  readonly #registries: Registries;
  readonly #downloads: BlobDownloads;

  constructor(o: {
    images: ImageStore;
    layers: LayerStore;
    events: EventBus;
    registries: Registries;
    downloads: BlobDownloads;
  }) {
    this.#images = o.images;
    this.#layers = o.layers;
    this.#blobs = o.layers.blobs;
    this.#events = o.events;
    this.#registries = o.registries;
    this.#downloads = o.downloads;
  }

  /** `docker pull`: the image, named by its reference. Progress is in Docker's words. */
  async pull(request: PullRequest): Promise<Image> {
    const { reference, signal } = request;
    const tag = reference.digest ?? reference.tag ?? 'latest';
    const wanted = request.platform ? parsePlatform(request.platform) : hostPlatform();
    const progress = new TransferProgress(request.report);
    const before = this.#images.named(reference)?.id;
    const { image, digest } = await this.#registries.use(
      { name: reference.name, actions: 'pull', credentials: request.credentials, signal },
      (client, path) =>
        this.#pullFrom(client, {
          path,
          tag,
          wanted,
          progress,
          name: reference.familiar,
          report: request.report,
        }),
    );
    const shown = `${reference.familiar}${reference.digest === undefined ? ':' : '@'}${tag}`;
    if (reference.digest === undefined) this.#images.point(reference, image.id);
    this.#images.pointDigest(reference, digest, image.id);
    this.#events.publish('image', 'pull', shown, { name: reference.familiar });
    progress.say(`Digest: ${digest}`);
    progress.say(
      before === image.id
        ? `Status: Image is up to date for ${shown}`
        : `Status: Downloaded newer image for ${shown}`,
    );
    return this.#images.resolve(image.id);
  }

  /** What a reference means at its registry now: the manifest, or the index. */
  async manifest(o: Omit<PullRequest, 'report'>): Promise<FetchedManifest> {
    const tag = o.reference.digest ?? o.reference.tag ?? 'latest';
    return await this.#registries.use(
      { name: o.reference.name, actions: 'pull', credentials: o.credentials, signal: o.signal },
      (client, path) => fetchManifest(client, path, tag),
    );
  }

  /** The platforms that a manifest or index is for. */
  async platforms(o: Omit<PullRequest, 'report'>, fetched: FetchedManifest): Promise<Platform[]> {
    if (manifestKind(fetched.data, fetched.mediaType) === 'index') {
      const index = parseDocument(ImageIndex, fetched.data, `index of ${o.reference.familiar}`);
      return index.manifests.flatMap(({ platform }) => (platform ? [platform] : []));
    }
    const { config } = parseImageManifest(fetched, o.reference.familiar);
    const configuration = await this.#registries.use(
      { name: o.reference.name, actions: 'pull', credentials: o.credentials, signal: o.signal },
      (client, path) => this.#configuration(client, path, config),
    );
    const { os, architecture } = parseDocument(ConfigurationShape, configuration, config.digest);
    return [{ architecture, os }];
  }

  /** The tags of a repository, as `docker pull --all-tags` wants them. */
  async tags(o: Omit<PullRequest, 'report'>): Promise<string[]> {
    return await this.#registries.use(
      { name: o.reference.name, actions: 'pull', credentials: o.credentials, signal: o.signal },
      fetchTags,
    );
  }

  async #pullFrom(
    client: RegistryClient,
    o: {
      path: string;
      tag: string;
      wanted: Platform;
      progress: TransferProgress;
      name: string;
      report: (line: ProgressLine) => void;
    },
  ): Promise<{ image: Image; digest: string }> {
    const top = await fetchManifest(client, o.path, o.tag);
    o.report({ status: `Pulling from ${o.path}`, id: o.tag });
    const manifest = await this.#choose(client, o.path, top, o.wanted, o.name);
    using lease = this.#blobs.lease();
    const { config, layers } = parseImageManifest(manifest, o.name);
    const configuration = await this.#configuration(client, o.path, config);
    const { rootfs } = parseDocument(ConfigurationShape, configuration, `configuration of ${o.name}`);
    if (rootfs.diff_ids.length !== layers.length)
      throw invalid(
        `${o.name}: its manifest has ${layers.length} layers, its configuration ${rootfs.diff_ids.length}`,
      );
    for (const { digest } of layers) o.progress.state(shortDigest(digest), 'Pulling fs layer');
    await boundedParallel(layers, PARALLEL_DOWNLOADS, (descriptor, index) =>
      this.#layer(client, {
        path: o.path,
        descriptor,
        diffId: rootfs.diff_ids[index] ?? '',
        lease,
        progress: o.progress,
      }),
    );
    const image = this.#images.add({ configuration, manifest: manifest.data });
    return { image, digest: top.digest };
  }

  async #choose(
    client: RegistryClient,
    path: string,
    top: FetchedManifest,
    wanted: Platform,
    name: string,
  ): Promise<FetchedManifest> {
    let current = top;
    for (let depth = 1; manifestKind(current.data, current.mediaType) === 'index'; depth++) {
      if (depth > DEEPEST_INDEX) throw invalid(`${name}: its index names indexes without end`);
      const index = parseDocument(ImageIndex, current.data, `index of ${name}`);
      const chosen = chooseManifest(index, wanted);
      if (chosen === undefined)
        throw notFound(
          `no matching manifest for ${formatPlatform(wanted)} in the manifest list entries of ${name}`,
          {
            hint: `It has: ${index.manifests.flatMap(({ platform }) => (platform && platform.os !== 'unknown' ? [formatPlatform(platform)] : [])).join(', ')}`,
          },
        );
      current = await fetchManifest(client, path, chosen.digest, chosen);
    }
    return current;
  }

  async #configuration(client: RegistryClient, path: string, config: Descriptor): Promise<Buffer> {
    const what = `configuration ${config.digest}`;
    if (config.size > LARGEST_CONFIGURATION) throw invalid(`${what} is too large: ${config.size} bytes`);
    if (isDigest(config.digest) && this.#blobs.has(config.digest)) return this.#blobs.document(config.digest);
    const { body } = await client.document({
      method: 'GET',
      path: `/v2/${path}/blobs/${config.digest}`,
      what,
    });
    if (body.length !== config.size)
      throw invalid(`${what} has ${body.length} bytes, its manifest says ${config.size}`);
    checkDigest(body, config.digest, what);
    return body;
  }

  /** One layer of a repository, unpacked here. */
  async fetchLayer(
    client: RegistryClient,
    o: { path: string; descriptor: Descriptor; diffId: string; lease: Lease },
  ): Promise<void> {
    await this.#layer(client, { ...o, progress: new TransferProgress(() => undefined) });
  }

  async #layer(
    client: RegistryClient,
    o: { path: string; descriptor: Descriptor; diffId: string; lease: Lease; progress: TransferProgress },
  ): Promise<void> {
    const { descriptor, diffId, lease, progress } = o;
    const { digest } = descriptor;
    const id = shortDigest(digest);
    if (!isDigest(digest)) throw invalid(`layer ${digest}: only sha256 is supported`);
    lease.keep(digest);
    lease.keep(diffId);
    if (this.#layers.has(diffId)) {
      progress.state(id, 'Already exists');
      return;
    }
    let unpacked = false;
    await this.#layers.once(diffId, async () => {
      unpacked = true;
      if (this.#blobs.has(digest)) {
        progress.state(id, 'Extracting');
        await this.#layers.unpack({
          source: { path: this.#blobs.path(digest), growth: completeFile() },
          lease,
          expectedDiffId: diffId,
          expectedDigest: digest,
        });
        return;
      }
      await this.#download(client, o);
    });
    progress.state(id, unpacked ? 'Pull complete' : 'Already exists');
  }

  async #download(
    client: RegistryClient,
    o: { path: string; descriptor: Descriptor; diffId: string; lease: Lease; progress: TransferProgress },
  ): Promise<void> {
    const { descriptor, diffId, lease, progress } = o;
    const { digest, size } = descriptor;
    const id = shortDigest(digest);
    const growth = new FileGrowth();
    const file = this.#downloads.path(digest);
    const fetching = this.#downloads.fetch(client, {
      path: o.path,
      descriptor,
      growth,
      progress: (bytes) => progress.part(id, 'Downloading', bytes, size),
    });
    const unpacking = this.#layers.unpack({
      source: { path: file, growth: growth.shared },
      lease,
      expectedDiffId: diffId,
      expectedDigest: digest,
    });
    unpacking.catch(() => growth.cancel());
    fetching.then(
      () => {
        progress.state(id, 'Verifying Checksum');
        progress.state(id, 'Download complete');
        progress.state(id, 'Extracting');
      },
      () => undefined,
    );
    const [fetched, extracted] = await Promise.allSettled([fetching, unpacking]);
    if (extracted.status === 'rejected' && fetched.status === 'fulfilled') {
      // All of it is there, and it is not what it should be: it would not be the next time either.
      this.#downloads.discard(digest);
    }
    if (fetched.status === 'rejected') {
      const reason: unknown =
        extracted.status === 'rejected' && isOwnFault(extracted.reason) ? extracted.reason : fetched.reason;
      if (isOwnFault(reason)) this.#downloads.discard(digest);
      throw reason;
    }
    if (extracted.status === 'rejected') throw extracted.reason;
    this.#blobs.adopt(file, digest);
  }
}

/** What is wrong with the content itself, as opposed to its way here. */
function isOwnFault(error: unknown): boolean {
  return error instanceof DroverError && error.kind === 'invalid';
}

/** The image manifest in what was fetched; other kinds of artifacts are refused by name. */
function parseImageManifest({ data, mediaType }: FetchedManifest, name: string): ImageManifest {
  if (/\.v1\+(json|prettyjws)$/.test(mediaType) && mediaType.includes('docker.distribution'))
    throw notImplemented(
      `${name} is in Docker's image manifest version 2 schema 1, which nobody writes any more; push it again with a newer client`,
    );
  const manifest = parseDocument(ImageManifest, data, `manifest of ${name}`);
  const type = manifest.config.mediaType ?? '';
  if (!/image\.(config\.)?v1\+json$/.test(type))
    throw invalid(`${name} is no image: its configuration is ${type === '' ? 'of no type' : type}`);
  if (manifest.layers.length > MOST_LAYERS)
    throw invalid(`${name} has ${manifest.layers.length} layers; more than ${MOST_LAYERS} cannot be mounted`);
  return manifest;
}

const MOST_TAG_PAGES = 1000;

async function fetchTags(client: RegistryClient, path: string): Promise<string[]> {
  const tags: string[] = [];
  let next: string | undefined = `/v2/${path}/tags/list`;
  for (let page = 0; next !== undefined && page < MOST_TAG_PAGES; page++) {
    const answer: { response: { headers: Record<string, unknown> }; body: Buffer } = await client.document({
      method: 'GET',
      path: next,
      what: `tags of ${path}`,
    });
    const parsed: { tags?: unknown } = JSON.parse(answer.body.toString());
    if (Array.isArray(parsed.tags)) tags.push(...parsed.tags.map(String));
    next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(String(answer.response.headers['link'] ?? ''))?.[1];
  }
  return tags;
}
