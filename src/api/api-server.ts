import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { DroverError, kindOf, messageOf } from '#model/errors.ts';
import { endAfter } from '#registry/lingering-end.ts';
import { acceptBareConnections, BARE_UPGRADE, TAKEN_PATH } from './bare-connection.ts';
import { Call, type TakenConnection } from './call.ts';
import type { EngineParts } from './engine-parts.ts';
import { PRODUCT_VERSION } from './product.ts';
import { BodyTooLarge } from './request-body.ts';
import { Router } from './router.ts';
import { routes } from './routes.ts';
import { statusOf } from './status.ts';
import { LATEST_API_VERSION, parseVersion, splitVersion } from './version.ts';

/** Room for filters and labels in queries, and no more: larger heads are answered 431. */
const HEAD_LIMIT_BYTES = 64 * 1024;

/** Serves Docker's API over the engine. The caller listens, and closes. */
export function createApiServer(parts: EngineParts): Server {
  const router = new Router(routes);
  const server = createServer({
    maxHeaderSize: HEAD_LIMIT_BYTES,
    // bodies (docker load) and answers (events, attach) last as long as they last
    requestTimeout: 0,
    keepAliveTimeout: 0,
    shouldUpgradeCallback: takesConnection,
  });
  server.on('request', (request, response) => {
    serve({ router, parts, request, response, connection: undefined });
  });
  server.on('upgrade', (request, socket, head) => {
    // nothing to say to a client that is gone: 'close' follows and ends what was begun for it
    socket.on('error', () => socket.destroy());
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    // while the request's body is still to come, `socket` only stands for the real one: it can be read after the body
    response.assignSocket(request.socket);
    response.once('finish', () => socket.end());
    const style = request.headers.upgrade === BARE_UPGRADE ? 'bare' : 'upgrade';
    serve({ router, parts, request, response, connection: { socket, head, style } });
  });
  server.on('clientError', refuseUnreadable);
  acceptBareConnections(server);
  return server;
}

function takesConnection(request: IncomingMessage): boolean {
  return request.method === 'POST' && TAKEN_PATH.test(request.url ?? '');
}

interface Exchange {
  readonly router: Router;
  readonly parts: EngineParts;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly connection: TakenConnection | undefined;
}

function serve(exchange: Exchange): void {
  handle(exchange).catch((error: unknown) => fail(exchange, error));
}

async function handle({ router, parts, request, response, connection }: Exchange): Promise<void> {
  response.setHeader('Api-Version', LATEST_API_VERSION);
  response.setHeader('Docker-Experimental', 'false');
  response.setHeader('Ostype', 'linux');
  response.setHeader('Server', `Drover/${PRODUCT_VERSION} (linux)`);
  const url = request.url ?? '/';
  const mark = url.indexOf('?');
  const { version, path } = splitVersion(mark < 0 ? url : url.slice(0, mark));
  const match = router.find(request.method ?? '', path);
  if (match === undefined) throw new DroverError('not-found', 'page not found');
  const call = new Call({
    request,
    response,
    parts,
    query: new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)),
    version: parseVersion(version),
    params: match.params,
    connection,
  });
  await match.route.handler(call);
}

function fail({ parts, request, response, connection }: Exchange, error: unknown): void {
  const kind = kindOf(error);
  const what = { method: request.method, path: request.url };
  const left = connection?.socket.destroyed ?? response.destroyed;
  if (left || kind === 'cancelled') {
    parts.log.debug({ ...what, reason: messageOf(error) }, 'client left');
  }
  let message = messageOf(error);
  if (error instanceof DroverError && error.hint !== undefined) message = `${message}. ${error.hint}`;
  if (kind === 'internal' && !left) {
    const id = randomBytes(4).toString('hex');
    parts.log.error({ ...what, id, err: error }, 'request failed');
    message = `${message} (error ${id} in the daemon's log)`;
  }
  if (response.headersSent || response.socket === null) {
    // too late for a status: a connection that breaks off is the one thing the client cannot take for success
    (connection?.socket ?? response).destroy();
    return;
  }
  const status = error instanceof BodyTooLarge ? 413 : statusOf(kind);
  if (status === 304 || request.method === 'HEAD') {
    response.writeHead(status).end();
    return;
  }
  const body = `${JSON.stringify({ message })}\n`;
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
  });
  response.write(body);
  endAfter(request, response);
}

/** Answers what Node's parser could not make a request of. */
function refuseUnreadable(error: Error & { code?: string }, socket: unknown): void {
  if (!(socket instanceof Socket)) return;
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const tooLarge = error.code === 'HPE_HEADER_OVERFLOW';
  const status = tooLarge ? '431 Request Header Fields Too Large' : '400 Bad Request';
  const message = tooLarge
    ? `the request's head is larger than ${HEAD_LIMIT_BYTES} bytes`
    : `the request is not HTTP: ${error.message}`;
  const body = `${JSON.stringify({ message })}\n`;
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
