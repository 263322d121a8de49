import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { EventBus } from '#engine/events/event-bus.ts';
import { makeWorkDirectory, spool, unpackInWorker } from '#engine/layers/archive-unpacker.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import type { RecordStore } from '#engine/records/record-store.ts';
import { conflict, invalid, notFound } from '#model/errors.ts';
import type { Image, ImageConfiguration } from '#model/image.ts';
import {
  ConfigurationShape,
  IndexedArchive,
  OciIndex,
  OciManifest,
  parseDocument,
  type SavedImage,
  SavedManifest,
  writeArchive,
} from './image-archive.ts';
import { applyChanges } from './image-changes.ts';
import { type ImageReference, parseReference, referenceKey } from './reference.ts';

/** One line of Docker's progress stream. */
export interface ProgressLine {
  status?: string;
  id?: string;
  progress?: string;
  progressDetail?: { current?: number; total?: number };
  stream?: string;
  aux?: unknown;
}

export type RemovalStep = { Untagged: string } | { Deleted: string };

/** A container that an image cannot be removed under. */
export interface ImageUser {
  id: string;
  name: string;
  running: boolean;
}

type ImageRecord = Omit<Image, 'repoTags' | 'repoDigests'>;

interface ReferenceRecord {
  key: string;
  familiar: string;
  imageId: string;
}

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';
const SHORT_ID = /^[0-9a-f]{1,64}$/;

/** Images of one host: configurations and manifests as blobs, names as records. An image is there once its record is. */
export class ImageStore {
  readonly #dataRoot: string;
  readonly #records: RecordStore;
  readonly #layers: LayerStore;
  readonly #events: EventBus;
  /** Imports and loads under way, whose layers no image names yet: nothing is swept meanwhile. */
  #writers = 0;
  #sweepWanted = false;

  constructor(o: { dataRoot: string; records: RecordStore; layers: LayerStore; events: EventBus }) {
    this.#dataRoot = o.dataRoot;
    this.#records = o.records;
    this.#layers = o.layers;
    this.#events = o.events;
  }

  /** At start: removes what an interrupted import or load left. */
  recover(): void {
    this.#layers.recover();
    this.#sweep();
  }

  /** By name[:tag], name@digest, ID or unambiguous beginning of an ID; `not-found` otherwise. */
  resolve(reference: string): Image {
    const image = this.#find(reference);
    if (image === undefined) throw notFound(`No such image: ${reference}`);
    return image;
  }

  list(): Image[] {
    const tags = Map.groupBy(this.#records.list<ReferenceRecord>('reference'), (each) => each.imageId);
    return this.#records
      .list<ImageRecord>('image')
      .map((record) => withNames(record, tags.get(record.id) ?? []));
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
    const [os = 'linux', architecture = ARCHITECTURE] = (o.platform ?? '')
      .split('/')
      .filter((part) => part !== '');
    using _writing = this.#writing();
    using work = makeWorkDirectory(this.#dataRoot);
    const source = join(work.path, 'source');
    await spool(o.archive, source, o.signal);
    const layer = await this.#layers.unpack({ source, parentChainId: undefined });
    const created = new Date().toISOString();
    const configuration: ImageConfiguration = {
      created,
      architecture,
      os,
      config,
      rootfs: { type: 'layers', diff_ids: [layer.diffId] },
      history: [{ created, comment: o.message }],
    };
    const image = this.#store(Buffer.from(JSON.stringify(configuration)), [layer.chainId]);
    if (reference !== undefined) this.#point(reference, image.id);
    this.#events.publish('image', 'import', image.id, { name: reference?.familiar ?? image.id });
    return this.resolve(image.id);
  }

  /** `docker load`: archives of `docker save` and OCI image layouts, plain or compressed. */
  async load(o: {
    archive: Readable;
    report: (line: ProgressLine) => void;
    signal?: AbortSignal;
  }): Promise<void> {
    using _writing = this.#writing();
    using work = makeWorkDirectory(this.#dataRoot);
    const source = join(work.path, 'source');
    const plain = join(work.path, 'archive');
    await spool(o.archive, source, o.signal);
    await unpackInWorker({ source, plain, target: undefined, options: { whiteouts: false } });
    using archive = new IndexedArchive(plain);
    const images = archive.has('manifest.json') ? savedImages(archive) : layoutImages(archive);
    if (images.length === 0) throw invalid('invalid archive: it holds no image');
    for (const each of images) {
      const image = await this.#loadOne(archive, each, work.path);
      for (const tag of each.repoTags) this.#point(parseReference(tag), image.id);
      this.#events.publish('image', 'load', image.id, { name: image.id });
      if (each.repoTags.length === 0) o.report({ stream: `Loaded image ID: ${image.id}\n` });
      for (const tag of each.repoTags) {
        const { familiar, tag: version = 'latest' } = parseReference(tag);
        o.report({ stream: `Loaded image: ${familiar}:${version}\n` });
      }
    }
  }

  /** `docker save`: every digest stays what it is. */
  save(references: readonly string[]): Readable {
    const chosen = new Map<string, SavedImage>();
    for (const reference of references) {
      const image = this.resolve(reference);
      const saved = chosen.get(image.id) ?? this.#saved(image);
      chosen.set(image.id, saved);
      if (isId(reference, image)) continue;
      const { tag } = parseReference(reference);
      const { familiar } = parseReference(reference);
      const name = `${familiar}:${tag ?? 'latest'}`;
      if (!saved.repoTags.includes(name)) saved.repoTags.push(name);
    }
    for (const id of chosen.keys()) this.#events.publish('image', 'save', id, { name: id });
    return Readable.from(writeArchive([...chosen.values()]), { objectMode: false });
  }

  /** `docker tag`; `target` is repository[:tag]. */
  tag(reference: string, target: string): void {
    const image = this.resolve(reference);
    const parsed = parseReference(target);
    if (parsed.digest !== undefined) throw invalid('refusing to create a tag with a digest reference');
    this.#point(parsed, image.id);
    this.#events.publish('image', 'tag', image.id, { name: `${parsed.familiar}:${parsed.tag ?? 'latest'}` });
  }

  /** `docker rmi`, with Docker's rules about names, containers and force. */
  remove(
    reference: string,
    o: { force: boolean; noPrune: boolean; users: (imageId: string) => ImageUser[] },
  ): RemovalStep[] {
    const image = this.resolve(reference);
    const byId = isId(reference, image);
    const users = o.users(image.id);
    const shortId = image.id.slice(7, 19);
    if (!byId) {
      const parsed = parseReference(reference);
      const last = image.repoTags.length <= 1;
      const [user] = users;
      if (last && !o.force && user !== undefined) {
        throw conflict(
          `conflict: unable to remove repository reference ${JSON.stringify(reference)} (must force) - container ${user.id.slice(0, 12)} is using its referenced image ${shortId}`,
        );
      }
      const steps: RemovalStep[] = [this.#untag(image.id, parsed)];
      if (!last || users.length > 0) return steps;
      return [...steps, ...this.#delete(image)];
    }
    const running = users.find((user) => user.running);
    if (running !== undefined) {
      throw conflict(
        `conflict: unable to delete ${shortId} (cannot be forced) - image is being used by running container ${running.id.slice(0, 12)}`,
      );
    }
    const [stopped] = users;
    if (stopped !== undefined && !o.force) {
      throw conflict(
        `conflict: unable to delete ${shortId} (must be forced) - image is being used by stopped container ${stopped.id.slice(0, 12)}`,
      );
    }
    if (image.repoTags.length > 1 && !o.force) {
      throw conflict(
        `conflict: unable to delete ${shortId} (must be forced) - image is referenced in multiple repositories`,
      );
    }
    const steps = image.repoTags.map((tag) => this.#untag(image.id, parseReference(tag)));
    return users.length > 0 ? steps : [...steps, ...this.#delete(image)];
  }

  /** `docker image prune`: images without a name (with `all`, every image) that no container uses. */
  prune(o: { all: boolean; inUse: (imageId: string) => boolean; accept: (image: Image) => boolean }): {
    deleted: RemovalStep[];
    bytes: number;
  } {
    const deleted: RemovalStep[] = [];
    let bytes = 0;
    for (const image of this.list()) {
      if ((!o.all && image.repoTags.length > 0) || o.inUse(image.id) || !o.accept(image)) continue;
      deleted.push(
        ...image.repoTags.map((tag) => this.#untag(image.id, parseReference(tag))),
        ...this.#delete(image),
      );
      bytes += image.size;
    }
    return { deleted, bytes };
  }

  /** `docker history`, newest first. */
  history(reference: string): {
    Id: string;
    Created: number;
    CreatedBy: string;
    Tags: string[] | null;
    Size: number;
    Comment: string;
  }[] {
    const image = this.resolve(reference);
    const sizes = image.chainIds.map((chainId) => this.#layers.size(chainId));
    const entries = (image.configuration.history ?? []).map((entry) => ({
      Id: '<missing>',
      Created: Math.floor(Date.parse(entry.created ?? '1970-01-01T00:00:00Z') / 1000),
      CreatedBy: entry.created_by ?? '',
      Tags: null as string[] | null,
      Size: entry.empty_layer === true ? 0 : (sizes.shift() ?? 0),
      Comment: entry.comment ?? '',
    }));
    const newest = entries.reverse();
    const [top] = newest;
    if (top !== undefined)
      Object.assign(top, { Id: image.id, Tags: image.repoTags.length === 0 ? null : image.repoTags });
    return newest;
  }

  /** Content of the image's configuration as it was stored, byte for byte. */
  #saved(image: Image): SavedImage {
    return {
      configuration: readFileSync(this.#layers.blobPath(image.id)),
      configurationDigest: image.id,
      manifest: readFileSync(this.#layers.blobPath(image.manifestDigest)),
      manifestDigest: image.manifestDigest,
      layers: image.configuration.rootfs.diff_ids.map((digest) => {
        const path = this.#layers.blobPath(digest);
        return { digest, path, size: statSync(path).size };
      }),
      repoTags: [],
    };
  }

  async #loadOne(archive: IndexedArchive, image: ArchivedImage, work: string): Promise<ImageRecord> {
    const bytes = archive.document(image.config);
    if (image.configDigest !== undefined && digestOf(bytes) !== image.configDigest) {
      throw invalid(
        `invalid archive: ${image.config} is ${digestOf(bytes)}, its manifest says ${image.configDigest}`,
      );
    }
    const configuration = parseDocument(ConfigurationShape, bytes, image.config);
    const diffIds = configuration.rootfs.diff_ids;
    if (diffIds.length !== image.layers.length) {
      throw invalid(
        `invalid archive: ${image.layers.length} layers, but the configuration names ${diffIds.length}`,
      );
    }
    const chainIds: string[] = [];
    for (const [index, layer] of image.layers.entries()) {
      const source = join(work, `layer-${index}`);
      await spool(archive.stream(layer), source);
      const expectedDiffId = diffIds[index] ?? '';
      const unpacked = await this.#layers.unpack({ source, parentChainId: chainIds.at(-1), expectedDiffId });
      chainIds.push(unpacked.chainId);
    }
    return this.#store(bytes, chainIds);
  }

  /** Writes configuration and manifest as blobs, then the record that makes the image exist. */
  #store(configurationBytes: Buffer, chainIds: string[]): ImageRecord {
    const id = digestOf(configurationBytes);
    const configuration: ImageConfiguration = JSON.parse(configurationBytes.toString('utf8'));
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST_TYPE,
        config: { mediaType: CONFIG_TYPE, digest: id, size: configurationBytes.length },
        layers: configuration.rootfs.diff_ids.map((digest) => ({
          mediaType: LAYER_TYPE,
          digest,
          size: statSync(this.#layers.blobPath(digest)).size,
        })),
      }),
    );
    const record: ImageRecord = {
      id,
      manifestDigest: digestOf(manifest),
      configuration,
      chainIds,
      size: chainIds.reduce((sum, chainId) => sum + this.#layers.size(chainId), 0),
    };
    for (const data of [configurationBytes, manifest]) {
      const path = this.#layers.blobPath(digestOf(data));
      if (!existsSync(path)) writeFileSync(path, data, { mode: 0o600 });
    }
    this.#records.put('image', id, record);
    return record;
  }

  #point(reference: ImageReference, imageId: string): void {
    const key = referenceKey(reference);
    const record: ReferenceRecord = {
      key,
      familiar: `${reference.familiar}:${reference.tag ?? 'latest'}`,
      imageId,
    };
    this.#records.put('reference', key, record);
  }

  #untag(imageId: string, reference: ImageReference): RemovalStep {
    this.#records.delete('reference', referenceKey(reference));
    const name = `${reference.familiar}:${reference.tag ?? 'latest'}`;
    this.#events.publish('image', 'untag', imageId, { name });
    return { Untagged: name };
  }

  #delete(image: Image): RemovalStep[] {
    this.#records.delete('image', image.id);
    this.#events.publish('image', 'delete', image.id, { name: image.id });
    const used = new Set(this.list().flatMap((each) => each.chainIds));
    const gone = image.chainIds.filter((chainId) => !used.has(chainId)).reverse();
    this.#sweep();
    return [{ Deleted: image.id }, ...gone.map((Deleted) => ({ Deleted }))];
  }

  #find(reference: string): Image | undefined {
    const hex = reference.replace(/^sha256:/, '');
    const exact = hex.length === 64 ? this.#records.get<ImageRecord>('image', `sha256:${hex}`) : undefined;
    if (exact !== undefined) return this.#named(exact);
    if (!reference.startsWith('sha256:')) {
      const parsed = parseReference(reference);
      if (parsed.digest !== undefined) return this.#byDigest(parsed);
      const named = this.#records.get<ReferenceRecord>('reference', referenceKey(parsed));
      const record = named === undefined ? undefined : this.#records.get<ImageRecord>('image', named.imageId);
      if (record !== undefined) return this.#named(record);
    }
    if (!SHORT_ID.test(hex)) return undefined;
    const matches = this.#records
      .list<ImageRecord>('image')
      .filter((record) => record.id.startsWith(`sha256:${hex}`));
    if (matches.length > 1)
      throw invalid(`ambiguous image ID: ${reference}`, { hint: 'Give more of its digits.' });
    const [match] = matches;
    return match === undefined ? undefined : this.#named(match);
  }

  #byDigest(reference: ImageReference): Image | undefined {
    return this.list().find(
      (image) => image.manifestDigest === reference.digest || image.id === reference.digest,
    );
  }

  #named(record: ImageRecord): Image {
    return withNames(
      record,
      this.#records.list<ReferenceRecord>('reference').filter((each) => each.imageId === record.id),
    );
  }

  #writing(): Disposable {
    this.#writers += 1;
    return {
      [Symbol.dispose]: () => {
        this.#writers -= 1;
        if (this.#writers === 0 && this.#sweepWanted) this.#sweep();
      },
    };
  }

  #sweep(): void {
    this.#sweepWanted = this.#writers > 0;
    if (this.#sweepWanted) return;
    const images = this.#records.list<ImageRecord>('image');
    this.#layers.sweep({
      chainIds: new Set(images.flatMap((image) => image.chainIds)),
      digests: new Set(images.flatMap((image) => [image.id, image.manifestDigest])),
    });
  }
}

/** An image in an archive: names of files in it. */
interface ArchivedImage {
  config: string;
  configDigest: string | undefined;
  layers: string[];
  repoTags: string[];
}

function savedImages(archive: IndexedArchive): ArchivedImage[] {
  return parseDocument(SavedManifest, archive.document('manifest.json'), 'manifest.json').map((image) => ({
    config: image.Config,
    configDigest: undefined,
    layers: image.Layers,
    repoTags: image.RepoTags ?? [],
  }));
}

function layoutImages(archive: IndexedArchive): ArchivedImage[] {
  if (!archive.has('index.json'))
    throw invalid('invalid archive: neither manifest.json nor index.json is in it');
  const index = parseDocument(OciIndex, archive.document('index.json'), 'index.json');
  return index.manifests.map((described) => {
    const name = blobName(described.digest);
    const bytes = archive.document(name);
    if (digestOf(bytes) !== described.digest)
      throw invalid(`invalid archive: ${name} does not have its digest`);
    const manifest = parseDocument(OciManifest, bytes, name);
    const tag =
      described.annotations?.['io.containerd.image.name'] ??
      described.annotations?.['org.opencontainers.image.ref.name'];
    return {
      config: blobName(manifest.config.digest),
      configDigest: manifest.config.digest,
      layers: manifest.layers.map((layer) => blobName(layer.digest)),
      repoTags: tag === undefined ? [] : [tag],
    };
  });
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

function digestOf(data: Buffer): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}

/** Whether the user named the image by its ID rather than by a tag. */
function isId(reference: string, image: Image): boolean {
  const hex = reference.replace(/^sha256:/, '');
  if (reference.includes('@')) return true;
  if (!SHORT_ID.test(hex) || !image.id.startsWith(`sha256:${hex}`)) return false;
  return !image.repoTags.includes(`${reference}:latest`);
}

function withNames(record: ImageRecord, references: readonly ReferenceRecord[]): Image {
  return { ...record, repoTags: references.map((each) => each.familiar).sort(), repoDigests: [] };
}

const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;
