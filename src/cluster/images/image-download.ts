import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { parseMessage } from '#cluster/ca/join-protocol.ts';
import { unlessAborted, within } from '#cluster/transport/deadline.ts';
import type { Channel } from '#cluster/transport/transport.ts';
import type { Clock } from '#control/clock.ts';
import { type BlobStore, digestOf, type Lease } from '#engine/blobs/blob-store.ts';
import {
  ConfigurationShape,
  type Descriptor,
  ImageManifest,
  parseDocument,
} from '#engine/images/image-documents.ts';
import { FileGrowth } from '#engine/layers/growing-file.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import { makeWorkDirectory } from '#engine/layers/layer-workers.ts';
import { writeAll } from '#engine/layers/write-all.ts';
import { cancelled, invalid, unavailable } from '#model/errors.ts';
import {
  ImageHeader,
  type ImageRequest,
  LAYER_WAIT_MS,
  LayerAnswer,
  type LayerHeader,
  type LayerRequest,
  STALL_MS,
} from './image-protocol.ts';

/** As many layers as overlayfs takes. */
const MOST_LAYERS = 500;

/** What of an image there is when its layers are: enough to make it one. */
export interface DownloadedImage {
  readonly configuration: Buffer;
  readonly manifest: Buffer;
  readonly repoDigests: readonly string[];
}

/** Thrown where a node has enough to do for now. */
export class NodeBusy extends Error {}

/** Reads an image over a channel to a node that has it, into the stores of this one; what is here already is not asked for. */
export class ImageDownload {
  readonly #channel: Channel;
  readonly #incoming: AsyncIterator<unknown>;
  readonly #layers: LayerStore;
  readonly #blobs: BlobStore;
  readonly #dataRoot: string;
  readonly #clock: Clock;
  readonly #lease: Lease;
  readonly #signal: AbortSignal;

  constructor(o: {
    channel: Channel;
    layers: LayerStore;
    dataRoot: string;
    clock: Clock;
    /** Keeps what has come until the image is one. */
    lease: Lease;
    signal: AbortSignal;
  }) {
    this.#channel = o.channel;
    this.#incoming = o.channel.messages[Symbol.asyncIterator]();
    this.#layers = o.layers;
    this.#blobs = o.layers.blobs;
    this.#dataRoot = o.dataRoot;
    this.#clock = o.clock;
    this.#lease = o.lease;
    this.#signal = o.signal;
  }

  /**
   * Resolves when every layer is here. {@link NodeBusy} where the node serves others, `invalid` for what does not have its digest,
   * `not-found` where the node does not have it, `unavailable` where it breaks off.
   */
  async run(image: string): Promise<DownloadedImage> {
    await this.#channel.send({ image } satisfies ImageRequest);
    const { repoDigests } = parseMessage(ImageHeader, await this.#next(STALL_MS), 'answer of a node');
    const manifest = await this.#bytes();
    const configuration = await this.#bytes();
    const id = digestOf(configuration);
    const { config, layers } = parseDocument(ImageManifest, manifest, `manifest of ${image}`);
    const { rootfs } = parseDocument(ConfigurationShape, configuration, `configuration of ${image}`);
    if (config.digest !== id || rootfs.diff_ids.length !== layers.length || layers.length > MOST_LAYERS)
      throw invalid(`the manifest of ${image} does not go with its configuration`);
    for (const digest of [id, digestOf(manifest)]) this.#lease.keep(digest);
    for (const [index, descriptor] of layers.entries())
      await this.#layer(rootfs.diff_ids[index] ?? '', descriptor);
    return { configuration, manifest, repoDigests };
  }

  async #layer(diffId: string, descriptor: Descriptor): Promise<void> {
    this.#lease.keep(diffId);
    this.#lease.keep(descriptor.digest);
    await this.#layers.once(diffId, () => this.#fetch(diffId, descriptor));
  }

  async #fetch(diffId: string, descriptor: Descriptor): Promise<void> {
    await this.#channel.send({ layer: diffId } satisfies LayerRequest);
    const header = parseMessage(LayerAnswer, await this.#next(LAYER_WAIT_MS), 'answer of a node');
    if (header.kind === 'busy') throw new NodeBusy();
    const isAsNamed = header.digest === descriptor.digest;
    if (isAsNamed && header.size !== descriptor.size)
      throw invalid(`layer ${header.digest} has ${descriptor.size} bytes, not ${header.size}`);
    // gone again whatever happens, but for what became a blob
    using work = makeWorkDirectory(this.#dataRoot);
    const file = join(work.path, 'layer');
    const growth = new FileGrowth();
    const fd = openSync(file, 'wx', 0o600);
    try {
      const unpacking = this.#layers.unpack({
        source: { path: file, growth: growth.shared },
        lease: this.#lease,
        expectedDiffId: diffId,
        expectedDigest: header.digest,
      });
      const stop = new AbortController();
      unpacking.catch((error: unknown) => stop.abort(error));
      const [received, unpacked] = await Promise.allSettled([
        this.#receive(header, fd, growth, stop.signal),
        unpacking,
      ]);
      // what is wrong with the content comes before that nobody took the rest of it
      if (stop.signal.aborted && received.status === 'rejected' && received.reason !== stop.signal.reason)
        throw received.reason;
      if (unpacked.status === 'rejected') throw unpacked.reason;
      if (received.status === 'rejected') throw received.reason;
    } finally {
      closeSync(fd);
    }
    if (isAsNamed) this.#blobs.adopt(file, header.digest);
  }

  async #receive(header: LayerHeader, fd: number, growth: FileGrowth, stop: AbortSignal): Promise<void> {
    try {
      for (let done = 0; done < header.size; ) {
        const bytes = await this.#bytes();
        stop.throwIfAborted();
        if (bytes.length === 0 || done + bytes.length > header.size)
          throw invalid(`layer ${header.digest}: the node sends something else than ${header.size} bytes`);
        done = writeAll(fd, bytes, done);
        growth.grown(done);
      }
      growth.complete();
    } catch (error) {
      growth.cancel();
      throw error;
    }
  }

  async #bytes(): Promise<Buffer> {
    const message = await this.#next(STALL_MS);
    if (message instanceof Uint8Array) return Buffer.from(message.buffer, message.byteOffset, message.length);
    throw invalid('a node sent something else than bytes');
  }

  async #next(limitMs: number): Promise<unknown> {
    const next = await within(this.#clock, limitMs, this.#signal, 'waiting for the node', (signal) =>
      unlessAborted(this.#incoming.next(), signal),
    );
    if (next.done !== true) return next.value;
    if (this.#signal.aborted) throw cancelled('reading the image was cancelled');
    throw unavailable('the node ended before all had come');
  }
}
