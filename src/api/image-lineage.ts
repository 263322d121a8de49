import { baseOf } from '#engine/images/image-lineage.ts';
import { rebaseImage } from '#engine/images/image-rebase.ts';
import { parseReference } from '#engine/images/reference.ts';
import { invalid, kindOf } from '#model/errors.ts';
import type { Image } from '#model/image.ts';
import { credentialsFor, parseRegistryConfig } from '#registry/credentials.ts';
import type { Call } from './call.ts';
import { booleanOf } from './query.ts';
import type { Route } from './route.ts';

/** What Docker's API has no words for: what images are made of. */
export const imageLineageRoutes: readonly Route[] = [
  { method: 'GET', path: '/images/lineage', operation: 'ImageLineage', handler: lineage },
  {
    method: 'GET',
    path: '/images/{name}/attestations',
    operation: 'ImageAttestations',
    handler: attestations,
  },
  { method: 'POST', path: '/images/{name}/rebase', operation: 'ImageRebase', handler: rebase },
];

/** Every image with its base; with `check` whether the base's name means something newer, here or at its registry. */
async function lineage(call: Call): Promise<void> {
  const { images } = call.parts;
  const all = images.list();
  const checks = booleanOf(call.query, 'check');
  const lines = await Promise.all(
    all.map(async (image) => {
      const base = baseOf(image, all);
      return {
        Id: image.id,
        RepoTags: image.repoTags,
        Size: image.size,
        BaseId: base?.id ?? null,
        BaseName: image.lineage?.baseName ?? base?.repoTags[0] ?? null,
        BaseDigest: image.lineage?.baseDigest ?? base?.manifestDigest ?? null,
        BaseLayers: image.lineage?.baseLayers ?? base?.chainIds.length ?? 0,
        Layers: image.chainIds.length,
        Recipe: image.lineage?.recipe ?? null,
        ...(checks ? await newerBase(call, image) : {}),
      };
    }),
  );
  call.json(200, lines);
}

async function newerBase(
  call: Call,
  image: Image,
): Promise<{ Outdated: boolean; NewBase?: string; Problem?: string }> {
  const { lineage: from } = image;
  // An image that has taken its base's name is the newer base itself.
  if (from === undefined || namesOf(image).includes(from.baseName)) return { Outdated: false };
  const here = call.parts.images.list().find((each) => namesOf(each).includes(from.baseName));
  if (here !== undefined && here.id !== from.baseImageId) return { Outdated: true, NewBase: here.id };
  // Only what came from a registry has one to ask.
  if (here !== undefined && here.repoDigests.length === 0) return { Outdated: false };
  try {
    const reference = parseReference(from.baseName);
    const header = call.request.headers['x-registry-config'];
    const table = parseRegistryConfig(Array.isArray(header) ? header[0] : header);
    const credentials = credentialsFor(reference.name.split('/', 1)[0] ?? '', table);
    const { digest } = await call.parts.puller.manifest({ reference, credentials, signal: call.signal });
    return digest === from.baseDigest ? { Outdated: false } : { Outdated: true, NewBase: digest };
  } catch (error) {
    if (kindOf(error) === 'cancelled') throw error;
    return { Outdated: false, Problem: error instanceof Error ? error.message : '' };
  }
}

/** What was said about an image when it was built, as in-toto predicates. */
function attestations(call: Call): void {
  const { images } = call.parts;
  const image = images.resolve(call.param('name'));
  call.json(
    200,
    (image.attestations ?? []).map((each) => ({
      predicateType: each.predicateType,
      predicate: images.predicate(each),
    })),
  );
}

/** With registry and tag. */
function namesOf({ repoTags }: Image): string[] {
  return repoTags.map((each) => {
    const { name, tag = 'latest' } = parseReference(each);
    return `${name}:${tag}`;
  });
}

function rebase(call: Call): void {
  const { images, layers, events } = call.parts;
  const base = call.query.get('onto') ?? '';
  if (base === '') throw invalid('onto is empty: no base to put the image onto');
  const { tags, from, to } = rebaseImage(
    { images, layers, events },
    {
      image: call.param('name'),
      base,
      force: booleanOf(call.query, 'force'),
      nowIso: new Date().toISOString(),
    },
  );
  call.json(200, { Tags: tags, From: from, To: to });
}
