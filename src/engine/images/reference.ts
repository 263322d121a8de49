import { invalid } from '#model/errors.ts';

/** A name for an image, as `docker pull` reads it. */
export interface ImageReference {
  /** With registry and namespace: `docker.io/library/nginx`. */
  name: string;
  /** As people write it: `nginx`. */
  familiar: string;
  tag?: string;
  digest?: string;
}

const DEFAULT_REGISTRY = 'docker.io';
const PATH_PART = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const LABEL = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const REGISTRY = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[0-9a-fA-F:]+\\])(?::\\d{1,5})?$`);
const TAG = /^[\w][\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const LONGEST_NAME = 255;

/** Parses `[registry[:port]/]path[:tag][@digest]`; an `invalid` error in Docker's words. */
export function parseReference(text: string): ImageReference {
  const bad = (): Error => invalid(`invalid reference format: ${JSON.stringify(text)}`);
  const [beforeDigest = '', digest, ...rest] = text.split('@');
  if (rest.length > 0 || (digest !== undefined && !DIGEST.test(digest))) throw bad();
  const slash = beforeDigest.lastIndexOf('/');
  const colon = beforeDigest.indexOf(':', slash + 1);
  const path = colon === -1 ? beforeDigest : beforeDigest.slice(0, colon);
  const tag = colon === -1 ? undefined : beforeDigest.slice(colon + 1);
  if (tag !== undefined && !TAG.test(tag)) throw bad();
  const parts = path.split('/');
  const first = parts[0] ?? '';
  const hasRegistry = parts.length > 1 && (/[.:]/.test(first) || first === 'localhost');
  const registry = hasRegistry ? first : DEFAULT_REGISTRY;
  const names = hasRegistry ? parts.slice(1) : parts;
  if (/[A-Z]/.test(names.join('/'))) {
    throw invalid(`invalid reference format: repository name (${names.join('/')}) must be lowercase`);
  }
  if (names.length === 0 || !names.every((part) => PATH_PART.test(part)) || path.length > LONGEST_NAME)
    throw bad();
  if (hasRegistry && !REGISTRY.test(registry)) throw bad();
  const isHub = registry === DEFAULT_REGISTRY || registry === 'index.docker.io';
  const inHub = isHub && names.length === 1 ? ['library', ...names] : names;
  const name = [isHub ? DEFAULT_REGISTRY : registry, ...inHub].join('/');
  const shown = isHub && inHub[0] === 'library' && inHub.length === 2 ? inHub.slice(1) : inHub;
  return {
    name,
    familiar: isHub ? shown.join('/') : name,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** `name:tag` with the registry, `latest` where no tag was given: the key under which a reference is kept. */
export function referenceKey(reference: ImageReference): string {
  return `${reference.name}:${reference.tag ?? 'latest'}`;
}
