import type { X509Certificate } from 'node:crypto';
import { caDigestOf } from '#cluster/ca/join-token.ts';
import { identityOf } from '#cluster/ca/node-identity.ts';
import { parseCertificates } from '#cluster/ca/pem.ts';
import type { Clock } from '#control/clock.ts';
import { forbidden, unavailable } from '#model/errors.ts';
import { within } from './deadline.ts';
import { Session } from './session.ts';
import { connectVerified, openStream, ROOTS_PATH, startSession } from './tls-connection.ts';
import { type Channel, JOIN_METHOD } from './transport.ts';
import { DEFAULT_LIMITS, type TransportLimits } from './transport-limits.ts';

export interface JoinOptions {
  /** `host:port` of a manager. */
  readonly address: string;
  /** The CA's digest, of the token. */
  readonly caDigest: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly limits?: Partial<TransportLimits>;
}

/**
 * A channel to a manager for who has a token and no certificate. The manager's certificate has to come from the CA that the digest names;
 * nothing else is believed, and nothing is sent before. `forbidden` when it does not, `unavailable` when nobody answers. The
 * connection closes with the channel.
 */
export async function openJoinChannel(options: JoinOptions): Promise<Channel> {
  const { address, caDigest, clock, signal } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const shown = await within(clock, limits.openTimeoutMs, signal, `asking ${address} for its CA`, (aborted) =>
    rootsAt(address, limits, aborted),
  );
  const root = parseCertificates(shown, `CA of ${address}`).find((one) => caDigestOf(one) === caDigest);
  if (root === undefined)
    throw forbidden(`the CA of ${address} is not the one of the join token`, {
      hint: 'check the address, and get a token that is valid now with `docker swarm join-token`',
    });
  const channel = await within(clock, limits.openTimeoutMs, signal, `joining at ${address}`, (aborted) =>
    openAt(address, root, limits, clock, aborted),
  );
  channel.endBy(signal);
  return channel;
}

/** The roots that a node shows to anybody. They are believed only by their digest. */
async function rootsAt(address: string, limits: TransportLimits, signal: AbortSignal): Promise<string> {
  const socket = await connectVerified(address, { roots: undefined }, signal);
  const session = startSession(socket, limits);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    const stream = session.request({ ':path': ROOTS_PATH });
    const chunks: Buffer[] = [];
    let size = 0;
    stream.on('error', (cause) => reject(unavailable(`${address} does not show its CA`, { cause })));
    stream.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limits.largestOfStranger) reject(forbidden(`${address} shows more than a CA`));
      else chunks.push(chunk);
    });
    stream.on('end', () => resolve(Buffer.concat(chunks).toString('latin1')));
    stream.on('close', () => reject(unavailable(`${address} does not show its CA`)));
    return await promise;
  } finally {
    signal.removeEventListener('abort', abort);
    session.destroy();
    socket.destroy();
  }
}

async function openAt(
  address: string,
  root: X509Certificate,
  limits: TransportLimits,
  clock: Clock,
  signal: AbortSignal,
): ReturnType<typeof openStream> {
  const socket = await connectVerified(address, { roots: root.toString() }, signal);
  const http = startSession(socket, limits);
  const session = new Session({ session: http, socket, admitted: undefined, pings: true }, limits);
  try {
    const shown = socket.getPeerX509Certificate();
    if (shown === undefined || identityOf(shown).role !== 'manager')
      throw forbidden(`at ${address} is no manager of the cluster`);
    const channel = await openStream(session, http, JOIN_METHOD, signal);
    session.retire();
    void watch(session, clock, limits);
    return channel;
  } catch (error) {
    session.destroy();
    throw error;
  }
}

/** Pings until the connection is closed. */
async function watch(session: Session, clock: Clock, limits: TransportLimits): Promise<void> {
  const over = new AbortController();
  session.http.once('close', () => over.abort());
  while (!session.http.destroyed) {
    try {
      await clock.sleep(limits.pingIntervalMs, over.signal);
    } catch (error) {
      if (over.signal.aborted) return;
      session.destroy();
      throw error;
    }
    session.tick();
  }
}
