import { closeSync, openSync, readSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { ArchiveSource } from '#engine/layers/archive-pass.ts';
import { completeFile } from '#engine/layers/layer-workers.ts';
import { endOfArchive, formatHeader, padding, type TarEntry } from '#engine/layers/tar-header.ts';
import { readTar } from '#engine/layers/tar-reader.ts';
import { invalid } from '#model/errors.ts';
import { ImageManifest, OCI_INDEX, OCI_MANIFEST, parseDocument } from './image-documents.ts';

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

  /** A file of the archive where it lies. */
  source(name: string): ArchiveSource {
    const { offset, size } = this.#place(name);
    return { path: this.#file, start: offset, length: size, growth: completeFile() };
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

export interface SavedImage {
  configuration: Buffer;
  configurationDigest: string;
  manifest: Buffer;
  manifestDigest: string;
  layers: { digest: string; size: number; read: () => Readable }[];
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
      for await (const chunk of layer.read()) yield chunk;
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
    mediaType: OCI_INDEX,
    manifests: images.flatMap((image) => {
      const described = {
        mediaType: manifestMediaType(image.manifest),
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

function manifestMediaType(manifest: Buffer): string {
  return parseDocument(ImageManifest, manifest, 'the manifest').mediaType ?? OCI_MANIFEST;
}

/** Where an OCI image layout keeps a blob. */
export function blobName(digest: string): string {
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
