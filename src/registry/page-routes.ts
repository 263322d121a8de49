import type { ServerResponse } from 'node:http';
import { ImageIndex, ImageManifest, manifestKind, parseDocument } from '#engine/images/image-documents.ts';
import { boundedParallel } from './bounded-parallel.ts';
import { readManifest } from './manifest-reader.ts';
import { ANONYMOUS } from './registry-access.ts';
import { kindName, manifestPage, repositoriesPage, repositoryPage } from './registry-page.ts';
import { RegistryProblem } from './registry-problem.ts';
import type { Exchange, RegistryParts, RegistryRoute } from './registry-route.ts';

/** Manifests of a page that are in memory together. */
const READ_AT_ONCE = 8;

/** The registry for people with a browser. */
export const pageRoutes: readonly RegistryRoute[] = [
  { name: 'page', method: 'GET', pattern: /^\/$/, handler: showRepositories },
  { name: 'page', method: 'GET', pattern: /^\/r\/([^:]+)$/, action: 'pull', handler: showRepository },
  { name: 'page', method: 'GET', pattern: /^\/r\/([^:]+):([^/]+)$/, action: 'pull', handler: showTag },
];

function showRepositories({ parts, request, response, identity }: Exchange): void {
  if (identity.user === ANONYMOUS && !identity.allows('**', 'pull')) {
    response.setHeader('WWW-Authenticate', 'Basic realm="registry"');
    if (request.headers.authorization === undefined)
      throw new RegistryProblem('UNAUTHORIZED', 'authentication required');
  }
  const { catalogue } = parts.content;
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
  sendHtml(response, repositoriesPage(rows));
}

async function showRepository({ parts, response }: Exchange, repository: string): Promise<void> {
  parts.content.checkRepository(repository);
  const tags = parts.content.catalogue.tags(repository);
  const rows: Parameters<typeof repositoryPage>[1][number][] = [];
  await boundedParallel(tags, READ_AT_ONCE, async (tag, index) => {
    const { data, mediaType } = await storedManifest(parts, repository, tag.digest);
    const bytes =
      manifestKind(data, mediaType) === 'index'
        ? 0
        : parseDocument(ImageManifest, data, 'the manifest').layers.reduce((sum, { size }) => sum + size, 0);
    rows[index] = { ...tag, bytes, kind: kindName(data, mediaType) };
  });
  sendHtml(response, repositoryPage(repository, rows));
}

async function showTag({ parts, response }: Exchange, repository: string, encodedTag: string): Promise<void> {
  const tag = decoded(encodedTag);
  const manifest = parts.content.manifest(repository, tag);
  const { data, mediaType } = await storedManifest(parts, repository, manifest.digest);
  const document =
    manifestKind(data, mediaType) === 'index'
      ? parseDocument(ImageIndex, data, 'the index')
      : parseDocument(ImageManifest, data, 'the manifest');
  sendHtml(response, manifestPage(repository, tag, manifest, document));
}

/** As it is written where its escapes are broken: no tag is called so. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch (error) {
    if (error instanceof URIError) return segment;
    throw error;
  }
}

async function storedManifest(
  { content }: RegistryParts,
  repository: string,
  digest: string,
): Promise<{ data: Buffer; mediaType: string }> {
  const { mediaType } = content.manifest(repository, digest);
  const data = await readManifest(await content.storage.read(digest));
  return { data, mediaType };
}

function sendHtml(response: ServerResponse, text: string): void {
  response.writeHead(200, {
    'Content-Type': 'text/html; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
    'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'",
  });
  response.end(text);
}
