import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** The value of the Upgrade header put into requests that came without one. */
export const BARE_UPGRADE = 'drover-bare';

/** Paths whose connection the client takes over. */
export const TAKEN_PATH: RegExp =
  /^(?:\/v[0-9.]+)?\/(?:containers\/[^/?]+\/attach|exec\/[^/?]+\/start|session|grpc)(?:\?|$)/;

const LIMIT_BYTES = 16 * 1024;

/**
 * Lets clients of old take over their connection without asking for an upgrade: they POST to attach or exec start and
 * go on with raw bytes. Node's parser would read those as a next request, so such a request (the first of its
 * connection, with no chunked body) gets the headers of an upgrade before the parser sees it.
 */
export function acceptBareConnections(server: Server): void {
  const accept = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    let received: Buffer = Buffer.alloc(0);
    const pass = (bytes: Buffer): void => {
      socket.removeListener('data', look).removeListener('end', end).removeListener('error', ignore);
      socket.pause();
      if (bytes.length > 0) socket.unshift(bytes);
      for (const listener of accept) listener.call(server, socket);
      socket.resume();
    };
    const look = (chunk: Buffer): void => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const rewritten = withUpgrade(received);
      if (rewritten !== undefined) pass(rewritten);
    };
    const end = (): void => {
      socket.destroy();
    };
    // a reset before the first request concerns nobody
    const ignore = (): void => end();
    socket.on('data', look).on('end', end).on('error', ignore);
  });
}

/** The bytes to hand to the parser, or undefined while it cannot be told yet. */
export function withUpgrade(received: Buffer): Buffer | undefined {
  const start = received.toString('latin1', 0, 5);
  if (!'POST '.startsWith(start)) return received;
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return received.length > LIMIT_BYTES ? received : undefined;
  const head = received.toString('latin1', 0, end);
  const [requestLine = '', ...headers] = head.split('\r\n');
  const path = requestLine.split(' ')[1] ?? '';
  if (!TAKEN_PATH.test(path)) return received;
  if (headers.some((header) => /^(?:upgrade|transfer-encoding)\s*:/i.test(header))) return received;
  const kept = headers.filter((header) => !/^connection\s*:/i.test(header));
  const rewritten = [requestLine, ...kept, 'Connection: Upgrade', `Upgrade: ${BARE_UPGRADE}`].join('\r\n');
  return Buffer.concat([Buffer.from(rewritten, 'latin1'), received.subarray(end)]);
}
