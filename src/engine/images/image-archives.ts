import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { digestOf, type Lease } from '#engine/blobs/blob-store.ts';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import { completeFile, makeWorkDirectory, spool } from '#engine/layers/layer-workers.ts';
import { internal, invalid } from '#model/errors.ts';
import type { Image, ImageConfiguration, ProgressLine } from '#model/image.ts';
import { blobName, IndexedArchive, type SavedImage, writeArchive } from './image-archive.ts';
import { applyChanges } from './image-changes.ts';
import {
  ConfigurationShape,
  chooseManifest,
  formatPlatform,
  hostPlatform,
  ImageIndex,
  ImageManifest,
  manifestKind,
  parseDocument,
  parsePlatform,
  SavedManifest,
} from './image-documents.ts';
import { type ImageStore, isId } from './image-store.ts';
import { parseReference } from './reference.ts';

/** As deep as anybody nests indexes; one that names itself ends here. */
const DEEPEST_INDEX = 4;

/** Images from and to archives: `docker import`, `docker load`, `docker save`. */
export class ImageArchives {
  readonly #dataRoot: string;
  readonly #images: ImageStore;
  readonly #layers: LayerStore;
  readonly #events: EventBus;

  constructor(o: { dataRoot: string; images: ImageStore; layers: LayerStore; events: EventBus }) {
    this.#dataRoot = o.dataRoot;
    this.#images = o.images;
    this.#layers = o.layers;
    this.#events = o.events;
  }

  /** `docker import`: a root file system becomes an image of one layer. */
  async import(o: {
    archive: Readable;
    reference: string | undefined;
    message: string;
    changes: readonly string[];
    platform?: string;
    signal?: AbortSignal;
  }): Promise<Image> {
    const reference =
      o.reference === undefined || o.reference === '' ? undefined : parseReference(o.reference);
    if (reference?.digest !== undefined) throw invalid('cannot import digest reference');
    const config = applyChanges({}, o.changes);
    const platform = o.platform === undefined ? hostPlatform() : parsePlatform(o.platform);
    using lease = this.#layers.blobs.lease();
    using work = makeWorkDirectory(this.#dataRoot);
    const path = join(work.path, 'source');
    await spool(o.archive, path, o.signal);
    const layer = await this.#layers.unpack({
      source: { path, growth: completeFile() },
      lease,
      // its manifest names layers uncompressed
      blob: 'plain',
      checkFirst: true,
    });
    const created = new Date().toISOString();
    const configuration: ImageConfiguration = {
      created,
      architecture: platform.architecture,
      ...(platform.variant ? { variant: platform.variant } : {}),
      os: platform.os,
      config,
      rootfs: { type: 'layers', diff_ids: [layer.diffId] },
      history: [{ created, comment: o.message }],
    };
    const image = this.#images.add({ configuration: Buffer.from(JSON.stringify(configuration)) });
    if (reference !== undefined) this.#images.point(reference, image.id);
    this.#events.publish('image', 'import', image.id, { name: reference?.familiar ?? image.id });
    return this.#images.resolve(image.id);
  }

  /** `docker load`: archives of `docker save` and OCI image layouts, plain or compressed. */
  async load(o: {
    archive: Readable;
    report: (line: ProgressLine) => void;
    platform?: string;
    signal?: AbortSignal;
  }): Promise<Image[]> {
    using lease = this.#layers.blobs.lease();
    using work = makeWorkDirectory(this.#dataRoot);
    const source = join(work.path, 'source');
    await spool(o.archive, source, o.signal);
    const plain = await this.#plain(source, work.path);
    using archive = new IndexedArchive(plain);
    const wanted = o.platform === undefined ? hostPlatform() : parsePlatform(o.platform);
    const images = archive.has('manifest.json') ? savedImages(archive) : layoutImages(archive, wanted);
    if (images.length === 0) throw invalid('invalid archive: it holds no image');
    const loaded: Image[] = [];
    for (const each of images) {
      const image = await this.#loadOne(archive, each, lease);
      loaded.push(image);
      for (const tag of each.repoTags) this.#images.point(parseReference(tag), image.id);
      this.#events.publish('image', 'load', image.id, { name: image.id });
      if (each.repoTags.length === 0) o.report({ stream: `Loaded image ID: ${image.id}\n` });
      for (const tag of each.repoTags) {
        const { familiar, tag: version = 'latest' } = parseReference(tag);
        o.report({ stream: `Loaded image: ${familiar}:${version}\n` });
      }
    }
    return loaded;
  }

  /** The uncompressed archive: `source` itself where it is one. */
  async #plain(source: string, directory: string): Promise<string> {
    const plain = join(directory, 'archive');
    const { diffId, sourceDigest } = await this.#layers.workers.run('unpack', {
      source: { path: source, growth: completeFile() },
      options: { whiteouts: false },
      plain,
    });
    return existsSync(plain) && diffId !== sourceDigest ? plain : source;
  }

  /** `docker save`: every digest stays what it is. */
  async save(references: readonly string[]): Promise<Readable> {
    const lease = this.#layers.blobs.lease();
    try {
      const chosen = new Map<string, SavedImage>();
      for (const reference of references) {
        const image = this.#images.resolve(reference);
        const saved = chosen.get(image.id) ?? (await this.#saved(image, lease));
        chosen.set(image.id, saved);
        if (isId(reference, image)) continue;
        const { familiar, tag } = parseReference(reference);
        const name = `${familiar}:${tag ?? 'latest'}`;
        if (!saved.repoTags.includes(name)) saved.repoTags.push(name);
      }
      for (const id of chosen.keys()) this.#events.publish('image', 'save', id, { name: id });
      const stream = Readable.from(writeArchive([...chosen.values()]), { objectMode: false });
      stream.once('close', () => lease[Symbol.dispose]());
      return stream;
    } catch (error) {
      lease[Symbol.dispose]();
      throw error;
    }
  }

  async #saved(image: Image, lease: Lease): Promise<SavedImage> {
    const { blobs } = this.#layers;
    const manifest = blobs.document(image.manifestDigest);
    const { layers } = parseDocument(ImageManifest, manifest, 'the manifest');
    const parts: SavedImage['layers'] = [];
    for (const [index, { digest, size }] of layers.entries()) {
      lease.keep(digest);
      if (!blobs.has(digest)) {
        const made = await this.#layers.archive(image.configuration.rootfs.diff_ids[index] ?? '', {
          compress: false,
          lease,
        });
        if (made?.digest !== digest)
          throw internal(`layer ${digest} of image ${image.id} is not in the store`);
      }
      parts.push({ digest, size, read: () => blobs.read(digest) });
    }
    return {
      configuration: blobs.document(image.id),
      configurationDigest: image.id,
      manifest,
      manifestDigest: image.manifestDigest,
      layers: parts,
      repoTags: [],
    };
  }

  async #loadOne(archive: IndexedArchive, image: ArchivedImage, lease: Lease): Promise<Image> {
    const bytes = archive.document(image.config);
    if (image.configDigest !== undefined && digestOf(bytes) !== image.configDigest) {
      throw invalid(
        `invalid archive: ${image.config} is ${digestOf(bytes)}, its manifest says ${image.configDigest}`,
      );
    }
    const configuration = parseDocument(ConfigurationShape, bytes, `invalid archive: ${image.config}`);
    const diffIds = configuration.rootfs.diff_ids;
    if (diffIds.length !== image.layers.length) {
      throw invalid(
        `invalid archive: ${image.layers.length} layers, but the configuration names ${diffIds.length}`,
      );
    }
    await Promise.all(
      image.layers.map((layer, index) =>
        this.#loadLayer(archive, layer, diffIds[index] ?? '', image.layerDigests?.[index], lease),
      ),
    );
    return this.#images.add({
      configuration: bytes,
      ...(image.manifest === undefined ? {} : { manifest: image.manifest }),
    });
  }

  async #loadLayer(
    archive: IndexedArchive,
    name: string,
    expectedDiffId: string,
    expectedDigest: string | undefined,
    lease: Lease,
  ): Promise<void> {
    const { blobs } = this.#layers;
    for (const digest of [expectedDiffId, expectedDigest]) if (digest !== undefined) lease.keep(digest);
    const source = archive.source(name);
    const isKept = (): boolean => expectedDigest === undefined || blobs.has(expectedDigest);
    await this.#layers.once(expectedDiffId, () =>
      this.#unpack(source, expectedDiffId, expectedDigest, lease),
    );
    if (!isKept()) await this.#unpack(source, expectedDiffId, expectedDigest, lease);
  }

  async #unpack(
    source: ReturnType<IndexedArchive['source']>,
    expectedDiffId: string,
    expectedDigest: string | undefined,
    lease: Lease,
  ): Promise<void> {
    await this.#layers.unpack({
      source,
      lease,
      blob: true,
      expectedDiffId,
      ...(expectedDigest === undefined ? {} : { expectedDigest }),
    });
  }
}

/** An image in an archive: names of files in it. */
interface ArchivedImage {
  config: string;
  configDigest: string | undefined;
  layers: string[];
  /** As the image's manifest names them; without a manifest they are not known. */
  layerDigests?: string[];
  manifest?: Buffer;
  repoTags: string[];
}

function savedImages(archive: IndexedArchive): ArchivedImage[] {
  const saved = parseDocument(
    SavedManifest,
    archive.document('manifest.json'),
    'invalid archive: manifest.json',
  );
  // Archives of today are OCI layouts as well, which say by which manifest an image is known.
  const described = archive.has('index.json') ? layoutImages(archive, undefined) : [];
  return saved.map((image) => {
    const same = described.find(
      (each) => each.config === image.Config && each.layers.join() === image.Layers.join(),
    );
    return {
      ...(same ?? { configDigest: undefined, layers: image.Layers }),
      config: image.Config,
      repoTags: image.RepoTags ?? [],
    };
  });
}

/** The images of an OCI layout; of those for several platforms the one for `wanted`, or all that are there. */
function layoutImages(
  archive: IndexedArchive,
  wanted: ReturnType<typeof hostPlatform> | undefined,
): ArchivedImage[] {
  if (!archive.has('index.json'))
    throw invalid('invalid archive: neither manifest.json nor index.json is in it');
  const top = parseDocument(ImageIndex, archive.document('index.json'), 'invalid archive: index.json');
  const images: ArchivedImage[] = [];
  const visit = (described: ImageIndex['manifests'][number], tags: string[], depth: number): void => {
    const name = blobName(described.digest);
    if (wanted === undefined && !archive.has(name)) return;
    const bytes = archive.document(name);
    if (digestOf(bytes) !== described.digest)
      throw invalid(`invalid archive: ${name} does not have its digest`);
    if (manifestKind(bytes, described.mediaType ?? undefined) === 'manifest') {
      images.push(archivedImage(bytes, name, tags));
      return;
    }
    if (depth >= DEEPEST_INDEX)
      throw invalid(`invalid archive: ${name} is an index inside of too many others`);
    const index = parseDocument(ImageIndex, bytes, `invalid archive: ${name}`);
    if (wanted === undefined) {
      for (const each of index.manifests) visit(each, tags, depth + 1);
      return;
    }
    const chosen = chooseManifest(index, wanted);
    if (chosen === undefined)
      throw invalid(`the archive holds no image for ${formatPlatform(wanted)}`, {
        hint: 'Choose one of its platforms with --platform.',
      });
    visit(chosen, tags, depth + 1);
  };
  for (const described of top.manifests) {
    const tag =
      described.annotations?.['io.containerd.image.name'] ??
      described.annotations?.['org.opencontainers.image.ref.name'];
    visit(described, tag === undefined ? [] : [tag], 1);
  }
  return images;
}

function archivedImage(bytes: Buffer, name: string, tags: string[]): ArchivedImage {
  const manifest = parseDocument(ImageManifest, bytes, `invalid archive: ${name}`);
  return {
    config: blobName(manifest.config.digest),
    configDigest: manifest.config.digest,
    layers: manifest.layers.map((layer) => blobName(layer.digest)),
    layerDigests: manifest.layers.map((layer) => layer.digest),
    manifest: bytes,
    repoTags: tags,
  };
}
