import type { ServerResponse } from 'node:http';
import { OCI_INDEX } from '#engine/images/image-documents.ts';
import { ANONYMOUS } from './registry-access.ts';
import { sendJson } from './registry-answer.ts';
import { challenge } from './registry-challenge.ts';
import { checkedDigest } from './registry-content.ts';
import { RegistryProblem } from './registry-problem.ts';
import { type Exchange, type RegistryRoute, repositoryPattern } from './registry-route.ts';

const MOST_IN_PAGE = 1000;
const MOST_FOUND = 100;

/** What there is: repositories, tags, what refers to a manifest; and Docker's search. */
export const listingRoutes: readonly RegistryRoute[] = [
  { name: 'catalog', method: 'GET', pattern: /^\/v2\/_catalog$/, handler: listRepositories },
  { name: 'search', method: 'GET', pattern: /^\/v1\/search$/, handler: search },
  {
    name: 'tags',
    method: 'GET',
    pattern: repositoryPattern('/tags/list'),
    action: 'pull',
    handler: listTags,
  },
  {
    name: 'referrers',
    method: 'GET',
    pattern: repositoryPattern('/referrers/([^/]+)'),
    action: 'pull',
    handler: listReferrers,
  },
];

function listRepositories(exchange: Exchange): void {
  const { parts, response, url, identity } = exchange;
  if (identity.user === ANONYMOUS && !identity.allows('**', 'pull')) {
    challenge(parts.access, exchange, 'registry:catalog:*');
    throw new RegistryProblem('UNAUTHORIZED', 'authentication required');
  }
  const limit = pageSize(url);
  const after = url.searchParams.get('last') ?? '';
  const names = parts.content.catalogue
    .repositories({ after })
    .filter((name) => identity.allows(name, 'pull'));
  const shown = names.slice(0, limit);
  if (names.length > limit && limit > 0) linkNext(response, '/v2/_catalog', limit, shown.at(-1) ?? '');
  sendJson(response, 200, { repositories: shown });
}

function search({ parts, response, url, identity }: Exchange): void {
  const term = url.searchParams.get('q') ?? '';
  const limit = Math.min(pageSize(url), MOST_FOUND);
  const found = parts.content.catalogue
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
  sendJson(response, 200, { query: term, num_results: results.length, results });
}

function listTags({ parts, response, url }: Exchange, repository: string): void {
  parts.content.checkRepository(repository);
  const isPaged = url.searchParams.has('n');
  const limit = isPaged ? pageSize(url) : Number.MAX_SAFE_INTEGER;
  const after = url.searchParams.get('last') ?? '';
  const tags = parts.content.catalogue
    .tags(repository, { after, limit: isPaged ? limit + 1 : -1 })
    .map((tag) => tag.name);
  const shown = tags.slice(0, limit);
  if (tags.length > limit && limit > 0)
    linkNext(response, `/v2/${repository}/tags/list`, limit, shown.at(-1) ?? '');
  sendJson(response, 200, { name: repository, tags: shown });
}

function listReferrers({ parts, response, url }: Exchange, repository: string, digest: string): void {
  checkedDigest(digest);
  const wanted = url.searchParams.get('artifactType');
  const manifests = parts.content.catalogue
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
  sendJson(response, 200, { schemaVersion: 2, mediaType: OCI_INDEX, manifests }, OCI_INDEX);
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
