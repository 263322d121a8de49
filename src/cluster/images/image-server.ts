import { firstMessage, parseMessage } from '#cluster/ca/join-protocol.ts';
import { unlessAborted, within } from '#cluster/transport/deadline.ts';
import type { Channel, ChannelHandler } from '#cluster/transport/transport.ts';
import type { Clock } from '#control/clock.ts';
import type { Lease } from '#engine/blobs/blob-store.ts';
import { ImageManifest, parseDocument } from '#engine/images/image-documents.ts';
import type { ImageStore } from '#engine/images/image-store.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import { forbidden, notFound } from '#model/errors.ts';
import type { Image } from '#model/image.ts';
import {
  type Busy,
  CHUNK_BYTES,
  type ImageHeader,
  ImageRequest,
  type LayerHeader,
  LayerRequest,
  STALL_MS,
} from './image-protocol.ts';

/** Layers on their way to other nodes at once; who finds them all under way comes back, or finds another node. */
const MOST_TRANSFERS = 4;

/** What a node lets others of its cluster read: its images, and nothing else of its disk. */
export class ImageServer {
  readonly #images: ImageStore;
  readonly #layers: LayerStore;
  readonly #clock: Clock;
  readonly #report: (message: string, details: object) => void;
  #transfers = 0;

  constructor(o: {
    images: ImageStore;
    layers: LayerStore;
    clock: Clock;
    report: (message: string, details: object) => void;
  }) {
    this.#images = o.images;
    this.#layers = o.layers;
    this.#clock = o.clock;
    this.#report = o.report;
  }

  /** Serves the image method. `checkNode` throws for a node that may not read. */
  handler(checkNode: (nodeId: string, signal: AbortSignal) => Promise<void>): ChannelHandler {
    return async (channel, peer) => {
      if (peer === undefined) throw forbidden('only nodes of the cluster read images');
      await checkNode(peer.nodeId, channel.closed);
      await this.#serve(channel, peer.nodeId);
    };
  }

  async #serve(channel: Channel, nodeId: string): Promise<void> {
    const request = parseMessage(ImageRequest, await firstMessage(channel), 'question for an image');
    const image = this.#images.resolve(request.image);
    // what is being read stays, whatever is removed meanwhile
    using lease = this.#layers.blobs.lease();
    for (const digest of [image.id, image.manifestDigest, ...image.configuration.rootfs.diff_ids])
      lease.keep(digest);
    const { manifest, configuration } = this.#images.documents(image);
    const digests = parseDocument(ImageManifest, manifest, 'the manifest').layers.map(({ digest }) => digest);
    for (const digest of digests) lease.keep(digest);
    await channel.send({ repoDigests: image.repoDigests.slice(0, 1000) } satisfies ImageHeader);
    await channel.send(manifest);
    await channel.send(configuration);
    const served = { layers: 0, bytes: 0 };
    let isSentAway = false;
    try {
      for await (const message of channel.messages) {
        const { layer } = parseMessage(LayerRequest, message, 'question for a layer');
        const index = image.configuration.rootfs.diff_ids.indexOf(layer);
        if (index < 0) throw notFound(`image ${image.id} has no layer ${layer}`);
        if (this.#transfers >= MOST_TRANSFERS) {
          isSentAway = true;
          await channel.send({ kind: 'busy' } satisfies Busy);
          continue;
        }
        this.#transfers++;
        try {
          const archive = await this.#archive(image, { diffId: layer, digest: digests[index] }, lease);
          await this.#send(channel, archive, served);
        } finally {
          this.#transfers--;
        }
        served.layers++;
      }
    } finally {
      // who is sent away comes back and again, which is no news
      if (served.bytes > 0 || !isSentAway)
        this.#report('a node read an image', {
          ...{ image: request.image, id: image.id, node: nodeId },
          ...served,
        });
    }
  }

  async #send(
    channel: Channel,
    { digest, size }: { digest: string; size: number },
    served: { bytes: number },
  ): Promise<void> {
    await channel.send({ kind: 'layer', digest, size } satisfies LayerHeader);
    for await (const chunk of this.#layers.blobs.read(digest)) {
      const bytes: Buffer = chunk;
      for (let start = 0; start < bytes.length; start += CHUNK_BYTES) {
        const part = bytes.subarray(start, start + CHUNK_BYTES);
        const what = `sending layer ${digest}`;
        await within(this.#clock, STALL_MS, channel.closed, what, (signal) =>
          unlessAborted(channel.send(part), signal),
        );
        served.bytes += part.length;
      }
    }
  }

  /** A blob that unpacks to the layer: as the image's manifest names it, or else as there is one. */
  async #archive(
    image: Image,
    layer: { diffId: string; digest: string | undefined },
    lease: Lease,
  ): Promise<{ digest: string; size: number }> {
    const { blobs } = this.#layers;
    const { diffId } = layer;
    for (const digest of [layer.digest, diffId]) {
      const size = digest === undefined ? undefined : blobs.size(digest);
      if (digest !== undefined && size !== undefined) return { digest, size };
    }
    const archived =
      (await this.#layers.archive(diffId, { compress: false, lease })) ??
      (await this.#layers.archive(diffId, { compress: true, lease })) ??
      this.#archiveOfAnother(diffId, lease);
    if (archived === undefined)
      throw notFound(`layer ${diffId} of image ${image.id} is not kept as an archive`);
    return archived;
  }

  /** Another image may have come with the same layer in another archive. */
  #archiveOfAnother(diffId: string, lease: Lease): { digest: string; size: number } | undefined {
    for (const image of this.#images.list()) {
      const index = image.configuration.rootfs.diff_ids.indexOf(diffId);
      if (index < 0) continue;
      const { manifest } = this.#images.documents(image);
      const { digest } = parseDocument(ImageManifest, manifest, 'the manifest').layers[index] ?? {};
      const size = digest === undefined ? undefined : this.#layers.blobs.size(digest);
      if (digest === undefined || size === undefined) continue;
      lease.keep(digest);
      return { digest, size };
    }
    return undefined;
  }
}
