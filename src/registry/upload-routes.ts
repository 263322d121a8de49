import { timingSafeEqual } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { OWN_REGISTRY_HEADER } from './registries.ts';
import { secretDigest } from './registry-access.ts';
import type { UploadState } from './registry-content.ts';
import { RegistryProblem } from './registry-problem.ts';
import { type Exchange, type RegistryRoute, repositoryPattern } from './registry-route.ts';

const UPLOAD = {
  name: 'upload',
  pattern: repositoryPattern('/blobs/uploads/([^/]+)'),
  action: 'push',
} as const;

/** Blobs on their way in (distribution-spec, "Pushing blobs"): in one piece, in chunks, or mounted from another repository. */
export const uploadRoutes: readonly RegistryRoute[] = [
  {
    name: 'uploads',
    method: 'POST',
    pattern: repositoryPattern('/blobs/uploads/?'),
    action: 'push',
    handler: beginUpload,
  },
  { ...UPLOAD, method: 'GET', handler: getUpload },
  { ...UPLOAD, method: 'PATCH', handler: appendUpload },
  { ...UPLOAD, method: 'PUT', handler: finishUpload },
  { ...UPLOAD, method: 'DELETE', handler: cancelUpload },
];

async function beginUpload(exchange: Exchange, repository: string): Promise<void> {
  const { parts, request, response, url, identity } = exchange;
  const { content } = parts;
  const mounted = url.searchParams.get('mount');
  if (mounted !== null) {
    const done = await content.mount(repository, mounted, {
      from: url.searchParams.get('from') ?? undefined,
      canRead: (other) => identity.allows(other, 'pull'),
      shared: isOwn(exchange),
    });
    if (done) {
      request.resume();
      answerBlob(response, repository, mounted);
      return;
    }
  }
  const upload = content.beginUpload(repository);
  const digest = url.searchParams.get('digest');
  if (digest === null) {
    request.resume();
    answerUpload(response, repository, upload, 202);
    return;
  }
  try {
    await append(exchange, repository, upload.id);
    await content.finishUpload(repository, upload.id, digest);
  } catch (error) {
    // Sent in one piece, it is not gone on with.
    if (content.catalogue.uploadRepository(upload.id) !== undefined)
      content.cancelUpload(repository, upload.id);
    throw error;
  }
  answerBlob(response, repository, digest);
}

async function getUpload({ parts, response }: Exchange, repository: string, id: string): Promise<void> {
  answerUpload(response, repository, await parts.content.uploadState(repository, id), 204);
}

async function appendUpload(exchange: Exchange, repository: string, id: string): Promise<void> {
  const upload = await append(exchange, repository, id);
  answerUpload(exchange.response, repository, upload, 202);
}

async function finishUpload(exchange: Exchange, repository: string, id: string): Promise<void> {
  const digest = exchange.url.searchParams.get('digest');
  if (digest === null) throw new RegistryProblem('DIGEST_INVALID', 'digest is missing');
  await append(exchange, repository, id);
  await exchange.parts.content.finishUpload(repository, id, digest);
  answerBlob(exchange.response, repository, digest);
}

function cancelUpload({ parts, response }: Exchange, repository: string, id: string): void {
  parts.content.cancelUpload(repository, id);
  response.writeHead(204).end();
}

/** Adds the request's body to the upload. */
async function append({ parts, request }: Exchange, repository: string, id: string): Promise<UploadState> {
  const range = /^(?:bytes[ =])?(\d+)-(\d+)/.exec(request.headers['content-range'] ?? '');
  const length = request.headers['content-length'];
  const upload = await parts.content.append(repository, id, {
    source: request,
    start: range === null ? undefined : Number(range[1]),
    length: length === undefined ? undefined : Number(length),
  });
  parts.metrics.transferred('in', Number(length ?? 0));
  return upload;
}

function answerUpload(
  response: ServerResponse,
  repository: string,
  upload: UploadState,
  status: 202 | 204,
): void {
  response.writeHead(status, {
    Location: `/v2/${repository}/blobs/uploads/${upload.id}`,
    Range: `0-${Math.max(0, upload.size - 1)}`,
    'Docker-Upload-UUID': upload.id,
    ...(status === 204 ? {} : { 'Content-Length': 0 }),
  });
  response.end();
}

function answerBlob(response: ServerResponse, repository: string, digest: string): void {
  response.writeHead(201, {
    Location: `/v2/${repository}/blobs/${digest}`,
    'Docker-Content-Digest': digest,
    'Content-Length': 0,
  });
  response.end();
}

/** Whether it is the daemon itself that asks. */
function isOwn({ parts, request }: Exchange): boolean {
  const given = request.headers[OWN_REGISTRY_HEADER];
  return typeof given === 'string' && timingSafeEqual(secretDigest(given), secretDigest(parts.ownSecret));
}
