import type { NodeRole } from '#model/node.ts';

/** Who is at the other end, by its certificate. A node without one yet is only served {@link JOIN_METHOD}. */
export interface Peer {
  readonly nodeId: string;
  readonly role: NodeRole;
}

/**
 * Messages both ways, in order, until one side ends: each a JSON value, or bytes (a Uint8Array, which arrives as one), of at most 16 MiB.
 */
export interface Channel {
  /** Who is at the other end; undefined for a node that has no certificate yet. */
  readonly peer?: Peer | undefined;
  /** The IP address that the other end is seen at, where there is one. */
  readonly remote?: string | undefined;
  /**
   * Resolves when the other side's window takes more; rejects with `unavailable` when the channel is over, and with `invalid` for what is
   * no JSON value or too large. Messages go in the order of the calls, whether awaited or not; with too many that wait the channel breaks.
   * Bytes are not to be changed afterwards.
   */
  send(message: unknown): Promise<void>;
  /**
   * Ends without an error when either side ended; throws `unavailable` when the connection broke, `cancelled` when the signal of `open`
   * aborted, and what the other side's handler threw. What arrived before is read first. Read by one reader.
   */
  readonly messages: AsyncIterable<unknown>;
  /** Aborted when the channel is over, for whatever reason: nothing can be sent any more. What has arrived can still be read. */
  readonly closed: AbortSignal;
  /** Ends it: what was sent before still arrives, what was not read is dropped. Who calls `open` always closes in the end. */
  close(): void;
}

/** Serves one channel; it is closed when the promise settles. A {@link DroverError} that it throws reaches the caller with its kind. */
export type ChannelHandler = (channel: Channel, peer: Peer | undefined) => Promise<void>;

/** How nodes talk: named methods, each call a channel. Mutual TLS between machines; memory in a simulation. */
export interface Transport {
  /**
   * Opens a channel to `host:port`. A manager has to be there, or else the node that `nodeId` names: nobody else of the cluster can stand in
   * for it. `unavailable` when nobody answers in time, `forbidden` when the other side refuses or is somebody else, `not-found` when it does
   * not serve the method, `cancelled` when `signal` aborts; which breaks the channel afterwards too.
   */
  open(address: string, method: string, signal: AbortSignal, nodeId?: string): Promise<Channel>;
  /** Serves `method` from now on. A method that is not served is refused with `not-found`. */
  serve(method: string, handler: ChannelHandler): void;
}

/**
 * Methods whose names begin so move much: they have connections of their own, so that nothing else waits behind what they have given to
 * the kernel to send.
 */
export const BULK_PREFIX = 'bulk/';

/** The one method that is served to who has no certificate: a token is given, a certificate got. */
export const JOIN_METHOD = 'join';
