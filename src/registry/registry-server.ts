import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { DroverError, internal, messageOf } from '#model/errors.ts';
import { blobRoutes } from './blob-routes.ts';
import { endAfter } from './lingering-end.ts';
import { listingRoutes } from './listing-routes.ts';
import { manifestRoutes } from './manifest-routes.ts';
import { pageRoutes } from './page-routes.ts';
import { ANONYMOUS, type Identity } from './registry-access.ts';
import { sendJson } from './registry-answer.ts';
import { challenge } from './registry-challenge.ts';
import { checkedName } from './registry-content.ts';
import { problemOf, RegistryProblem } from './registry-problem.ts';
import type { Exchange, RegistryParts, RegistryRoute } from './registry-route.ts';
import { uploadRoutes } from './upload-routes.ts';

const HEAD_LIMIT_BYTES = 64 * 1024;

const ROUTES: readonly RegistryRoute[] = [
  { name: 'base', method: 'GET', pattern: /^\/v2\/?$/, handler: checkVersion },
  { name: 'token', method: 'GET', pattern: /^\/token$/, handler: issueToken },
  { name: 'metrics', method: 'GET', pattern: /^\/metrics$/, handler: sendMetrics },
  ...listingRoutes,
  ...manifestRoutes,
  ...uploadRoutes,
  ...blobRoutes,
  ...pageRoutes,
];

type MatchedRoute = Pick<RegistryRoute, 'name' | 'action' | 'handler'> & { url: URL; groups: string[] };

/** The registry over HTTP: the OCI distribution specification, Docker's tokens and search, metrics, and pages for people. */
export function createRegistryServer(
  parts: RegistryParts,
  tls: { cert: Buffer; key: Buffer } | undefined,
): Server {
  const listener = (request: IncomingMessage, response: ServerResponse): void =>
    serve(parts, request, response);
  const options = { maxHeaderSize: HEAD_LIMIT_BYTES, requestTimeout: 0, keepAliveTimeout: 30_000 };
  return tls === undefined
    ? createHttpServer(options, listener)
    : createHttpsServer({ ...options, ...tls, minVersion: 'TLSv1.2' }, listener);
}

function serve(parts: RegistryParts, request: IncomingMessage, response: ServerResponse): void {
  const started = performance.now();
  const route = matchRoute(request);
  response.once('close', () =>
    parts.metrics.answered({
      method: request.method ?? '',
      route: route?.name ?? 'none',
      status: response.statusCode,
      seconds: (performance.now() - started) / 1000,
    }),
  );
  response.setHeader('Docker-Distribution-Api-Version', 'registry/2.0');
  response.setHeader('X-Content-Type-Options', 'nosniff');
  answer({ parts, request, response }, route).catch((error: unknown) =>
    fail({ parts, request, response }, error),
  );
}

function matchRoute({ method, url: target = '/' }: IncomingMessage): MatchedRoute | undefined {
  const url = URL.parse(target, 'http://registry');
  if (url === null) return undefined;
  const wanted = method === 'HEAD' ? 'GET' : method;
  let isKnown = false;
  for (const route of ROUTES) {
    const found = route.pattern.exec(url.pathname);
    if (found === null) continue;
    isKnown = true;
    if (route.method === wanted) return { ...route, url, groups: found.slice(1) };
  }
  return isKnown ? { name: 'none', handler: refuseMethod, url, groups: [] } : undefined;
}

function refuseMethod(): never {
  throw new RegistryProblem('UNSUPPORTED', 'the operation is unsupported');
}

async function answer(o: Omit<Exchange, 'url' | 'identity'>, route: MatchedRoute | undefined): Promise<void> {
  if (route === undefined) throw new RegistryProblem('NAME_UNKNOWN', 'page not found');
  const { parts, request } = o;
  const { action, url, groups } = route;
  const [repository] = groups;
  const scope =
    action === undefined || repository === undefined
      ? undefined
      : `repository:${repository}:${action === 'push' ? 'pull,push' : action}`;
  let identity: Identity;
  try {
    identity = await parts.access.identify(request.headers.authorization);
  } catch (error) {
    challenge(parts.access, o, scope, 'invalid_token');
    throw error;
  }
  if (action !== undefined && repository !== undefined) {
    checkedName(repository);
    if (!identity.allows(repository, action)) {
      if (request.headers.authorization === undefined || identity.user === ANONYMOUS) {
        challenge(parts.access, o, scope);
        throw new RegistryProblem('UNAUTHORIZED', 'authentication required');
      }
      challenge(parts.access, o, scope, 'insufficient_scope');
      throw new RegistryProblem('DENIED', `requested access to ${repository} is denied`);
    }
    if (parts.proxy !== undefined && action !== 'pull')
      throw new RegistryProblem('UNSUPPORTED', 'this registry stands in for another one: push there');
  }
  await route.handler({ ...o, url, identity }, ...groups);
}

function fail(
  { parts, request, response }: Pick<Exchange, 'parts' | 'request' | 'response'>,
  error: unknown,
): void {
  const known = error instanceof DroverError ? error : internal('the registry failed', { cause: error });
  if (response.headersSent || response.destroyed) {
    parts.log.debug({ path: request.url, reason: messageOf(error) }, 'registry: answer broken off');
    response.destroy();
    return;
  }
  const { status, code } = problemOf(known);
  if (status >= 500) parts.log.error({ path: request.url, err: error }, 'registry: request failed');
  const hint = known.hint === undefined ? {} : { detail: known.hint };
  const body = `${JSON.stringify({ errors: [{ code, message: known.message, ...hint }] })}\n`;
  if (!request.complete) response.setHeader('Connection', 'close');
  for (const name of ['Content-Range', 'Accept-Ranges']) response.removeHeader(name);
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
  });
  if (request.method !== 'HEAD') response.write(body);
  endAfter(request, response);
}

function checkVersion(exchange: Exchange): void {
  const { parts, request, response, identity } = exchange;
  // `docker login` asks here: whoever is nobody yet is told how to become somebody.
  const needsLogin = identity.user === ANONYMOUS && !identity.allows('', 'pull');
  if (needsLogin && request.headers.authorization === undefined) {
    challenge(parts.access, exchange, undefined);
    throw new RegistryProblem('UNAUTHORIZED', 'authentication required');
  }
  sendJson(response, 200, {});
}

async function issueToken({ parts, request, response, url }: Exchange): Promise<void> {
  const scopes = url.searchParams.getAll('scope').flatMap((scope) => scope.split(' '));
  const { authorization } = request.headers;
  sendJson(response, 200, await parts.access.issueToken({ authorization, scopes }));
}

async function sendMetrics({ parts, response }: Exchange): Promise<void> {
  const text = await parts.metrics.text();
  response.writeHead(200, { 'Content-Type': parts.metrics.contentType }).end(text);
}
