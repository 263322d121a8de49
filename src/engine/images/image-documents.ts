import { z } from 'zod';
import { invalid } from '#model/errors.ts';

/** Media types of manifests and their parts (OCI image-spec, Docker's image manifest version 2 schema 2). */
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';
export const OCI_LAYER_GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';

/** `docker save`'s manifest.json. */
export interface SavedManifestEntry {
  Config: string;
  RepoTags?: string[] | null | undefined;
  Layers: string[];
}

export const SavedManifest: z.ZodType<SavedManifestEntry[]> = z.array(
  z.object({ Config: z.string(), RepoTags: z.array(z.string()).nullish(), Layers: z.array(z.string()) }),
);

/** A platform as descriptors and configurations name it. */
export interface Platform {
  architecture: string;
  os: string;
  variant?: string | null | undefined;
}

/** The OCI image specification's descriptor. */
export interface Descriptor {
  mediaType?: string | null | undefined;
  digest: string;
  size: number;
  annotations?: Record<string, string> | null | undefined;
  platform?: Platform | null | undefined;
  artifactType?: string | null | undefined;
  urls?: string[] | null | undefined;
}

const digest = z.string().regex(/^[a-z0-9+._-]+:[0-9a-zA-Z=_-]{32,}$/, 'is not a digest');

const descriptor: z.ZodType<Descriptor> = z.object({
  mediaType: z.string().nullish(),
  digest,
  size: z.int().nonnegative(),
  annotations: z.record(z.string(), z.string()).nullish(),
  platform: z.object({ architecture: z.string(), os: z.string(), variant: z.string().nullish() }).nullish(),
  artifactType: z.string().nullish(),
  urls: z.array(z.string()).nullish(),
});

/** The OCI image specification's index, and Docker's manifest list. */
export interface ImageIndex {
  mediaType?: string | null | undefined;
  manifests: Descriptor[];
  subject?: Descriptor | null | undefined;
  artifactType?: string | null | undefined;
  annotations?: Record<string, string> | null | undefined;
}

export const ImageIndex: z.ZodType<ImageIndex> = z.object({
  mediaType: z.string().nullish(),
  manifests: z.array(descriptor),
  subject: descriptor.nullish(),
  artifactType: z.string().nullish(),
  annotations: z.record(z.string(), z.string()).nullish(),
});

/** The OCI image specification's manifest, and Docker's. */
export interface ImageManifest {
  mediaType?: string | null | undefined;
  config: Descriptor;
  layers: Descriptor[];
  annotations?: Record<string, string> | null | undefined;
  subject?: Descriptor | null | undefined;
  artifactType?: string | null | undefined;
}

export const ImageManifest: z.ZodType<ImageManifest> = z.object({
  mediaType: z.string().nullish(),
  config: descriptor,
  layers: z.array(descriptor),
  annotations: z.record(z.string(), z.string()).nullish(),
  subject: descriptor.nullish(),
  artifactType: z.string().nullish(),
});

/** The OCI image configuration, as far as it has to be right before it is stored. */
export const ConfigurationShape: z.ZodType<{
  architecture: string;
  os: string;
  rootfs: { type: 'layers'; diff_ids: string[] };
}> = z.looseObject({
  architecture: z.string(),
  os: z.string(),
  rootfs: z.object({
    type: z.literal('layers'),
    diff_ids: z.array(z.string().regex(/^sha256:[0-9a-f]{64}$/)),
  }),
});

/** JSON of a document, checked; `what` is named in the error. */
export function parseDocument<T>(schema: z.ZodType<T>, data: Buffer, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(data.toString('utf8'));
  } catch (error) {
    throw invalid(`${what} is not JSON`, { cause: error });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw invalid(`${what}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
}

/** What a manifest document is: its `mediaType`, or what its fields make of it (image-spec manifest.md, image-index.md). */
export function manifestKind(data: Buffer, mediaType?: string): 'manifest' | 'index' {
  if (mediaType === OCI_INDEX || mediaType === DOCKER_LIST) return 'index';
  if (mediaType === OCI_MANIFEST || mediaType === DOCKER_MANIFEST) return 'manifest';
  const shape = z.looseObject({ mediaType: z.string().nullish(), manifests: z.unknown().optional() });
  const { mediaType: own, manifests } = parseDocument(shape, data, 'the manifest');
  if (own === OCI_INDEX || own === DOCKER_LIST) return 'index';
  return own === undefined && manifests !== undefined ? 'index' : 'manifest';
}

const GO_ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** This machine's. */
export function hostPlatform(): Platform {
  const architecture = GO_ARCHITECTURES[process.arch] ?? process.arch;
  return { os: 'linux', architecture, ...(architecture === 'arm64' ? { variant: 'v8' } : {}) };
}

const ARCHITECTURE_NAMES: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  armhf: 'arm',
  i386: '386',
};

/** `os/architecture[/variant]`, or one of the first two; what is left out is this machine's. `invalid` for anything else. */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split('/');
  if (parts.length > 3 || parts.some((part) => !/^[a-z0-9_.-]+$/.test(part)))
    throw invalid(`"${text}" is an invalid platform: write os/architecture, such as linux/amd64`);
  const [first = '', second, variant] = parts;
  const host = hostPlatform();
  const normal = (name: string): string => ARCHITECTURE_NAMES[name] ?? name;
  if (second === undefined) return first === 'linux' ? host : { os: host.os, architecture: normal(first) };
  return { os: first, architecture: normal(second), ...(variant === undefined ? {} : { variant }) };
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  const isDefault = architecture === 'arm64' && variant === 'v8';
  return [os, architecture, ...(variant && !isDefault ? [variant] : [])].join('/');
}

/** Whether what is for `offered` runs as `wanted`; a variant counts only where both name one. */
export function platformMatches(offered: Platform, wanted: Platform): boolean {
  return (
    offered.os === wanted.os &&
    offered.architecture === wanted.architecture &&
    (!offered.variant || !wanted.variant || offered.variant === wanted.variant)
  );
}

/** The descriptor of an index for a platform: the one that names it, or the only one there is without a platform. */
export function chooseManifest(index: ImageIndex, wanted: Platform): Descriptor | undefined {
  const images = index.manifests.filter(({ platform }) => platform?.os !== 'unknown');
  const named = images.find(({ platform }) => platform && platformMatches(platform, wanted));
  if (named !== undefined) return named;
  const [only, ...others] = images;
  return others.length === 0 && !only?.platform ? only : undefined;
}
