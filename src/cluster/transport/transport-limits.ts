import { LARGEST_MESSAGE } from './message-lines.ts';

/** How long things may take and how much one peer may hold. */
export interface TransportLimits {
  /** Milliseconds between two looks at every connection: a ping goes out, and what was heard is noticed. 2,000. */
  readonly pingIntervalMs: number;
  /** Looks in a row at which nothing was heard before a connection is dead. 3. */
  readonly missedPings: number;
  /** Milliseconds to connect, and again for the answer to a call. 5,000. */
  readonly openTimeoutMs: number;
  /** Connections of one node; the oldest goes when there are more. 8. */
  readonly sessionsOfPeer: number;
  /** Channels at once on one connection. 256. */
  readonly channelsOfSession: number;
  /** Bytes that wait for their readers here, over all channels of one peer. 64 MiB. */
  readonly bytesOfPeer: number;
  /** Connections without a usable certificate: in all, and from one IP address. 128 and 16. */
  readonly strangers: number;
  readonly strangersOfAddress: number;
  /** Looks after which a connection without a certificate is closed. 15. */
  readonly strangerTicks: number;
  /** Largest message of who has no certificate, in bytes. 64 KiB. */
  readonly largestOfStranger: number;
  /** Looks after which a connection that we opened and that has no channel is closed. 30. */
  readonly idleTicks: number;
}

export const DEFAULT_LIMITS: TransportLimits = {
  pingIntervalMs: 2000,
  missedPings: 3,
  openTimeoutMs: 5000,
  sessionsOfPeer: 8,
  channelsOfSession: 256,
  bytesOfPeer: 4 * LARGEST_MESSAGE,
  strangers: 128,
  strangersOfAddress: 16,
  strangerTicks: 15,
  largestOfStranger: 64 * 1024,
  idleTicks: 30,
};
