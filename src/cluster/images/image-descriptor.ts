import { OCI_CONFIG, OCI_MANIFEST, type Platform } from '#engine/images/image-documents.ts';
import type { ImageStore } from '#engine/images/image-store.ts';
import { type ImageReference, parseReference } from '#engine/images/reference.ts';
import { type ErrorKind, kindOf } from '#model/errors.ts';
import type { Image } from '#model/image.ts';
import { parseRegistryAuth, type RegistryCredentials } from '#registry/credentials.ts';
import type { ImagePuller } from '#registry/image-puller.ts';

/** How long a registry may take to answer where this machine could answer instead. */
const REGISTRY_LIMIT_MS = 10_000;
const ELSEWHERE: readonly ErrorKind[] = [
  'not-found',
  'unauthorized',
  'forbidden',
  'unavailable',
  'cancelled',
];

export interface DescriptorSources {
  readonly puller: Pick<ImagePuller, 'manifest' | 'platforms'>;
  /** Without them only the registry is asked. */
  readonly images?: Pick<ImageStore, 'named' | 'documents'> | undefined;
}

/** What an image is now, and what it runs on: the answer to Docker's `GET /distribution/NAME/json`. */
export interface ImageDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  readonly platforms: readonly Platform[];
}

/**
 * What a name means for a whole cluster: what its registry says, and where none does, the image that this node has. That one's digest is the
 * repository's where it came from there, and else its ID, which is the same on all nodes. Errors are the registry's.
 */
export async function describeImage(
  { puller, images }: DescriptorSources,
  request: {
    readonly reference: ImageReference;
    readonly credentials: RegistryCredentials;
    readonly signal: AbortSignal;
  },
): Promise<ImageDescriptor> {
  const local = images?.named(request.reference);
  const limit = local === undefined ? [] : [AbortSignal.timeout(REGISTRY_LIMIT_MS)];
  const limited = { ...request, signal: AbortSignal.any([request.signal, ...limit]) };
  try {
    const manifest = await puller.manifest(limited);
    const platforms = await puller.platforms(limited, manifest);
    const { digest, mediaType, data } = manifest;
    return { mediaType, digest, size: data.length, platforms };
  } catch (error) {
    if (images === undefined || local === undefined) throw error;
    if (request.signal.aborted || !ELSEWHERE.includes(kindOf(error))) throw error;
    return localDescriptor(images, local, request.reference);
  }
}

/** `NAME:TAG@DIGEST`, as {@link describeImage} says it; what has a digest stays as it is. */
export async function pinImage(
  sources: DescriptorSources,
  o: { readonly image: string; readonly registryAuth: string | undefined; readonly signal: AbortSignal },
): Promise<string> {
  const reference = parseReference(o.image);
  if (reference.digest !== undefined) return o.image;
  const credentials = parseRegistryAuth(o.registryAuth);
  const { digest } = await describeImage(sources, { reference, credentials, signal: o.signal });
  return `${reference.familiar}:${reference.tag ?? 'latest'}@${digest}`;
}

function localDescriptor(
  images: Pick<ImageStore, 'documents'>,
  image: Image,
  { familiar }: ImageReference,
): ImageDescriptor {
  const { architecture, os, variant } = image.configuration;
  const known = image.repoDigests.find((each) => each.startsWith(`${familiar}@`));
  const platforms: Platform[] = [{ architecture, os, ...(variant === undefined ? {} : { variant }) }];
  const { manifest, configuration } = images.documents(image);
  if (known === undefined)
    return { mediaType: OCI_CONFIG, digest: image.id, size: configuration.length, platforms };
  const digest = known.slice(familiar.length + 1);
  return { mediaType: OCI_MANIFEST, digest, size: manifest.length, platforms };
}
