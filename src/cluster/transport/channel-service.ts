import { forbidden, kindOf, notFound } from '#model/errors.ts';
import { type Channel, type ChannelHandler, JOIN_METHOD, type Peer } from './transport.ts';

/** Hears of errors that the caller is not told: those of kind `internal`. */
export type Report = (error: unknown, where: string) => void;

/** The serving end of a channel. */
export interface ServedChannel extends Channel {
  /** Ends it with an error that the caller is told. */
  fail(error: unknown): void;
}

/**
 * The handler that `peer` may call. Throws `forbidden` for who has no certificate and wants something else than to join, `not-found` for a
 * method that is not served.
 */
export function handlerFor(
  methods: ReadonlyMap<string, ChannelHandler>,
  method: string,
  peer: Peer | undefined,
): ChannelHandler {
  if (peer === undefined && method !== JOIN_METHOD)
    throw forbidden('a certificate of this cluster is needed');
  const handler = methods.get(method);
  if (handler === undefined) throw notFound(`this node does not serve ${JSON.stringify(method)}`);
  return handler;
}

/** Runs a handler to its end, and ends the channel with it. Never rejects. */
export async function serveChannel(
  channel: ServedChannel,
  method: string,
  handler: ChannelHandler,
  report: Report,
): Promise<void> {
  try {
    await handler(channel, channel.peer);
    channel.close();
  } catch (error) {
    if (kindOf(error) === 'internal')
      report(error, `${method} of ${channel.peer?.nodeId ?? 'a node that joins'}`);
    channel.fail(error);
  }
}

/** Throws `forbidden` unless the node that was reached is the one that was meant: `nodeId`, or any manager. */
export function checkReached(address: string, peer: Peer | undefined, nodeId: string | undefined): void {
  const isMeant = nodeId === undefined ? peer?.role === 'manager' : peer?.nodeId === nodeId;
  if (isMeant) return;
  const reached = peer === undefined ? 'a node without a certificate' : `node ${peer.nodeId} (${peer.role})`;
  throw forbidden(`at ${address} is ${reached}, not ${nodeId ?? 'a manager'}`);
}
