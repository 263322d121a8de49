import { z } from 'zod';
import { DroverError, invalid } from '#model/errors.ts';
import type { RegistryCredentials } from './credentials.ts';
import type { Registries } from './registries.ts';

/** The registry that a login's server address means. */
function registryOfAddress(address: string): string {
  const bare = address.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return bare === '' || bare === 'index.docker.io' || bare === 'registry-1.docker.io' ? 'docker.io' : bare;
}

/** `docker login`: `unauthorized` where the registry does not take the credentials. */
export async function checkLogin(
  registries: Registries,
  credentials: RegistryCredentials,
  signal: AbortSignal,
): Promise<void> {
  const host = registryOfAddress(credentials.serveraddress ?? '');
  await registries.useHost(host, { credentials, signal }, async (client) => {
    const response = await client.send({ method: 'GET', path: '/v2/', what: `login attempt to ${host}` });
    response.resume();
  });
}

const SearchAnswer = z.object({
  results: z
    .array(
      z.object({
        name: z.string(),
        description: z.string().nullish(),
        star_count: z.number().nullish(),
        is_official: z.boolean().nullish(),
        is_automated: z.boolean().nullish(),
      }),
    )
    .nullish(),
});

export interface SearchResult {
  name: string;
  description: string;
  star_count: number;
  is_official: boolean;
  is_automated: boolean;
}

const HUB_SEARCH = 'https://index.docker.io';

/** `docker search`, by the search of Docker's first registry API, which some registries of today have. */
export async function searchRegistry(
  registries: Registries,
  o: { term: string; limit: number; credentials: RegistryCredentials; signal: AbortSignal },
): Promise<SearchResult[]> {
  const [first = '', ...rest] = o.term.split('/');
  const named = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  const host = named ? first : 'docker.io';
  const query = new URLSearchParams({ q: named ? rest.join('/') : o.term, n: String(o.limit) });
  const path = `/v1/search?${query}`;
  return await registries.useHost(host, o, async (client) => {
    const { body } = await client
      .document({
        method: 'GET',
        path: host === 'docker.io' ? HUB_SEARCH + path : path,
        what: `search in ${host}`,
      })
      .catch((error: unknown) => {
        if (error instanceof DroverError && error.kind === 'not-found')
          throw invalid(`registry ${host} has no search`, { cause: error });
        throw error;
      });
    const parsed = SearchAnswer.safeParse(JSON.parse(body.toString()));
    if (!parsed.success) throw invalid(`registry ${host} answers a search with something else`);
    return (parsed.data.results ?? []).map((each) => ({
      name: named ? `${host}/${each.name}` : each.name,
      description: each.description ?? '',
      star_count: each.star_count ?? 0,
      is_official: each.is_official ?? false,
      is_automated: each.is_automated ?? false,
    }));
  });
}
