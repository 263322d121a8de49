import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import { isIP } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { forbidden, messageOf, unavailable } from '#model/errors.ts';
import { parseAddress } from './address.ts';
import { LineReader } from './message-lines.ts';
import { type Session, sessionOptions } from './session.ts';
import type { StreamChannel } from './stream-channel.ts';
import type { TransportLimits } from './transport-limits.ts';
import { fromWire } from './wire-error.ts';

/** How a connection proves who it is, and whom it believes. */
export interface ConnectionTrust {
  readonly key?: string;
  readonly cert?: string;
  /** PEM; undefined for a connection that believes anybody, on which nothing is said. */
  readonly roots: string | undefined;
}

/** Where the root certificates (PEM) are to be had without being known: GET. */
export const ROOTS_PATH = '/root-certificates';

const LARGEST_REFUSAL = 64 * 1024;

/**
 * A TLS connection whose certificate was verified, whoever's of the cluster it is. `unavailable` when there is none, `forbidden` when the
 * certificate does not lead to the roots.
 */
export async function connectVerified(
  address: string,
  trust: ConnectionTrust,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const { host, port } = parseAddress(address);
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  signal.throwIfAborted();
  const socket = connectTls({
    host,
    port,
    ...(isIP(host) === 0 && { servername: host }),
    ...(trust.key !== undefined && { key: trust.key }),
    ...(trust.cert !== undefined && { cert: trust.cert }),
    ...(trust.roots !== undefined && { ca: trust.roots }),
    rejectUnauthorized: trust.roots !== undefined,
    // who it is, is in the subject; addresses of nodes change
    checkServerIdentity: () => undefined,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
  });
  const abort = (): void => {
    socket.destroy();
    reject(signal.reason);
  };
  signal.addEventListener('abort', abort, { once: true });
  socket.once('secureConnect', () => {
    socket.setNoDelay(true);
    if (socket.alpnProtocol === 'h2') resolve(socket);
    else reject(unavailable(`${address} does not speak HTTP/2`));
  });
  // stays on: a socket whose session has gone may still report
  socket.on('error', (cause) => {
    const why = socket.authorizationError;
    if (why)
      reject(forbidden(`the certificate of ${address} is not of this cluster: ${String(why)}`, { cause }));
    else reject(unavailable(`cannot connect to ${address}: ${messageOf(cause)}`, { cause }));
  });
  socket.once('close', () => reject(unavailable(`${address} closed the connection`)));
  try {
    return await promise;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** HTTP/2 on a connection. Its errors are those of its streams; it is looked at when it is closed. */
export function startSession(socket: TLSSocket, limits: TransportLimits): ClientHttp2Session {
  const session = connectHttp2('https://node', { ...sessionOptions(limits), createConnection: () => socket });
  session.on('error', () => socket.destroy());
  return session;
}

/** Calls a method. Rejects with what the other side refuses with, `unavailable` when it breaks, the signal's reason when that aborts. */
export function openStream(
  session: Session,
  http: ClientHttp2Session,
  method: string,
  signal: AbortSignal,
): Promise<StreamChannel> {
  const { promise, resolve, reject } = Promise.withResolvers<StreamChannel>();
  signal.throwIfAborted();
  if (session.isOver) throw unavailable('the connection is gone');
  const stream = requestOf(http, method);
  const broke = (error?: Error): void =>
    reject(unavailable(`the connection broke${error === undefined ? '' : `: ${error.message}`}`));
  const abort = (): void => {
    stream.close();
    reject(signal.reason);
  };
  signal.addEventListener('abort', abort, { once: true });
  stream.on('error', broke);
  stream.once('close', () => {
    signal.removeEventListener('abort', abort);
    broke();
  });
  stream.once('response', (headers) => {
    signal.removeEventListener('abort', abort);
    if (headers[':status'] === 200) {
      resolve(session.channel(stream, { serves: false }));
      return;
    }
    const refusal = new LineReader(LARGEST_REFUSAL);
    stream.on('data', (chunk: Buffer) => {
      try {
        for (const { message } of refusal.read(chunk)) reject(fromWire(message));
      } catch (error) {
        reject(error);
        stream.close();
      }
    });
    stream.end();
  });
  return promise;
}

function requestOf(http: ClientHttp2Session, method: string): ClientHttp2Stream {
  try {
    return http.request({ ':method': 'POST', ':path': `/${method}` }, { endStream: false });
  } catch (cause) {
    throw unavailable(`the connection takes no more calls: ${messageOf(cause)}`, { cause });
  }
}
