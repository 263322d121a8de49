import { closeSync, createReadStream, openSync, readSync } from 'node:fs';
import { z } from 'zod';
import { endOfArchive, formatHeader, padding, type TarEntry } from '#engine/layers/tar-header.ts';
import { readTar } from '#engine/layers/tar-reader.ts';
import { invalid } from '#model/errors.ts';

/** `manifest.json` of `docker save`. */
export interface SavedManifestEntry {
  Config: string;
  RepoTags?: string[] | null | undefined;
  Layers: string[];
}

export const SavedManifest: z.ZodType<SavedManifestEntry[]> = z.array(
  z.object({ Config: z.string(), RepoTags: z.array(z.string()).nullish(), Layers: z.array(z.string()) }),
);

/** The OCI image specification's descriptor. */
export interface Descriptor {
  mediaType?: string | null | undefined;
  digest: string;
  size: number;
  annotations?: Record<string, string> | null | undefined;
}

const descriptor: z.ZodType<Descriptor> = z.object({
  mediaType: z.string().nullish(),
  digest: z.string(),
  size: z.number(),
  annotations: z.record(z.string(), z.string()).nullish(),
});

/** The OCI image specification's index. */
export const OciIndex: z.ZodType<{ manifests: Descriptor[] }> = z.object({ manifests: z.array(descriptor) });

/** The OCI image specification's manifest. */
export const OciManifest: z.ZodType<{ config: Descriptor; layers: Descriptor[] }> = z.object({
  config: descriptor,
  layers: z.array(descriptor),
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

const LARGEST_DOCUMENT = 16 * 1024 * 1024;

/** Random access to the files of an uncompressed tar archive on disk. */
export class IndexedArchive implements Disposable {
  readonly #file: string;
  readonly #fd: number;
  readonly #places = new Map<string, { offset: number; size: number }>();

  constructor(file: string) {
    this.#file = file;
    this.#fd = openSync(file, 'r');
    try {
      for (const { entry, dataOffset } of readTar(this.#fd)) {
        const name = clean(entry.name);
        if (entry.type === 'file') this.#places.set(name, { offset: dataOffset, size: entry.size });
        // Archives of old docker versions name a layer that two images share once and link to it.
        const linked = entry.type === 'hardlink' ? this.#places.get(clean(entry.linkName)) : undefined;
        if (linked !== undefined) this.#places.set(name, linked);
      }
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  has(name: string): boolean {
    return this.#places.has(clean(name));
  }

  /** A small file, whole; `invalid` where it is missing or larger than 16 MiB. */
  document(name: string): Buffer {
    const { offset, size } = this.#place(name);
    if (size > LARGEST_DOCUMENT) throw invalid(`${name} in the archive is too large`);
    const data = Buffer.alloc(size);
    readSync(this.#fd, data, 0, size, offset);
    return data;
  }

  stream(name: string): ReturnType<typeof createReadStream> {
    const { offset, size } = this.#place(name);
    return createReadStream(this.#file, {
      start: offset,
      end: offset + size - 1,
      highWaterMark: 1024 * 1024,
    });
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  #place(name: string): { offset: number; size: number } {
    const place = this.#places.get(clean(name));
    if (place === undefined) throw invalid(`invalid archive: ${JSON.stringify(name)} is missing in it`);
    return place;
  }
}

function clean(name: string): string {
  return name.replace(/^(\.?\/)+/, '');
}

/** JSON of a document, checked; `what` is named in the error. */
export function parseDocument<T>(schema: z.ZodType<T>, data: Buffer, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(data.toString('utf8'));
  } catch (error) {
    throw invalid(`invalid archive: ${what} is not JSON`, { cause: error });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw invalid(`invalid archive: ${what}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
}

export interface SavedImage {
  configuration: Buffer;
  configurationDigest: string;
  manifest: Buffer;
  manifestDigest: string;
  layers: { digest: string; path: string; size: number }[];
  repoTags: string[];
}

/** `docker save`: an OCI image layout with Docker's manifest.json beside it, so that both kinds of reader load it. */
export async function* writeArchive(images: readonly SavedImage[]): AsyncGenerator<Buffer> {
  const written = new Set<string>();
  function* document(name: string, data: Buffer): Generator<Buffer> {
    yield formatHeader(fileEntry(name, data.length));
    yield data;
    yield padding(data.length);
  }
  for (const image of images) {
    for (const layer of image.layers) {
      if (written.has(layer.digest)) continue;
      written.add(layer.digest);
      yield formatHeader(fileEntry(blobName(layer.digest), layer.size));
      for await (const chunk of createReadStream(layer.path, { highWaterMark: 1024 * 1024 })) yield chunk;
      yield padding(layer.size);
    }
    for (const [digest, data] of [
      [image.configurationDigest, image.configuration],
      [image.manifestDigest, image.manifest],
    ] as const) {
      if (written.has(digest)) continue;
      written.add(digest);
      yield* document(blobName(digest), data);
    }
  }
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: images.flatMap((image) => {
      const described = {
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        digest: image.manifestDigest,
        size: image.manifest.length,
      };
      if (image.repoTags.length === 0) return [described];
      return image.repoTags.map((tag) => ({
        ...described,
        annotations: {
          'io.containerd.image.name': tag,
          'org.opencontainers.image.ref.name': tag.slice(tag.lastIndexOf(':') + 1),
        },
      }));
    }),
  };
  const saved = images.map((image) => ({
    Config: blobName(image.configurationDigest),
    RepoTags: image.repoTags.length === 0 ? null : image.repoTags,
    Layers: image.layers.map((layer) => blobName(layer.digest)),
  }));
  yield* document('index.json', Buffer.from(JSON.stringify(index)));
  yield* document('manifest.json', Buffer.from(JSON.stringify(saved)));
  yield* document('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  yield endOfArchive();
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

function fileEntry(name: string, size: number): TarEntry {
  return {
    name,
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size,
    mtimeNs: 0n,
    linkName: '',
    major: 0,
    minor: 0,
    attributes: [],
  };
}
