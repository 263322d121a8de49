import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pino } from 'pino';
import { ImageExchange } from '#cluster/images/image-exchange.ts';
import { HOLDERS_METHOD, holdersHandler } from '#cluster/images/image-holders.ts';
import { NodeStanding, STANDING_METHOD, standingHandler } from '#cluster/images/node-standing.ts';
import { MemoryNetwork } from '#cluster/transport/memory-network.ts';
import type { MemoryTransport } from '#cluster/transport/memory-transport.ts';
import type { Channel, ChannelHandler } from '#cluster/transport/transport.ts';
import { systemClock } from '#control/clock.ts';
import { systemRandom } from '#control/random.ts';
import { BlobStore } from '#engine/blobs/blob-store.ts';
import { EventBus } from '#engine/events/event-bus.ts';
import { ImageArchives } from '#engine/images/image-archives.ts';
import { ImageStore } from '#engine/images/image-store.ts';
import { LayerStore } from '#engine/layers/layer-store.ts';
import { LayerWorkers } from '#engine/layers/layer-workers.ts';
import { RecordStore } from '#engine/records/record-store.ts';
import type { Image } from '#model/image.ts';
import type { NodeRecord } from '#model/node.ts';

/** Nodes with real stores of images, and one manager that knows what each has, on a network in memory. */
export class ImageCluster implements Disposable {
  readonly network: MemoryNetwork;
  readonly nodes: Map<string, ImageNode> = new Map();
  readonly removed: Set<string> = new Set();
  readonly #parts = new DisposableStack();

  constructor() {
    this.network = new MemoryNetwork({
      clock: systemClock,
      random: systemRandom,
      report: () => undefined,
      delayMs: { least: 0, most: 1 },
    });
    const manager = this.network.node('manager:1', { nodeId: 'manager', role: 'manager' });
    manager.serve(
      HOLDERS_METHOD,
      // the first of a list is asked first
      holdersHandler(() => [...this.nodes.values()].map((node) => node.record()), { below: () => 0 }),
    );
    manager.serve(
      STANDING_METHOD,
      standingHandler((nodeId) => this.nodes.has(nodeId) && !this.removed.has(nodeId)),
    );
  }

  node(name: string): ImageNode {
    const transport = this.network.node(`${name}:1`, { nodeId: name, role: 'worker' });
    const node = this.#parts.use(new ImageNode(name, transport));
    this.nodes.set(name, node);
    return node;
  }

  [Symbol.dispose](): void {
    this.#parts.dispose();
  }
}

export class ImageNode implements Disposable {
  readonly name: string;
  readonly images: ImageStore;
  readonly layers: LayerStore;
  readonly exchange: ImageExchange;
  /** What was served, as it is logged. */
  readonly served: { image: string; layers: number; bytes: number; node: string }[] = [];
  /** How often somebody was told to come back. */
  sentAway = 0;
  /** Called for each message of bytes that is sent from here; may put others in their place. */
  onBytes: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes;
  readonly #archives: ImageArchives;
  readonly #dataRoot: string;
  readonly #parts = new DisposableStack();

  constructor(name: string, transport: MemoryTransport) {
    this.name = name;
    this.#dataRoot = mkdtempSync(join(tmpdir(), 'drover-images-'));
    this.#parts.defer(() => rmSync(this.#dataRoot, { recursive: true }));
    const dataRoot = this.#dataRoot;
    const records = this.#parts.use(new RecordStore(join(dataRoot, 'drover.db')));
    const events = new EventBus();
    const workers = this.#parts.use(new LayerWorkers());
    const log = pino({ enabled: false });
    this.layers = new LayerStore({ dataRoot, records, blobs: new BlobStore(dataRoot), workers, log });
    this.images = new ImageStore({ records, layers: this.layers, events });
    this.#archives = new ImageArchives({ dataRoot, images: this.images, layers: this.layers, events });
    this.exchange = new ImageExchange({
      ...{ images: this.images, layers: this.layers, events, dataRoot },
      ...{ clock: systemClock, random: systemRandom },
      report: (message, details) => {
        if (message === 'a node read an image') this.served.push(details as (typeof this.served)[number]);
      },
    });
    const access = { transport, managers: () => ['manager:1'] };
    const standing = new NodeStanding(access, systemClock);
    this.exchange.join({
      managers: access.managers,
      checkNode: (nodeId, signal) => standing.check(nodeId, signal),
      transport: {
        open: (...asked) => transport.open(...asked),
        serve: (method, handler) => transport.serve(method, this.#watched(handler)),
      },
    });
  }

  #watched(handler: ChannelHandler): ChannelHandler {
    return (channel, peer) => {
      const send = async (message: unknown): Promise<void> => {
        if (JSON.stringify(message) === '{"kind":"busy"}') this.sentAway++;
        await channel.send(message instanceof Uint8Array ? this.onBytes(message) : message);
      };
      const { remote, messages, closed } = channel;
      const watched: Channel = { peer, remote, messages, closed, send, close: () => channel.close() };
      return handler(watched, peer);
    };
  }

  /** An image of one layer that holds a file of so many bytes by chance. */
  async make(reference: string, bytes: number): Promise<Image> {
    return await this.import(reference, archiveOf(randomBytes(bytes)));
  }

  async import(reference: string, archive: Buffer): Promise<Image> {
    return await this.#archives.import({
      archive: Readable.from([archive]),
      ...{ reference, message: '', changes: [] },
    });
  }

  /** Names of what lies in its data root, but for what a data root always has. */
  content(): string[] {
    mkdirSync(join(this.#dataRoot, 'trash'), { recursive: true });
    return ['tmp', 'layers', 'blobs/sha256', 'trash'].flatMap((folder) =>
      readdirSync(join(this.#dataRoot, folder)).map((name) => `${folder}/${name}`),
    );
  }

  record(): NodeRecord {
    const names = this.images
      .list()
      .flatMap(({ id, repoTags, repoDigests }) => [id, ...repoTags, ...repoDigests]);
    return {
      ...{ ID: this.name, CreatedAt: '', UpdatedAt: '', address: `${this.name}:1` },
      Spec: { Role: 'worker', Availability: 'active', Labels: {} },
      Status: { State: 'ready', since: '', Addr: '' },
      Description: {
        Hostname: `host-${this.name}`,
        Platform: { Architecture: 'x86_64', OS: 'linux' },
        Resources: { NanoCPUs: 1, MemoryBytes: 1 },
        Engine: { EngineVersion: '', Labels: {}, Plugins: [] },
        images: names,
      },
    };
  }

  [Symbol.dispose](): void {
    this.#parts.dispose();
  }
}

const BLOCK = 512;

/** A tar archive of one file. */
export function archiveOf(content: Buffer): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, length: number): string => `${value.toString(8).padStart(length - 1, '0')}\0`;
  header.write('content', 0);
  header.write(octal(0o644, 8) + octal(0, 8) + octal(0, 8) + octal(content.length, 12) + octal(0, 12), 100);
  header.write('        0', 148);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const padding = Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK);
  return Buffer.concat([header, content, padding, Buffer.alloc(2 * BLOCK)]);
}
