import { timingSafeEqual } from 'node:crypto';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import { digestOf } from '#engine/blobs/blob-store.ts';
import {
  ImageIndex,
  ImageManifest,
  manifestKind,
  OCI_INDEX,
  parseDocument,
} from '#engine/images/image-documents.ts';
import { DroverError, internal, messageOf } from '#model/errors.ts';
import { sendFilePart } from './file-response.ts';
import { endAfter } from './lingering-end.ts';
import { OWN_REGISTRY_HEADER } from './registries.ts';
import { type Identity, type RegistryAccess, secretDigest } from './registry-access.ts';
import type { RegistryAction } from './registry-configuration.ts';
import {
  checkedDigest,
  checkedName,
  LARGEST_MANIFEST,
  type RegistryContent,
  type UploadState,
} from './registry-content.ts';
import type { RegistryMetrics } from './registry-metrics.ts';
import { kindName, manifestPage, repositoriesPage, repositoryPage } from './registry-page.ts';
import { problemOf, RegistryProblem } from './registry-problem.ts';
import type { RegistryProxy } from './registry-proxy.ts';
import type { RegistryEvent, WebhookSender } from './webhook-sender.ts';

const HEAD_LIMIT_BYTES = 64 * 1024;
const PAGE_SIZE = 100;
const MOST_IN_PAGE = 1000;
const MOST_TAGS_AT_ONCE = 50;

export interface RegistryParts {
  content: RegistryContent;
  access: RegistryAccess;
  hooks: WebhookSender;
  metrics: RegistryMetrics;
  proxy: RegistryProxy | undefined;
  /** What the daemon itself shows to have whatever is in the shared storage. */
  ownSecret: string;
  log: Logger;
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  url: URL;
  identity: Identity;
}

interface RegistryRoute {
  name: string;
  method: string;
  pattern: RegExp;
  /** What the caller has to be allowed, of the repository that the pattern's first group names. */
  action?: RegistryAction;
  handler: (exchange: Exchange, ...groups: string[]) => Promise<void> | void;
}

/** The registry over HTTP: the OCI distribution specification, Docker's tokens and search, metrics, and pages for people. */
export function createRegistryServer(
  parts: RegistryParts,
  tls: { cert: Buffer; key: Buffer } | undefined,
): Server {
  const routes = new RegistryHttp(parts);
  const listener = (request: IncomingMessage, response: ServerResponse): void =>
    routes.serve(request, response);
  const options = { maxHeaderSize: HEAD_LIMIT_BYTES, requestTimeout: 0, keepAliveTimeout: 30_000 };
  return tls === undefined
    ? createHttpServer(options, listener)
    : createHttpsServer({ ...options, ...tls, minVersion: 'TLSv1.2' }, listener);
}

class RegistryHttp {
  readonly #parts: RegistryParts;
  readonly #content: RegistryContent;
  readonly #routes: readonly RegistryRoute[];

  constructor(parts: RegistryParts) {
    this.#parts = parts;
    this.#content = parts.content;
    this.#routes = this.#table();
  }

  serve(request: IncomingMessage, response: ServerResponse): void {
    const started = performance.now();
    const url = new URL(request.url ?? '/', 'http://registry');
    const matched = this.#match(request.method ?? '', url.pathname);
    response.once('close', () =>
      this.#parts.metrics.answered({
        method: request.method ?? '',
        route: matched?.route.name ?? 'none',
        status: response.statusCode,
        seconds: (performance.now() - started) / 1000,
      }),
    );
    response.setHeader('Docker-Distribution-Api-Version', 'registry/2.0');
    response.setHeader('X-Content-Type-Options', 'nosniff');
    this.#handle(request, response, url, matched).catch((error: unknown) =>
      this.#fail(request, response, error),
    );
  }

  #match(method: string, path: string): { route: RegistryRoute; groups: string[] } | undefined {
    const wanted = method === 'HEAD' ? 'GET' : method;
    let isKnown = false;
    for (const route of this.#routes) {
      const found = route.pattern.exec(path);
      if (found === null) continue;
      isKnown = true;
      if (route.method === wanted) return { route, groups: found.slice(1) };
    }
    return isKnown ? { route: NOT_ALLOWED, groups: [] } : undefined;
  }

  async #handle(
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    matched: { route: RegistryRoute; groups: string[] } | undefined,
  ): Promise<void> {
    if (matched === undefined) throw new RegistryProblem('NAME_UNKNOWN', 'page not found');
    const { route, groups } = matched;
    const [repository] = groups;
    const scope =
      route.action === undefined || repository === undefined
        ? undefined
        : `repository:${repository}:${route.action === 'push' ? 'pull,push' : route.action}`;
    let identity: Identity;
    try {
      identity = await this.#parts.access.identify(request.headers.authorization);
    } catch (error) {
      this.#challenge(request, response, scope, 'invalid_token');
      throw error;
    }
    if (route.action !== undefined && repository !== undefined) {
      checkedName(repository);
      if (!identity.allows(repository, route.action)) {
        if (request.headers.authorization === undefined || identity.user === 'anonymous') {
          this.#challenge(request, response, scope);
          throw new RegistryProblem('UNAUTHORIZED', 'authentication required');
        }
        this.#challenge(request, response, scope, 'insufficient_scope');
        throw new RegistryProblem('DENIED', `requested access to ${repository} is denied`);
      }
      if (this.#parts.proxy !== undefined && route.action !== 'pull')
        throw new RegistryProblem('UNSUPPORTED', 'this registry stands in for another one: push there');
    }
    await route.handler({ request, response, url, identity }, ...groups);
  }

  #challenge(
    request: IncomingMessage,
    response: ServerResponse,
    scope: string | undefined,
    error?: string,
  ): void {
    const origin = originOf(request);
    response.setHeader(
      'WWW-Authenticate',
      this.#parts.access.challenge({ origin, scope, ...(error === undefined ? {} : { error }) }),
    );
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const known = error instanceof DroverError ? error : internal('the registry failed', { cause: error });
    if (response.headersSent || response.destroyed) {
      this.#parts.log.debug({ path: request.url, reason: messageOf(error) }, 'registry: answer broken off');
      response.destroy();
      return;
    }
    const { status, code } = problemOf(known);
    if (status >= 500) this.#parts.log.error({ path: request.url, err: error }, 'registry: request failed');
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

  #table(): RegistryRoute[] {
    const name = '([^?#]+)';
    const route = (
      label: string,
      method: string,
      path: string,
      action: RegistryAction | undefined,
      handler: RegistryRoute['handler'],
    ): RegistryRoute => ({
      name: label,
      method,
      pattern: new RegExp(`^${path}$`),
      ...(action === undefined ? {} : { action }),
      handler,
    });
    return [
      route('base', 'GET', '/v2/?', undefined, (exchange) => this.#base(exchange)),
      route('catalog', 'GET', '/v2/_catalog', undefined, (exchange) => this.#catalog(exchange)),
      route('token', 'GET', '/token', undefined, (exchange) => this.#token(exchange)),
      route('search', 'GET', '/v1/search', undefined, (exchange) => this.#search(exchange)),
      route('metrics', 'GET', '/metrics', undefined, (exchange) => this.#metrics(exchange)),
      route('tags', 'GET', `/v2/${name}/tags/list`, 'pull', (exchange, repository = '') =>
        this.#tags(exchange, repository),
      ),
      route(
        'referrers',
        'GET',
        `/v2/${name}/referrers/([^/]+)`,
        'pull',
        (exchange, repository = '', digest = '') => this.#referrers(exchange, repository, digest),
      ),
      route(
        'manifest',
        'GET',
        `/v2/${name}/manifests/([^/]+)`,
        'pull',
        (exchange, repository = '', reference = '') => this.#getManifest(exchange, repository, reference),
      ),
      route(
        'manifest',
        'PUT',
        `/v2/${name}/manifests/([^/]+)`,
        'push',
        (exchange, repository = '', reference = '') => this.#putManifest(exchange, repository, reference),
      ),
      route(
        'manifest',
        'DELETE',
        `/v2/${name}/manifests/([^/]+)`,
        'delete',
        (exchange, repository = '', reference = '') => this.#deleteManifest(exchange, repository, reference),
      ),
      route('uploads', 'POST', `/v2/${name}/blobs/uploads/?`, 'push', (exchange, repository = '') =>
        this.#beginUpload(exchange, repository),
      ),
      route(
        'upload',
        'GET',
        `/v2/${name}/blobs/uploads/([^/]+)`,
        'push',
        async (exchange, repository = '', id = '') =>
          this.#answerUpload(exchange, repository, await this.#content.uploadState(repository, id), 204),
      ),
      route(
        'upload',
        'PATCH',
        `/v2/${name}/blobs/uploads/([^/]+)`,
        'push',
        (exchange, repository = '', id = '') => this.#appendUpload(exchange, repository, id),
      ),
      route(
        'upload',
        'PUT',
        `/v2/${name}/blobs/uploads/([^/]+)`,
        'push',
        (exchange, repository = '', id = '') => this.#finishUpload(exchange, repository, id),
      ),
      route(
        'upload',
        'DELETE',
        `/v2/${name}/blobs/uploads/([^/]+)`,
        'push',
        ({ response }, repository = '', id = '') => {
          this.#content.cancelUpload(repository, id);
          response.writeHead(204).end();
        },
      ),
      route('blob', 'GET', `/v2/${name}/blobs/([^/]+)`, 'pull', (exchange, repository = '', digest = '') =>
        this.#getBlob(exchange, repository, digest),
      ),
      route(
        'blob',
        'DELETE',
        `/v2/${name}/blobs/([^/]+)`,
        'delete',
        ({ response }, repository = '', digest = '') => {
          this.#content.deleteBlob(repository, digest);
          response.writeHead(202, { 'Content-Length': 0 }).end();
        },
      ),
      route('page', 'GET', '/', undefined, (exchange) => this.#repositoriesPage(exchange)),
      route('page', 'GET', '/r/([^:]+)', 'pull', (exchange, repository = '') =>
        this.#repositoryPage(exchange, repository),
      ),
      route('page', 'GET', '/r/([^:]+):([^/]+)', 'pull', (exchange, repository = '', tag = '') =>
        this.#manifestPage(exchange, repository, decodeURIComponent(tag)),
      ),
    ];
  }

  #base({ request, response, identity }: Exchange): void {
    // `docker login` asks here: whoever is nobody yet is told how to become somebody.
    const needsLogin = identity.user === 'anonymous' && !identity.allows('', 'pull');
    if (needsLogin && request.headers.authorization === undefined) {
      this.#challenge(request, response, undefined);
      throw new RegistryProblem('UNAUTHORIZED', 'authentication required');
    }
    json(response, 200, {});
  }

  #catalog({ request, response, url, identity }: Exchange): void {
    if (identity.user === 'anonymous' && !identity.allows('**', 'pull')) {
      this.#challenge(request, response, 'registry:catalog:*');
      throw new RegistryProblem('UNAUTHORIZED', 'authentication required');
    }
    const limit = pageSize(url);
    const after = url.searchParams.get('last') ?? '';
    const names = this.#content.catalogue
      .repositories({ after })
      .filter((name) => identity.allows(name, 'pull'));
    const shown = names.slice(0, limit);
    if (names.length > limit && limit > 0) linkNext(response, '/v2/_catalog', limit, shown.at(-1) ?? '');
    json(response, 200, { repositories: shown });
  }

  async #token({ request, response, url }: Exchange): Promise<void> {
    const scopes = url.searchParams.getAll('scope').flatMap((scope) => scope.split(' '));
    const { authorization } = request.headers;
    json(response, 200, await this.#parts.access.issueToken({ authorization, scopes }));
  }

  #search({ response, url, identity }: Exchange): void {
    const term = url.searchParams.get('q') ?? '';
    const limit = Math.min(pageSize(url), PAGE_SIZE);
    const found = this.#content.catalogue
      .repositories()
      .filter((name) => name.includes(term) && identity.allows(name, 'pull'))
      .slice(0, limit);
    const results = found.map((name) => ({
      name,
      description: '',
      star_count: 0,
      is_official: false,
      is_automated: false,
    }));
    json(response, 200, { query: term, num_results: results.length, results });
  }

  async #metrics({ response }: Exchange): Promise<void> {
    const { metrics } = this.#parts;
    const text = await metrics.text();
    response.writeHead(200, { 'Content-Type': metrics.contentType }).end(text);
  }

  #tags({ response, url }: Exchange, repository: string): void {
    this.#content.checkRepository(repository);
    const { catalogue } = this.#content;
    const isPaged = url.searchParams.has('n');
    const limit = isPaged ? pageSize(url) : Number.MAX_SAFE_INTEGER;
    const after = url.searchParams.get('last') ?? '';
    const tags = catalogue
      .tags(repository, { after, limit: isPaged ? limit + 1 : -1 })
      .map((tag) => tag.name);
    const shown = tags.slice(0, limit);
    if (tags.length > limit && limit > 0)
      linkNext(response, `/v2/${repository}/tags/list`, limit, shown.at(-1) ?? '');
    json(response, 200, { name: repository, tags: shown });
  }

  #referrers({ response, url }: Exchange, repository: string, digest: string): void {
    checkedDigest(digest);
    const wanted = url.searchParams.get('artifactType');
    const manifests = this.#content.catalogue
      .referrers(repository, digest)
      .filter((each) => wanted === null || each.artifactType === wanted)
      .map((each) => ({
        mediaType: each.mediaType,
        digest: each.digest,
        size: each.size,
        ...(each.artifactType === undefined ? {} : { artifactType: each.artifactType }),
        ...(Object.keys(each.annotations).length === 0 ? {} : { annotations: each.annotations }),
      }));
    if (wanted !== null) response.setHeader('OCI-Filters-Applied', 'artifactType');
    json(response, 200, { schemaVersion: 2, mediaType: OCI_INDEX, manifests }, OCI_INDEX);
  }

  async #getManifest(exchange: Exchange, repository: string, reference: string): Promise<void> {
    const { request, response, identity } = exchange;
    await this.#parts.proxy?.bringManifest(repository, reference);
    const manifest = this.#content.manifest(repository, reference);
    const { digest, mediaType, size } = manifest;
    const headers = {
      'Content-Type': mediaType,
      'Content-Length': size,
      'Docker-Content-Digest': digest,
      ETag: `"${digest}"`,
    };
    if (isUnchanged(request, digest)) {
      response.writeHead(304, { ETag: `"${digest}"` }).end();
      return;
    }
    if (request.method === 'HEAD') {
      response.writeHead(200, headers).end();
      return;
    }
    const stream = await this.#content.storage.read(digest);
    response.writeHead(200, headers);
    await pipeline(stream, response);
    this.#publish('pull', repository, manifest, reference, identity);
  }

  async #putManifest(exchange: Exchange, repository: string, reference: string): Promise<void> {
    const { request, response, url, identity } = exchange;
    const tags = url.searchParams.getAll('tag');
    if (tags.length > MOST_TAGS_AT_ONCE)
      throw new RegistryProblem('MANIFEST_INVALID', `more than ${MOST_TAGS_AT_ONCE} tags at once`);
    const data = await readLimited(request, LARGEST_MANIFEST);
    const digest = digestOf(data);
    const mediaType = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim() ?? '';
    const manifest = await this.#content.putManifest(repository, {
      data,
      mediaType,
      reference,
      tags,
      digest,
    });
    for (const tag of tags) response.appendHeader('OCI-Tag', tag);
    response.writeHead(201, {
      Location: `/v2/${repository}/manifests/${digest}`,
      'Docker-Content-Digest': digest,
      'Content-Length': 0,
      ...(manifest.subject === undefined ? {} : { 'OCI-Subject': manifest.subject }),
    });
    response.end();
    this.#publish('push', repository, manifest, reference, identity);
  }

  #deleteManifest({ response, identity }: Exchange, repository: string, reference: string): void {
    const manifest = this.#content.manifest(repository, reference);
    this.#content.deleteManifest(repository, reference);
    response.writeHead(202, { 'Content-Length': 0 }).end();
    this.#publish('delete', repository, manifest, reference, identity);
  }

  async #beginUpload(exchange: Exchange, repository: string): Promise<void> {
    const { request, response, url, identity } = exchange;
    const mounted = url.searchParams.get('mount');
    if (mounted !== null) {
      const done = await this.#content.mount(repository, mounted, {
        from: url.searchParams.get('from') ?? undefined,
        canRead: (other) => identity.allows(other, 'pull'),
        shared: this.#isOwn(request),
      });
      if (done) {
        request.resume();
        this.#answerBlob(response, repository, mounted);
        return;
      }
    }
    const upload = this.#content.beginUpload(repository);
    const digest = url.searchParams.get('digest');
    if (digest === null) {
      request.resume();
      this.#answerUpload(exchange, repository, upload, 202);
      return;
    }
    try {
      await this.#append(exchange, repository, upload.id);
      await this.#content.finishUpload(repository, upload.id, digest);
    } catch (error) {
      // Sent in one piece, it is not gone on with.
      if (this.#content.catalogue.uploadRepository(upload.id) !== undefined)
        this.#content.cancelUpload(repository, upload.id);
      throw error;
    }
    this.#answerBlob(response, repository, digest);
  }

  async #appendUpload(exchange: Exchange, repository: string, id: string): Promise<void> {
    const upload = await this.#append(exchange, repository, id);
    this.#answerUpload(exchange, repository, upload, 202);
  }

  async #finishUpload(exchange: Exchange, repository: string, id: string): Promise<void> {
    const digest = exchange.url.searchParams.get('digest');
    if (digest === null) throw new RegistryProblem('DIGEST_INVALID', 'digest is missing');
    await this.#append(exchange, repository, id);
    await this.#content.finishUpload(repository, id, digest);
    this.#answerBlob(exchange.response, repository, digest);
  }

  async #append({ request }: Exchange, repository: string, id: string): Promise<UploadState> {
    const range = /^(?:bytes[ =])?(\d+)-(\d+)/.exec(request.headers['content-range'] ?? '');
    const length = request.headers['content-length'];
    const upload = await this.#content.append(repository, id, {
      source: request,
      start: range === null ? undefined : Number(range[1]),
      length: length === undefined ? undefined : Number(length),
    });
    this.#parts.metrics.transferred('in', Number(length ?? 0));
    return upload;
  }

  #answerUpload({ response }: Exchange, repository: string, upload: UploadState, status: number): void {
    response.writeHead(status, {
      Location: `/v2/${repository}/blobs/uploads/${upload.id}`,
      Range: `0-${Math.max(0, upload.size - 1)}`,
      'Docker-Upload-UUID': upload.id,
      ...(status === 204 ? {} : { 'Content-Length': 0 }),
    });
    response.end();
  }

  #answerBlob(response: ServerResponse, repository: string, digest: string): void {
    response.writeHead(201, {
      Location: `/v2/${repository}/blobs/${digest}`,
      'Docker-Content-Digest': digest,
      'Content-Length': 0,
    });
    response.end();
  }

  async #getBlob({ request, response }: Exchange, repository: string, digest: string): Promise<void> {
    checkedDigest(digest);
    const coming = await this.#parts.proxy?.openBlob(repository, digest);
    const size = coming?.size ?? (await this.#content.blobSize(repository, digest));
    const common = {
      'Content-Type': 'application/octet-stream',
      'Docker-Content-Digest': digest,
      'Accept-Ranges': 'bytes',
      'Cache-Control': 'max-age=31536000',
      ETag: `"${digest}"`,
    };
    if (isUnchanged(request, digest)) {
      response.writeHead(304, { ETag: `"${digest}"` }).end();
      return;
    }
    const range = coming === undefined ? requestedRange(request.headers.range, size) : undefined;
    const length = range === undefined ? size : range.end - range.start + 1;
    const headers = {
      ...common,
      'Content-Length': length,
      ...(range === undefined ? {} : { 'Content-Range': `bytes ${range.start}-${range.end}/${size}` }),
    };
    if (request.method === 'HEAD') {
      response.writeHead(200, { ...common, 'Content-Length': size }).end();
      return;
    }
    const file = coming === undefined ? this.#content.storage.file(digest) : undefined;
    const status = range === undefined ? 200 : 206;
    if (file !== undefined) {
      response.writeHead(status, headers);
      await sendFilePart(response, { path: file, start: range?.start ?? 0, length });
    } else {
      const stream = coming?.stream() ?? (await this.#content.storage.read(digest, range));
      response.writeHead(status, headers);
      await pipeline(stream, response);
    }
    this.#parts.metrics.transferred('out', length);
  }

  #isOwn(request: IncomingMessage): boolean {
    const given = request.headers[OWN_REGISTRY_HEADER];
    return (
      typeof given === 'string' && timingSafeEqual(secretDigest(given), secretDigest(this.#parts.ownSecret))
    );
  }

  #publish(
    action: RegistryEvent['action'],
    repository: string,
    manifest: { digest: string; mediaType: string; size: number },
    reference: string,
    identity: Identity,
  ): void {
    const { digest, mediaType, size } = manifest;
    const tag = reference.includes(':') ? undefined : reference;
    this.#parts.hooks.publish({ action, repository, digest, mediaType, size, tag, actor: identity.user });
  }

  #repositoriesPage({ request, response, identity }: Exchange): void {
    if (identity.user === 'anonymous' && !identity.allows('**', 'pull')) {
      response.setHeader('WWW-Authenticate', 'Basic realm="registry"');
      if (request.headers.authorization === undefined)
        throw new RegistryProblem('UNAUTHORIZED', 'authentication required');
    }
    const { catalogue } = this.#content;
    const rows = catalogue
      .repositories()
      .filter((name) => identity.allows(name, 'pull'))
      .map((name) => {
        const tags = catalogue.tags(name);
        const updatedAt =
          tags
            .map((tag) => tag.updatedAt)
            .sort()
            .at(-1) ?? '';
        return { name, tags: tags.length, bytes: catalogue.bytesOf(name), updatedAt };
      });
    html(response, repositoriesPage(rows));
  }

  async #repositoryPage({ response }: Exchange, repository: string): Promise<void> {
    this.#content.checkRepository(repository);
    const { catalogue } = this.#content;
    const rows = await Promise.all(
      catalogue.tags(repository).map(async (tag) => {
        const { data, mediaType } = await this.#document(repository, tag.digest);
        const bytes =
          manifestKind(data, mediaType) === 'index'
            ? 0
            : parseDocument(ImageManifest, data, 'the manifest').layers.reduce(
                (sum, { size }) => sum + size,
                0,
              );
        return { ...tag, bytes, kind: kindName(data, mediaType) };
      }),
    );
    html(response, repositoryPage(repository, rows));
  }

  async #manifestPage({ response }: Exchange, repository: string, tag: string): Promise<void> {
    const manifest = this.#content.manifest(repository, tag);
    const { data, mediaType } = await this.#document(repository, manifest.digest);
    const document =
      manifestKind(data, mediaType) === 'index'
        ? parseDocument(ImageIndex, data, 'the index')
        : parseDocument(ImageManifest, data, 'the manifest');
    html(response, manifestPage(repository, tag, manifest, document));
  }

  async #document(repository: string, digest: string): Promise<{ data: Buffer; mediaType: string }> {
    const { mediaType } = this.#content.manifest(repository, digest);
    const data = await readLimited(await this.#content.storage.read(digest), LARGEST_MANIFEST);
    return { data, mediaType };
  }
}

const NOT_ALLOWED: RegistryRoute = {
  name: 'none',
  method: '',
  pattern: /$^/,
  handler: () => {
    throw new RegistryProblem('UNSUPPORTED', 'the operation is unsupported');
  },
};

function originOf(request: IncomingMessage): string {
  const forwarded = request.headers['x-forwarded-proto'];
  const isTls = 'encrypted' in request.socket && (request.socket as TLSSocket).encrypted;
  const scheme =
    typeof forwarded === 'string' && /^https?$/.test(forwarded) ? forwarded : isTls ? 'https' : 'http';
  return `${scheme}://${request.headers.host ?? 'localhost'}`;
}

function json(response: ServerResponse, status: number, body: object, type = 'application/json'): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) });
  response.end(response.req.method === 'HEAD' ? undefined : text);
}

function html(response: ServerResponse, text: string): void {
  response.writeHead(200, {
    'Content-Type': 'text/html; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
    'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'",
  });
  response.end(text);
}

/** How many of a list to give: `n` of the query, {@link MOST_IN_PAGE} without it and at the most. */
function pageSize(url: URL): number {
  const text = url.searchParams.get('n');
  if (text === null) return MOST_IN_PAGE;
  if (!/^\d+$/.test(text)) throw new RegistryProblem('NAME_INVALID', `n=${text} is no number`);
  return Math.min(Number(text), MOST_IN_PAGE);
}

function linkNext(response: ServerResponse, path: string, limit: number, last: string): void {
  const query = new URLSearchParams({ last, n: String(limit) });
  response.setHeader('Link', `<${path}?${query}>; rel="next"`);
}

function isUnchanged(request: IncomingMessage, digest: string): boolean {
  return request.headers['if-none-match']?.includes(digest) === true;
}

/** One range of bytes (RFC 9110, section 14); anything else is answered with the whole. */
function requestedRange(
  header: string | undefined,
  size: number,
): { start: number; end: number } | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) return undefined;
  const [, first = '', last = ''] = match;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (start > end || start >= size)
    throw new RegistryProblem('RANGE_INVALID', `the range ${header} is outside of the blob's ${size} bytes`);
  return { start, end };
}

async function readLimited(source: Readable, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of source.iterator({ destroyOnReturn: false })) {
    const bytes: Buffer = chunk;
    total += bytes.length;
    if (total > limit)
      throw new RegistryProblem('SIZE_INVALID', `the manifest is larger than ${limit} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}
