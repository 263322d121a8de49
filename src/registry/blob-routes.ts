import { pipeline } from 'node:stream/promises';
import { requestedRange } from './byte-range.ts';
import { sendFilePart } from './file-response.ts';
import { sendUnchanged } from './registry-answer.ts';
import { checkedDigest } from './registry-content.ts';
import { type Exchange, type RegistryRoute, repositoryPattern } from './registry-route.ts';

const BLOB = { name: 'blob', pattern: repositoryPattern('/blobs/([^/]+)') };

/** Blobs that are there. */
export const blobRoutes: readonly RegistryRoute[] = [
  { ...BLOB, method: 'GET', action: 'pull', handler: getBlob },
  { ...BLOB, method: 'DELETE', action: 'delete', handler: deleteBlob },
];

async function getBlob(exchange: Exchange, repository: string, digest: string): Promise<void> {
  const { parts, request, response } = exchange;
  const { content } = parts;
  checkedDigest(digest);
  const coming = await parts.proxy?.openBlob(repository, digest);
  const size = coming?.size ?? (await content.blobSize(repository, digest));
  const common = {
    'Content-Type': 'application/octet-stream',
    'Docker-Content-Digest': digest,
    'Accept-Ranges': 'bytes',
    'Cache-Control': 'max-age=31536000',
    ETag: `"${digest}"`,
  };
  if (sendUnchanged(exchange, digest)) return;
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
  const file = coming === undefined ? content.storage.file(digest) : undefined;
  const status = range === undefined ? 200 : 206;
  if (file !== undefined) {
    response.writeHead(status, headers);
    await sendFilePart(response, { path: file, start: range?.start ?? 0, length });
  } else {
    const stream = coming?.stream() ?? (await content.storage.read(digest, range));
    response.writeHead(status, headers);
    await pipeline(stream, response);
  }
  parts.metrics.transferred('out', length);
}

function deleteBlob({ parts, response }: Exchange, repository: string, digest: string): void {
  parts.content.deleteBlob(repository, digest);
  response.writeHead(202, { 'Content-Length': 0 }).end();
}
