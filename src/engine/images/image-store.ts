import { digestOf } from '#engine/blobs/blob-store.ts';
import type { EventBus } from '#engine/events/event-bus.ts';
import { chainIds, type LayerStore } from '#engine/layers/layer-store.ts';
import type { RecordStore } from '#engine/records/record-store.ts';
import { conflict, invalid, notFound } from '#model/errors.ts';
import type { Attestation, Image, ImageConfiguration, ImageLineage } from '#model/image.ts';
import { ImageManifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, parseDocument } from './image-documents.ts';
import { baseAnnotations } from './image-lineage.ts';
import { type ImageReference, parseReference, referenceKey } from './reference.ts';

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

const SHORT_ID = /^[0-9a-f]{1,64}$/;

/** Images of one host: configurations and manifests as blobs, names as records. An image is there once its record is. */
export class ImageStore {
  readonly #records: RecordStore;
  readonly #layers: LayerStore;
  readonly #events: EventBus;

  constructor(o: { records: RecordStore; layers: LayerStore; events: EventBus }) {
    this.#records = o.records;
    this.#layers = o.layers;
    this.#events = o.events;
    o.layers.blobs.addReferrer(() => this.#digests());
    o.layers.addReferrer(() => this.#diffIds());
  }

  /** At start: removes what an interrupted import or load left. */
  recover(): void {
    this.#layers.recover();
    this.#layers.sweep();
  }

  /** By name[:tag], name@digest, ID or unambiguous beginning of an ID; `not-found` otherwise. */
  resolve(reference: string): Image {
    const image = this.#find(reference);
    if (image === undefined) throw notFound(`No such image: ${reference}`);
    return image;
  }

  /** The image of an ID that is known to be one; undefined where it has been removed. */
  withId(id: string): Image | undefined {
    const record = this.#records.get<ImageRecord>('image', id);
    return record === undefined ? undefined : this.#imageOf(record);
  }

  /** The image that bears this very name here: a tag, or a repository's digest. */
  named(reference: ImageReference): Image | undefined {
    const { name, digest } = reference;
    const known =
      digest === undefined
        ? this.#records.get<ReferenceRecord>('reference', referenceKey(reference))
        : this.#records.get<ReferenceRecord>('repository-digest', `${name}@${digest}`);
    return known === undefined ? undefined : this.withId(known.imageId);
  }

  list(): Image[] {
    const byImage = (kind: 'reference' | 'repository-digest'): Map<string, ReferenceRecord[]> =>
      Map.groupBy(this.#records.list<ReferenceRecord>(kind), (each) => each.imageId);
    const tags = byImage('reference');
    const digests = byImage('repository-digest');
    return this.#records
      .list<ImageRecord>('image')
      .map((record) => withNames(record, tags.get(record.id) ?? [], digests.get(record.id) ?? []));
  }

  /** `docker tag`; `target` is repository[:tag]. */
  tag(reference: string, target: string): void {
    const image = this.resolve(reference);
    const parsed = parseReference(target);
    if (parsed.digest !== undefined) throw invalid('refusing to create a tag with a digest reference');
    this.point(parsed, image.id);
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
    const sizes = image.configuration.rootfs.diff_ids.map((diffId) => this.#layers.size(diffId));
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

  /**
   * Makes an image of its configuration, whose layers are in the store: writes the documents as blobs, then the record that makes
   * the image exist. Without a manifest one is made that names the layers uncompressed. An image that is there takes over the
   * manifest given.
   */
  add(o: {
    configuration: Buffer;
    manifest?: Buffer;
    lineage?: ImageLineage;
    annotations?: Readonly<Record<string, string>>;
  }): Image {
    const id = digestOf(o.configuration);
    const configuration: ImageConfiguration = JSON.parse(o.configuration.toString('utf8'));
    const existing = this.#records.get<ImageRecord>('image', id);
    const diffIds = configuration.rootfs.diff_ids;
    const blobs = this.#layers.blobs;
    if (o.manifest === undefined && existing !== undefined) {
      const same: ImageRecord = { ...existing, ...(o.lineage === undefined ? {} : { lineage: o.lineage }) };
      this.#records.put('image', id, same);
      return this.#imageOf(same);
    }
    const manifest =
      o.manifest ??
      this.#plainManifest(id, o.configuration.length, diffIds, {
        ...(o.lineage === undefined ? {} : baseAnnotations(o.lineage)),
        ...o.annotations,
      });
    const lineage = o.lineage ?? existing?.lineage;
    blobs.put(o.configuration);
    const record: ImageRecord = {
      id,
      manifestDigest: blobs.put(manifest),
      configuration,
      chainIds: chainIds(diffIds),
      size: diffIds.reduce((sum, diffId) => sum + this.#layers.size(diffId), 0),
      ...(lineage === undefined ? {} : { lineage }),
      ...(existing?.attestations === undefined ? {} : { attestations: existing.attestations }),
    };
    this.#records.put('image', id, record);
    return this.#imageOf(record);
  }

  #plainManifest(
    id: string,
    configurationSize: number,
    diffIds: readonly string[],
    annotations: Record<string, string>,
  ): Buffer {
    return Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: OCI_MANIFEST,
        config: { mediaType: OCI_CONFIG, digest: id, size: configurationSize },
        layers: diffIds.map((digest) => ({
          mediaType: OCI_LAYER,
          digest,
          size: this.#layers.find(digest)?.tarSize ?? 0,
        })),
        ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
      }),
    );
  }

  /** Keeps a predicate about an image, instead of one of the same type. */
  attest(id: string, predicateType: string, predicate: object): void {
    const record = this.#records.get<ImageRecord>('image', id);
    if (record === undefined) throw notFound(`No such image: ${id}`);
    const digest = this.#layers.blobs.put(Buffer.from(JSON.stringify(predicate)));
    const others = (record.attestations ?? []).filter((each) => each.predicateType !== predicateType);
    this.#records.put('image', id, { ...record, attestations: [...others, { predicateType, digest }] });
  }

  /** A predicate about an image. */
  predicate({ digest }: Attestation): unknown {
    return JSON.parse(this.#layers.blobs.document(digest).toString('utf8'));
  }

  /** The documents of an image: its manifest as it is known by, and its configuration. */
  documents(image: Image): { manifest: Buffer; configuration: Buffer } {
    const { blobs } = this.#layers;
    return { manifest: blobs.document(image.manifestDigest), configuration: blobs.document(image.id) };
  }

  /** Makes a name mean an image. */
  point(reference: ImageReference, imageId: string): void {
    const key = referenceKey(reference);
    const record: ReferenceRecord = {
      key,
      familiar: `${reference.familiar}:${reference.tag ?? 'latest'}`,
      imageId,
    };
    this.#records.put('reference', key, record);
  }

  /** Notes that a repository has the image under a digest: `docker images --digests`. */
  pointDigest(reference: ImageReference, digest: string, imageId: string): void {
    const key = `${reference.name}@${digest}`;
    const record: ReferenceRecord = { key, familiar: `${reference.familiar}@${digest}`, imageId };
    this.#records.put('repository-digest', key, record);
  }

  #untag(imageId: string, reference: ImageReference): RemovalStep {
    const name =
      reference.digest === undefined
        ? `${reference.familiar}:${reference.tag ?? 'latest'}`
        : `${reference.familiar}@${reference.digest}`;
    if (reference.digest === undefined) this.#records.delete('reference', referenceKey(reference));
    else this.#records.delete('repository-digest', `${reference.name}@${reference.digest}`);
    this.#events.publish('image', 'untag', imageId, { name });
    return { Untagged: name };
  }

  #delete(image: Image): RemovalStep[] {
    const untagged = image.repoDigests.map((each) => this.#untag(image.id, parseReference(each)));
    this.#records.delete('image', image.id);
    this.#events.publish('image', 'delete', image.id, { name: image.id });
    const used = new Set(this.list().flatMap((each) => each.chainIds));
    const gone = image.chainIds.filter((chainId) => !used.has(chainId)).reverse();
    this.#layers.sweep();
    return [...untagged, { Deleted: image.id }, ...gone.map((Deleted) => ({ Deleted }))];
  }

  #find(reference: string): Image | undefined {
    const hex = reference.replace(/^sha256:/, '');
    const exact = hex.length === 64 ? this.withId(`sha256:${hex}`) : undefined;
    if (exact !== undefined) return exact;
    if (!reference.startsWith('sha256:')) {
      const parsed = parseReference(reference);
      const { digest } = parsed;
      const named = this.named(parsed);
      if (named !== undefined) return named;
      if (digest !== undefined)
        return this.list().find((image) => image.manifestDigest === digest || image.id === digest);
    }
    if (!SHORT_ID.test(hex)) return undefined;
    const matches = this.#records
      .list<ImageRecord>('image')
      .filter((record) => record.id.startsWith(`sha256:${hex}`));
    if (matches.length > 1)
      throw invalid(`ambiguous image ID: ${reference}`, { hint: 'Give more of its digits.' });
    const [match] = matches;
    return match === undefined ? undefined : this.#imageOf(match);
  }

  #imageOf(record: ImageRecord): Image {
    const of = (kind: 'reference' | 'repository-digest'): ReferenceRecord[] =>
      this.#records.list<ReferenceRecord>(kind).filter((each) => each.imageId === record.id);
    return withNames(record, of('reference'), of('repository-digest'));
  }

  /** The blobs that images are made of. */
  *#digests(): Generator<string> {
    for (const { id, manifestDigest, attestations = [] } of this.#records.list<ImageRecord>('image')) {
      for (const { digest } of attestations) yield digest;
      yield id;
      yield manifestDigest;
      if (!this.#layers.blobs.has(manifestDigest)) continue;
      const manifest = this.#layers.blobs.document(manifestDigest);
      const { layers } = parseDocument(ImageManifest, manifest, manifestDigest);
      // The archive of a layer that was made here can be made again: it is not kept beside its directory.
      for (const { digest } of layers) if (this.#layers.find(digest)?.isOwn !== true) yield digest;
    }
  }

  *#diffIds(): Generator<string> {
    for (const { configuration } of this.#records.list<ImageRecord>('image'))
      yield* configuration.rootfs.diff_ids;
  }
}

/** Whether the user named the image by its ID rather than by a tag. */
export function isId(reference: string, image: Image): boolean {
  const hex = reference.replace(/^sha256:/, '');
  if (reference.includes('@')) return true;
  if (!SHORT_ID.test(hex) || !image.id.startsWith(`sha256:${hex}`)) return false;
  return !image.repoTags.includes(`${reference}:latest`);
}

function withNames(
  record: ImageRecord,
  references: readonly ReferenceRecord[],
  digests: readonly ReferenceRecord[],
): Image {
  return {
    ...record,
    repoTags: references.map((each) => each.familiar).sort(),
    repoDigests: digests.map((each) => each.familiar).sort(),
  };
}
