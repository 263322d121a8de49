import type { FetchOutcome } from '#cluster/agent/image-supply.ts';
import type { ManagerAccess } from '#cluster/transport/manager-question.ts';
import type { Clock } from '#control/clock.ts';
import type { Random } from '#control/random.ts';
import { digestOf, type Lease } from '#engine/blobs/blob-store.ts';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { ImageStore } from '#engine/images/image-store.ts';
import { type ImageReference, parseReference } from '#engine/images/reference.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import { cancelled, invalid, messageOf } from '#model/errors.ts';
import { type DownloadedImage, ImageDownload, NodeBusy } from './image-download.ts';
import { askHolders, type ImageHolder, MOST_TRIED } from './image-holders.ts';
import { IMAGE_METHOD } from './image-protocol.ts';
import { ImageServer } from './image-server.ts';

/** What a node has only just got is not known to the managers yet: they are asked so many times, with so long between. */
const ASKED = 4;
const ASK_AGAIN_MS = 700;
/** Before nodes that all have enough to do are asked again; meanwhile others may have come to have the image. */
const BUSY_MS = 500;

/** A node's place in a cluster, as far as images need it. */
export interface ClusterAccess extends ManagerAccess {
  /** Throws `forbidden` for a node that is not of the cluster any more. */
  checkNode(nodeId: string, signal: AbortSignal): Promise<void>;
}

/** Images between the nodes of a cluster: this one's are there to be read by the others, and theirs are fetched. */
export class ImageExchange {
  readonly #o: ExchangeParts;
  readonly #server: ImageServer;
  #cluster: ClusterAccess | undefined;

  constructor(o: ExchangeParts) {
    this.#o = o;
    this.#server = new ImageServer(o);
  }

  /** Serves, and fetches, until it is disposed of. */
  join(cluster: ClusterAccess): Disposable {
    this.#cluster = cluster;
    cluster.transport.serve(
      IMAGE_METHOD,
      this.#server.handler((nodeId, signal) => cluster.checkNode(nodeId, signal)),
    );
    return {
      [Symbol.dispose]: () => {
        if (this.#cluster === cluster) this.#cluster = undefined;
      },
    };
  }

  /**
   * Brings an image (a name, an ID, a name with a digest) from a node that has it, one after the other; says who was asked where none gave
   * it. Nothing of it is half there afterwards; layers that came whole are not fetched again. `cancelled` when `signal` aborts.
   */
  async fetch(image: string, signal: AbortSignal): Promise<FetchOutcome> {
    const cluster = this.#cluster;
    if (cluster === undefined) return { fetched: false, because: 'this node is in no cluster' };
    const failures = new Map<string, string>();
    // layers that came from a node that broke off stay for the next one
    using lease = this.#o.layers.blobs.lease();
    for (let asked = 1; failures.size < MOST_TRIED; asked++) {
      let holders: readonly ImageHolder[];
      try {
        holders = await askHolders(cluster, { image, except: [...failures.keys()] }, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        return { fetched: false, because: [...failures.values(), messageOf(error)].join('; ') };
      }
      if (holders.length === 0) {
        if (asked >= ASKED || failures.size > 0) break;
        await this.#o.clock.sleep(ASK_AGAIN_MS, signal);
        continue;
      }
      const isFetched = await this.#fetchFromOne({ cluster, image, holders, lease, failures, signal });
      if (isFetched) return { fetched: true };
      const areBusy = holders.some(({ nodeId }) => !failures.has(nodeId));
      if (areBusy) await this.#o.clock.sleep(BUSY_MS + this.#o.random.below(BUSY_MS), signal);
    }
    const because = failures.size === 0 ? 'no other node has it' : [...failures.values()].join('; ');
    return { fetched: false, because };
  }

  /** True as soon as one gave it; those that failed are in `failures`, those that are busy are not. */
  async #fetchFromOne(o: {
    cluster: ClusterAccess;
    image: string;
    holders: readonly ImageHolder[];
    lease: Lease;
    failures: Map<string, string>;
    signal: AbortSignal;
  }): Promise<boolean> {
    for (const holder of o.holders) {
      try {
        const channel = await o.cluster.transport.open(holder.address, IMAGE_METHOD, o.signal, holder.nodeId);
        try {
          const download = new ImageDownload({ ...this.#o, channel, lease: o.lease, signal: o.signal });
          this.#add(o.image, await download.run(o.image));
        } finally {
          channel.close();
        }
        this.#o.report('an image came from another node', { image: o.image, node: holder.nodeId });
        return true;
      } catch (error) {
        if (o.signal.aborted) throw cancelled(`fetching ${o.image} was cancelled`, { cause: error });
        if (error instanceof NodeBusy) continue;
        o.failures.set(holder.nodeId, `node ${holder.hostname}: ${messageOf(error)}`);
      }
    }
    return false;
  }

  /** Makes it an image, and gives it its name; one that means another image here keeps meaning that. */
  #add(asked: string, { configuration, manifest, repoDigests }: DownloadedImage): void {
    const { images, events } = this.#o;
    const id = digestOf(configuration);
    if (/^sha256:[0-9a-f]{64}$/.test(asked)) {
      if (asked !== id) throw invalid(`${asked} was asked for, and ${id} came`);
      images.add({ configuration, manifest });
      events.publish('image', 'pull', id, { name: id });
      return;
    }
    const reference = parseReference(asked);
    const isRepositorys = checkPinned(reference, { id, manifest, repoDigests });
    images.add({ configuration, manifest });
    if (isRepositorys) images.pointDigest(reference, reference.digest ?? '', id);
    const { digest, ...named } = reference;
    const isNamed = digest === undefined || named.tag !== undefined;
    if (isNamed && images.named(named) === undefined) images.point(named, id);
    events.publish('image', 'pull', asked, { name: reference.familiar });
  }
}

/** What an exchange is made of. */
export interface ExchangeParts {
  readonly images: ImageStore;
  readonly layers: LayerStore;
  readonly events: EventBus;
  readonly dataRoot: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly report: (message: string, details: object) => void;
}

/** Throws `invalid` where what came is not what a digest says; true where that is a repository's, and not the image's ID. */
function checkPinned(
  { digest, familiar }: ImageReference,
  came: { id: string; manifest: Buffer; repoDigests: readonly string[] },
): boolean {
  if (digest === undefined || digest === came.id) return false;
  // a digest of an index says which image it is only to who has seen the index: the other node has
  if (digest === digestOf(came.manifest) || came.repoDigests.includes(`${familiar}@${digest}`)) return true;
  throw invalid(`${familiar}@${digest} was asked for, and ${came.id} came`);
}
