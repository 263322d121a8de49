import type { BlobStore, Lease } from '#engine/blobs/blob-store.ts';
import { digestOf } from '#engine/blobs/blob-store.ts';
import type { EventBus } from '#engine/events/event-bus.ts';
import {
  type Descriptor,
  ImageManifest,
  OCI_LAYER,
  OCI_LAYER_GZIP,
  OCI_MANIFEST,
  parseDocument,
} from '#engine/images/image-documents.ts';
import type { ImageStore } from '#engine/images/image-store.ts';
import { type ImageReference, parseReference } from '#engine/images/reference.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import { internal, notFound } from '#model/errors.ts';
import type { Image, ProgressLine } from '#model/image.ts';
import { inTotoStatement, pushAttestation } from './attestation-push.ts';
import { uploadBlob } from './blob-upload.ts';
import { boundedParallel } from './bounded-parallel.ts';
import type { RegistryCredentials } from './credentials.ts';
import { putManifest } from './manifest-transfer.ts';
import { type Registries, splitName } from './registries.ts';
import type { RegistryClient } from './registry-client.ts';
import { shortDigest, TransferProgress } from './transfer-progress.ts';

/** Docker's --max-concurrent-uploads. */
const PARALLEL_UPLOADS = 5;

export interface PushRequest {
  reference: ImageReference;
  /** Every tag of the repository, instead of the reference's own. */
  allTags: boolean;
  credentials: RegistryCredentials;
  report: (line: ProgressLine) => void;
  signal: AbortSignal;
}

/** Pushes images: what the registry has is not sent, what it has in another repository is mounted. */
export class ImagePusher {
  readonly #images: ImageStore;
  readonly #layers: LayerStore;
  readonly #blobs: BlobStore;
  readonly #events: EventBus;
  readonly #registries: Registries;

  constructor(o: { images: ImageStore; layers: LayerStore; events: EventBus; registries: Registries }) {
    this.#images = o.images;
    this.#layers = o.layers;
    this.#blobs = o.layers.blobs;
    this.#events = o.events;
    this.#registries = o.registries;
  }

  /** `docker push`. Progress is in Docker's words. */
  async push(request: PushRequest): Promise<void> {
    const { reference } = request;
    const targets = request.allTags ? this.#allTags(reference) : [reference];
    const progress = new TransferProgress(request.report);
    progress.say(`The push refers to repository [${reference.name}]`);
    for (const target of targets) await this.#pushOne(target, request, progress);
  }

  #allTags(reference: ImageReference): ImageReference[] {
    const found = this.#images
      .list()
      .flatMap((image) => image.repoTags.map(parseReference))
      .filter(({ name }) => name === reference.name);
    if (found.length === 0)
      throw notFound(`An image does not exist locally with the tag: ${reference.familiar}`);
    return found;
  }

  async #pushOne(target: ImageReference, request: PushRequest, progress: TransferProgress): Promise<void> {
    const tag = target.tag ?? 'latest';
    const name = `${target.familiar}:${tag}`;
    let image: Image;
    try {
      image = this.#images.resolve(name);
    } catch (cause) {
      throw notFound(`An image does not exist locally with the tag: ${target.familiar}`, { cause });
    }
    using lease = this.#blobs.lease();
    const prepared = await this.#prepare(image, lease, progress);
    await this.#registries.use(
      {
        name: target.name,
        actions: 'pull,push',
        credentials: request.credentials,
        signal: request.signal,
      },
      async (client, path) => {
        await this.#upload(client, path, prepared, progress);
        await putManifest(client, path, tag, { data: prepared.manifest, mediaType: prepared.mediaType });
        await this.#pushAttestations(client, path, image, prepared);
      },
    );
    const digest = digestOf(prepared.manifest);
    this.#images.pointDigest(target, digest, image.id);
    this.#events.publish('image', 'push', name, { name: target.familiar });
    progress.say(`${tag}: digest: ${digest} size: ${prepared.manifest.length}`);
    progress.aux({ Tag: tag, Digest: digest, Size: prepared.manifest.length });
  }

  /** The manifest as it goes out, with every blob of it in the store: layers made here are compressed for it, once. */
  async #prepare(image: Image, lease: Lease, progress: TransferProgress): Promise<PreparedImage> {
    const { manifest, configuration } = this.#images.documents(image);
    const parsed = parseDocument(ImageManifest, manifest, `manifest of ${image.id}`);
    const layers: Descriptor[] = [];
    for (const [index, descriptor] of parsed.layers.entries()) {
      lease.keep(descriptor.digest);
      const diffId = image.configuration.rootfs.diff_ids[index] ?? '';
      layers.push(await this.#descriptor(descriptor, diffId, lease, progress));
    }
    const isSame = layers.every(({ digest }, index) => digest === parsed.layers[index]?.digest);
    if (isSame) return { manifest, mediaType: parsed.mediaType ?? OCI_MANIFEST, configuration, layers };
    const changed = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: OCI_MANIFEST,
        config: parsed.config,
        layers,
        ...(parsed.annotations ? { annotations: parsed.annotations } : {}),
      }),
    );
    // From now on the image is known by what it is in the registry.
    this.#images.add({ configuration, manifest: changed });
    return { manifest: changed, mediaType: OCI_MANIFEST, configuration, layers };
  }

  async #descriptor(
    descriptor: Descriptor,
    diffId: string,
    lease: Lease,
    progress: TransferProgress,
  ): Promise<Descriptor> {
    const isPlain = descriptor.digest === diffId;
    if (!isPlain && this.#blobs.has(descriptor.digest)) return descriptor;
    progress.state(shortDigest(diffId), 'Preparing');
    const made = await this.#layers.archive(diffId, { compress: true, lease });
    if (made === undefined)
      throw internal(`layer ${diffId} is not in the store any more; pull the image again`);
    if (made.digest === descriptor.digest) return descriptor;
    return {
      mediaType:
        descriptor.mediaType === OCI_LAYER || isPlain
          ? OCI_LAYER_GZIP
          : (descriptor.mediaType ?? OCI_LAYER_GZIP),
      digest: made.digest,
      size: made.size,
    };
  }

  async #pushAttestations(
    client: RegistryClient,
    path: string,
    image: Image,
    { manifest, mediaType }: PreparedImage,
  ): Promise<void> {
    const subject = { mediaType, digest: digestOf(manifest), size: manifest.length };
    for (const attestation of image.attestations ?? []) {
      const { predicateType } = attestation;
      const predicate = this.#images.predicate(attestation);
      const statement = inTotoStatement({ name: path, digest: subject.digest, predicateType, predicate });
      await pushAttestation(client, path, { statement, predicateType, subject });
    }
  }

  async #upload(
    client: RegistryClient,
    path: string,
    prepared: PreparedImage,
    progress: TransferProgress,
  ): Promise<void> {
    const { config } = parseDocument(ImageManifest, prepared.manifest, 'the manifest');
    const others = this.#otherRepositories(client.endpoint.host, path);
    const unique = [...new Map(prepared.layers.map((layer) => [layer.digest, layer])).values()];
    await boundedParallel([...unique, config], PARALLEL_UPLOADS, async ({ digest, size }) => {
      const id = shortDigest(digest);
      const done = await uploadBlob(client, {
        path,
        digest,
        size,
        read: (start) => this.#blobs.read(digest, { start }),
        mountFrom: others.get(digest),
        progress: (bytes) => progress.part(id, 'Pushing', bytes, size),
      });
      if (digest === config.digest) return;
      progress.state(
        id,
        done === 'there' ? 'Layer already exists' : done === 'mounted' ? 'Mounted' : 'Pushed',
      );
    });
  }

  /** Repositories of the same registry that have a blob, as far as the images here tell. */
  #otherRepositories(host: string, path: string): Map<string, string> {
    const found = new Map<string, string>();
    for (const image of this.#images.list()) {
      for (const each of image.repoDigests) {
        const other = splitName(parseReference(each).name);
        if (other.host !== host || other.path === path) continue;
        const { manifest } = this.#images.documents(image);
        for (const { digest } of parseDocument(ImageManifest, manifest, image.id).layers)
          found.set(digest, other.path);
      }
    }
    return found;
  }
}

interface PreparedImage {
  manifest: Buffer;
  mediaType: string;
  configuration: Buffer;
  layers: Descriptor[];
}
