import type { NodeRole } from '#model/node.ts';

/** Who is at the other end, by its certificate. A node without one yet is only served {@link JOIN_METHOD}. */
export interface Peer {
  readonly nodeId: string;
  readonly role: NodeRole;
}

/** Messages both ways, each a JSON value of at most 16 MiB, in order, until one side ends. */
export interface Channel {
  /** Resolves when the other side's window takes more; rejects with `unavailable` when the channel is over. */
  send(message: unknown): Promise<void>;
  /** Ends without an error when the other side ended, throws `unavailable` when the connection broke. Read by one reader. */
  readonly messages: AsyncIterable<unknown>;
  /** Aborted when the channel is over, for whatever reason. */
  readonly closed: AbortSignal;
  close(): void;
}

/** Serves one channel; it is closed when the promise settles. A {@link DroverError} that it throws reaches the caller with its kind. */
export type ChannelHandler = (channel: Channel, peer: Peer | undefined) => Promise<void>;

/** How nodes talk: named methods, each call a channel. Mutual TLS between machines; memory in a simulation. */
export interface Transport {
  /** Opens a channel to `host:port`. `unavailable` when nobody answers in time, `forbidden` when the other side refuses. */
  open(address: string, method: string, signal: AbortSignal): Promise<Channel>;
  /** Serves `method` from now on. A method that is not served is refused with `not-found`. */
  serve(method: string, handler: ChannelHandler): void;
}

/** The one method that is served to who has no certificate: a token is given, a certificate got. */
export const JOIN_METHOD = 'join';
