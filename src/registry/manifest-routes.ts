import { pipeline } from 'node:stream/promises';
import { digestOf } from '#engine/blobs/blob-store.ts';
import { readManifest } from './manifest-reader.ts';
import { sendUnchanged } from './registry-answer.ts';
import { RegistryProblem } from './registry-problem.ts';
import { type Exchange, type RegistryRoute, repositoryPattern } from './registry-route.ts';
import type { RegistryEvent } from './webhook-sender.ts';

const MOST_TAGS_AT_ONCE = 50;
const MANIFEST = { name: 'manifest', pattern: repositoryPattern('/manifests/([^/]+)') };

/** Manifests by tag or digest; whoever asked for it is told what happens to them. */
export const manifestRoutes: readonly RegistryRoute[] = [
  { ...MANIFEST, method: 'GET', action: 'pull', handler: getManifest },
  { ...MANIFEST, method: 'PUT', action: 'push', handler: putManifest },
  { ...MANIFEST, method: 'DELETE', action: 'delete', handler: deleteManifest },
];

async function getManifest(exchange: Exchange, repository: string, reference: string): Promise<void> {
  const { parts, request, response } = exchange;
  await parts.proxy?.bringManifest(repository, reference);
  const manifest = parts.content.manifest(repository, reference);
  const { digest, mediaType, size } = manifest;
  const headers = {
    'Content-Type': mediaType,
    'Content-Length': size,
    'Docker-Content-Digest': digest,
    ETag: `"${digest}"`,
  };
  if (sendUnchanged(exchange, digest)) return;
  if (request.method === 'HEAD') {
    response.writeHead(200, headers).end();
    return;
  }
  const stream = await parts.content.storage.read(digest);
  response.writeHead(200, headers);
  await pipeline(stream, response);
  publish(exchange, 'pull', { repository, manifest, reference });
}

async function putManifest(exchange: Exchange, repository: string, reference: string): Promise<void> {
  const { parts, request, response, url } = exchange;
  const tags = url.searchParams.getAll('tag');
  if (tags.length > MOST_TAGS_AT_ONCE)
    throw new RegistryProblem('MANIFEST_INVALID', `more than ${MOST_TAGS_AT_ONCE} tags at once`);
  const data = await readManifest(request);
  const digest = digestOf(data);
  const mediaType = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim() ?? '';
  const manifest = await parts.content.putManifest(repository, { data, mediaType, reference, tags, digest });
  for (const tag of tags) response.appendHeader('OCI-Tag', tag);
  response.writeHead(201, {
    Location: `/v2/${repository}/manifests/${digest}`,
    'Docker-Content-Digest': digest,
    'Content-Length': 0,
    ...(manifest.subject === undefined ? {} : { 'OCI-Subject': manifest.subject }),
  });
  response.end();
  publish(exchange, 'push', { repository, manifest, reference });
}

function deleteManifest(exchange: Exchange, repository: string, reference: string): void {
  const { parts, response } = exchange;
  const manifest = parts.content.manifest(repository, reference);
  parts.content.deleteManifest(repository, reference);
  response.writeHead(202, { 'Content-Length': 0 }).end();
  publish(exchange, 'delete', { repository, manifest, reference });
}

function publish(
  { parts, identity }: Exchange,
  action: RegistryEvent['action'],
  o: {
    repository: string;
    manifest: { digest: string; mediaType: string; size: number };
    reference: string;
  },
): void {
  const { digest, mediaType, size } = o.manifest;
  const tag = o.reference.includes(':') ? undefined : o.reference;
  const { repository } = o;
  parts.hooks.publish({ action, repository, digest, mediaType, size, tag, actor: identity.user });
}
