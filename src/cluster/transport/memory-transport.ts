import { forbidden, unavailable } from '#model/errors.ts';
import { checkReached, handlerFor, serveChannel } from './channel-service.ts';
import { unlessAborted, within } from './deadline.ts';
import type { MemoryChannel } from './memory-channel.ts';
import type { MemoryConnection } from './memory-connection.ts';
import type { MemoryNetwork } from './memory-network.ts';
import { type IsAllowed, roleNow } from './peer-admission.ts';
import type { Channel, ChannelHandler, Peer, Transport } from './transport.ts';
import { fromWire, toWire } from './wire-error.ts';

interface Call {
  readonly address: string;
  readonly method: string;
  readonly nodeId: string | undefined;
  readonly opened: PromiseWithResolvers<MemoryChannel>;
}

/** A node's transport in a {@link MemoryNetwork}. */
export class MemoryTransport implements Transport {
  readonly address: string;
  readonly #network: MemoryNetwork;
  #peer: Peer | undefined;
  readonly #isAllowed: IsAllowed;
  readonly #methods = new Map<string, ChannelHandler>();
  #isCrashed = false;

  constructor(network: MemoryNetwork, address: string, peer: Peer | undefined, isAllowed: IsAllowed) {
    this.address = address;
    this.#network = network;
    this.#peer = peer;
    this.#isAllowed = isAllowed;
  }

  serve(method: string, handler: ChannelHandler): void {
    this.#methods.set(method, handler);
  }

  async open(address: string, method: string, signal: AbortSignal, nodeId?: string): Promise<Channel> {
    this.#checkAlive();
    const { clock, openTimeoutMs } = this.#network;
    const connection = this.#network.connect(this.address, address);
    const opened = Promise.withResolvers<MemoryChannel>();
    connection.tellServer(() => this.#arrive(connection, { address, method, nodeId, opened }));
    try {
      const what = `calling ${method} at ${address}`;
      const channel = await within(clock, openTimeoutMs, signal, what, (aborted) =>
        unlessAborted(opened.promise, aborted),
      );
      this.#checkAlive();
      channel.endBy(signal);
      return channel;
    } catch (error) {
      connection.break();
      throw error;
    }
  }

  /** From now on it has a certificate that says this. Channels that are open stay as they are. */
  become(peer: Peer): void {
    this.#peer = peer;
  }

  /** Its process is gone: it opens nothing and serves nothing any more. @package */
  crash(): void {
    this.#isCrashed = true;
    this.#methods.clear();
  }

  #checkAlive(): void {
    if (this.#isCrashed) throw unavailable(`the node at ${this.address} has crashed`);
  }

  /** At the server: it takes the call, or says why not. */
  #arrive(connection: MemoryConnection, { address, method, nodeId, opened }: Call): void {
    const server = this.#network.nodeAt(address);
    if (server === undefined) {
      connection.tellClient(() => opened.reject(unavailable(`cannot connect to ${address}: refused`)));
      return;
    }
    try {
      const reached = this.#admit(server.#peer);
      checkReached(address, reached, nodeId);
      const caller = server.#admit(this.#peer);
      const handler = handlerFor(server.#methods, method, caller);
      const ends = connection.accept(caller, reached);
      connection.tellClient(() => opened.resolve(ends.client));
      void serveChannel(ends.server, method, handler, this.#network.report);
    } catch (error) {
      connection.tellClient(() => opened.reject(fromWire(toWire(error))));
    }
  }

  /** Who `peer` is to this node now. */
  #admit(peer: Peer | undefined): Peer | undefined {
    if (peer === undefined) return undefined;
    const role = roleNow(peer, this.#isAllowed);
    if (role === undefined) throw forbidden(`node ${peer.nodeId} is not of this cluster any more`);
    return { nodeId: peer.nodeId, role };
  }
}
