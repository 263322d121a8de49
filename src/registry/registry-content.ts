import { createHash, type Hash, randomUUID } from 'node:crypto';
import { closeSync, createReadStream, existsSync, mkdirSync, openSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { isDigest } from '#engine/blobs/blob-store.ts';
import { ImageIndex, ImageManifest, manifestKind, parseDocument } from '#engine/images/image-documents.ts';
import { writeAll } from '#engine/layers/write-all.ts';
import { kindOf, messageOf } from '#model/errors.ts';
import type { BlobStorage } from './blob-storage.ts';
import type { CataloguedManifest, RegistryCatalogue } from './registry-catalogue.ts';
import { matchesPattern, type RegistryConfiguration } from './registry-configuration.ts';
import { RegistryProblem } from './registry-problem.ts';

export const LARGEST_MANIFEST: number = 4 * 1024 * 1024;
const LARGEST_TAG = 128;
const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]*$/;
const LONGEST_NAME = 255;
/** An upload that nobody went on with for this long is given up; and how long what no manifest names yet is kept. */
const GRACE_MS = 24 * 3600 * 1000;

/** An upload as its client sees it. */
export interface UploadState {
  id: string;
  /** Bytes that are there. */
  size: number;
}

interface LiveUpload {
  hash: Hash;
  size: number;
  isBusy: boolean;
}

/**
 * What the registry holds, and what may be done with it: the rules of the distribution specification without HTTP. Uploads are files
 * until they are complete; then they are blobs, linked into a repository.
 */
export class RegistryContent {
  readonly catalogue: RegistryCatalogue;
  readonly storage: BlobStorage;
  readonly #configuration: RegistryConfiguration;
  readonly #uploads: string;
  readonly #live = new Map<string, LiveUpload>();
  /** Nothing is finished while what is not used is being removed. */
  #sweeping: Promise<unknown> = Promise.resolve();

  constructor(o: {
    directory: string;
    catalogue: RegistryCatalogue;
    storage: BlobStorage;
    configuration: RegistryConfiguration;
  }) {
    this.catalogue = o.catalogue;
    this.storage = o.storage;
    this.#configuration = o.configuration;
    this.#uploads = join(o.directory, 'uploads');
    mkdirSync(this.#uploads, { recursive: true, mode: 0o700 });
  }

  /** `NAME_UNKNOWN` where the registry has nothing under the name. */
  checkRepository(name: string): void {
    if (!this.catalogue.hasRepository(name))
      throw new RegistryProblem('NAME_UNKNOWN', `repository name not known to registry: ${name}`);
  }

  // -- blobs

  async blobSize(repository: string, digest: string): Promise<number> {
    const size = this.catalogue.blobSize(repository, checkedDigest(digest));
    if (size === undefined) throw new RegistryProblem('BLOB_UNKNOWN', `blob unknown to registry: ${digest}`);
    return size;
  }

  deleteBlob(repository: string, digest: string): void {
    this.#checkDelete();
    if (!this.catalogue.unlinkBlob(repository, checkedDigest(digest)))
      throw new RegistryProblem('BLOB_UNKNOWN', `blob unknown to registry: ${digest}`);
  }

  /**
   * Links a blob of another repository into this one; false where that cannot be done and it has to be sent. `canRead` says what the
   * client may see; `shared` lets it have whatever the storage has.
   */
  async mount(
    repository: string,
    digest: string,
    o: { from: string | undefined; canRead: (repository: string) => boolean; shared: boolean },
  ): Promise<boolean> {
    if (!isDigest(digest)) return false;
    const sources = o.from === undefined ? this.catalogue.repositoriesOfBlob(digest) : [o.from];
    const source = sources.find(
      (each) => o.canRead(each) && this.catalogue.blobSize(each, digest) !== undefined,
    );
    if (source === undefined && !o.shared) return false;
    await this.#sweeping;
    const size = await this.storage.size(digest);
    if (size === undefined) return false;
    this.#checkQuota(repository, digest, size);
    this.catalogue.linkBlob(repository, digest, size);
    return true;
  }

  // -- uploads

  beginUpload(repository: string): UploadState {
    const id = randomUUID();
    this.catalogue.putUpload(id, repository);
    closeSync(openSync(this.#uploadPath(id), 'wx', 0o600));
    this.#live.set(id, { hash: createHash('sha256'), size: 0, isBusy: false });
    return { id, size: 0 };
  }

  async uploadState(repository: string, id: string): Promise<UploadState> {
    const { size } = await this.#upload(repository, id);
    return { id, size };
  }

  /** Adds what comes; `start` is where the client thinks it belongs. What arrived before a break stays. */
  async append(
    repository: string,
    id: string,
    o: { source: Readable; start: number | undefined; length: number | undefined },
  ): Promise<UploadState> {
    const upload = await this.#upload(repository, id);
    if (upload.isBusy)
      throw new RegistryProblem('BLOB_UPLOAD_INVALID', 'another request is writing to this upload');
    if (o.start !== undefined && o.start !== upload.size)
      throw new RegistryProblem(
        'RANGE_INVALID',
        `the upload has ${upload.size} bytes, and what was sent starts at ${o.start}`,
      );
    upload.isBusy = true;
    const before = upload.size;
    const fd = openSync(this.#uploadPath(id), 'r+');
    try {
      for await (const chunk of o.source) {
        const bytes: Buffer = chunk;
        this.#checkQuota(repository, undefined, upload.size + bytes.length);
        upload.size = writeAll(fd, bytes, upload.size);
        upload.hash.update(bytes);
      }
    } catch (error) {
      if (kindOf(error) !== 'internal') throw error;
      throw new RegistryProblem('BLOB_UPLOAD_INVALID', `the upload broke off: ${messageOf(error)}`, {
        cause: error,
      });
    } finally {
      closeSync(fd);
      upload.isBusy = false;
      this.catalogue.putUpload(id, repository);
    }
    if (o.length !== undefined && upload.size - before !== o.length)
      throw new RegistryProblem('BLOB_UPLOAD_INVALID', `the upload broke off after ${upload.size} bytes`);
    return { id, size: upload.size };
  }

  /** Makes the upload a blob of the repository. An upload whose digest is another is gone. */
  async finishUpload(repository: string, id: string, digest: string): Promise<void> {
    const upload = await this.#upload(repository, id);
    checkedDigest(digest);
    const actual = `sha256:${upload.hash.copy().digest('hex')}`;
    if (actual !== digest) {
      this.cancelUpload(repository, id);
      throw new RegistryProblem(
        'DIGEST_INVALID',
        `provided digest did not match uploaded content: it is ${actual}`,
      );
    }
    this.#checkQuota(repository, digest, upload.size);
    await this.#sweeping;
    // Linked first: what nobody names may be swept.
    this.catalogue.linkBlob(repository, digest, upload.size);
    try {
      await this.storage.adopt(this.#uploadPath(id), digest);
    } catch (error) {
      this.catalogue.unlinkBlob(repository, digest);
      throw error;
    }
    this.#live.delete(id);
    this.catalogue.deleteUpload(id);
  }

  cancelUpload(repository: string, id: string): void {
    this.#checkUpload(repository, id);
    this.#live.delete(id);
    rmSync(this.#uploadPath(id), { force: true });
    this.catalogue.deleteUpload(id);
  }

  get uploadsInWork(): number {
    return this.#live.size;
  }

  #checkUpload(repository: string, id: string): void {
    if (!/^[0-9a-f-]{36}$/.test(id) || this.catalogue.uploadRepository(id) !== repository)
      throw new RegistryProblem('BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry');
  }

  /** An upload of before a restart is read again. */
  async #upload(repository: string, id: string): Promise<LiveUpload> {
    this.#checkUpload(repository, id);
    const known = this.#live.get(id);
    if (known !== undefined) return known;
    const path = this.#uploadPath(id);
    if (!existsSync(path))
      throw new RegistryProblem('BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry');
    const restored: LiveUpload = { hash: createHash('sha256'), size: 0, isBusy: false };
    for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
      restored.hash.update(chunk);
      restored.size += chunk.length;
    }
    const other = this.#live.get(id);
    if (other !== undefined) return other;
    truncateSync(path, restored.size);
    this.#live.set(id, restored);
    return restored;
  }

  #uploadPath(id: string): string {
    return join(this.#uploads, id);
  }

  // -- manifests and tags

  /** The manifest that a tag or a digest means. */
  manifest(repository: string, reference: string): CataloguedManifest {
    const digest = reference.includes(':')
      ? checkedDigest(reference)
      : this.catalogue.tag(repository, checkedTag(reference))?.digest;
    const found = digest === undefined ? undefined : this.catalogue.manifest(repository, digest);
    if (found !== undefined) return found;
    this.checkRepository(repository);
    throw new RegistryProblem('MANIFEST_UNKNOWN', `manifest unknown: ${repository}:${reference}`);
  }

  /** Stores a manifest whose parts are there, under its digest and its tags. Gives what was stored. */
  async putManifest(
    repository: string,
    o: { data: Buffer; mediaType: string; reference: string; tags: readonly string[]; digest: string },
  ): Promise<Omit<CataloguedManifest, 'pushedAt'>> {
    const { data, digest } = o;
    const tags = [...(o.reference.includes(':') ? [] : [o.reference]), ...o.tags].map(checkedTag);
    if (o.reference.includes(':') && checkedDigest(o.reference) !== digest)
      throw new RegistryProblem('DIGEST_INVALID', `the manifest is ${digest}, not ${o.reference}`);
    for (const tag of tags) this.#checkTagMoves(repository, tag, digest);
    const described = describeManifest(data, o.mediaType);
    for (const part of described.blobs)
      if (this.catalogue.blobSize(repository, part) === undefined)
        throw new RegistryProblem(
          'MANIFEST_BLOB_UNKNOWN',
          `manifest references blob unknown to registry: ${part}`,
        );
    for (const part of described.manifests)
      if (this.catalogue.manifest(repository, part) === undefined)
        throw new RegistryProblem(
          'MANIFEST_BLOB_UNKNOWN',
          `manifest references manifest unknown to registry: ${part}`,
        );
    this.#checkQuota(repository, digest, data.length);
    await this.#sweeping;
    const manifest = {
      digest,
      mediaType: described.mediaType,
      size: data.length,
      subject: described.subject,
      artifactType: described.artifactType,
      annotations: described.annotations,
    };
    // Named first: what nobody names may be swept.
    this.catalogue.putManifest(repository, manifest, {
      parts: [...described.blobs, ...described.manifests],
      tags,
    });
    try {
      await this.storage.put(data);
    } catch (error) {
      this.catalogue.deleteManifest(repository, digest);
      throw error;
    }
    return manifest;
  }

  /** By digest the manifest with its tags, by tag the tag alone. */
  deleteManifest(repository: string, reference: string): void {
    this.#checkDelete();
    const { digest } = this.manifest(repository, reference);
    const tags = reference.includes(':')
      ? this.catalogue.tags(repository).filter((tag) => tag.digest === digest)
      : [{ name: reference }];
    for (const { name } of tags) this.#checkTagMoves(repository, name, undefined);
    if (reference.includes(':')) this.catalogue.deleteManifest(repository, digest);
    else this.catalogue.deleteTag(repository, reference);
  }

  // -- housekeeping

  /** Gives up old uploads and removes what no manifest names. Safe beside pushes. */
  async collectGarbage(): Promise<void> {
    const before = Date.now() - GRACE_MS;
    for (const id of this.catalogue.uploadsUsedBefore(before)) {
      if (this.#live.get(id)?.isBusy === true) continue;
      this.#live.delete(id);
      rmSync(this.#uploadPath(id), { force: true });
      this.catalogue.deleteUpload(id);
    }
    this.catalogue.unlinkUnused(before);
    const sweep = this.storage.sweep(() => this.catalogue.digests());
    this.#sweeping = sweep.catch(() => undefined);
    await sweep;
  }

  #checkDelete(): void {
    if (!this.#configuration.allowDelete)
      throw new RegistryProblem('UNSUPPORTED', 'this registry is configured not to delete anything');
  }

  #checkTagMoves(repository: string, tag: string, digest: string | undefined): void {
    const current = this.catalogue.tag(repository, tag);
    if (current === undefined || current.digest === digest) return;
    if (this.#configuration.immutableTags.some((pattern) => matchesPattern(`${repository}:${tag}`, pattern)))
      throw new RegistryProblem('DENIED', `tag ${repository}:${tag} is immutable: push under another tag`);
  }

  #checkQuota(repository: string, digest: string | undefined, bytes: number): void {
    for (const quota of this.#configuration.quotas) {
      if (!matchesPattern(repository, quota.repositories)) continue;
      if (digest !== undefined && this.catalogue.blobSize(repository, digest) !== undefined) continue;
      const used = this.catalogue.bytesOf(quota.repositories.replaceAll('**', '*'));
      if (used + bytes > quota.bytes)
        throw new RegistryProblem(
          'DENIED',
          `quota exceeded: ${quota.repositories} may hold ${quota.bytes} bytes and holds ${used}`,
          { hint: 'Delete images that are not needed, or ask for more.' },
        );
    }
  }
}

interface DescribedManifest {
  mediaType: string;
  blobs: string[];
  manifests: string[];
  subject: string | undefined;
  artifactType: string | undefined;
  annotations: Record<string, string>;
}

/** What a manifest says of itself; `MANIFEST_INVALID` where it cannot be read. */
function describeManifest(data: Buffer, contentType: string): DescribedManifest {
  try {
    const kind = manifestKind(data, contentType === '' ? undefined : contentType);
    const document =
      kind === 'index'
        ? parseDocument(ImageIndex, data, 'the index')
        : parseDocument(ImageManifest, data, 'the manifest');
    const mediaType = document.mediaType ?? contentType;
    if (document.mediaType && contentType !== '' && document.mediaType !== contentType)
      throw new RegistryProblem(
        'MANIFEST_INVALID',
        `the manifest says it is ${document.mediaType}, the request ${contentType}`,
      );
    const common = {
      mediaType,
      subject: document.subject?.digest,
      annotations: document.annotations ?? {},
    };
    if ('manifests' in document)
      return {
        ...common,
        blobs: [],
        manifests: document.manifests.map(({ digest }) => checkedDigest(digest)),
        artifactType: document.artifactType ?? undefined,
      };
    // Layers that are to be had elsewhere need not be here.
    const local = [document.config, ...document.layers].filter(({ urls }) => (urls ?? []).length === 0);
    return {
      ...common,
      blobs: [...new Set(local.map(({ digest }) => checkedDigest(digest)))],
      manifests: [],
      artifactType: document.artifactType || document.config.mediaType || undefined,
    };
  } catch (error) {
    if (error instanceof RegistryProblem) throw error;
    throw new RegistryProblem('MANIFEST_INVALID', `manifest invalid: ${messageOf(error)}`, { cause: error });
  }
}

export function checkedName(name: string): string {
  if (name.length > LONGEST_NAME || !NAME.test(name))
    throw new RegistryProblem('NAME_INVALID', `invalid repository name: ${name}`);
  return name;
}

export function checkedDigest(digest: string): string {
  if (!isDigest(digest))
    throw new RegistryProblem('DIGEST_INVALID', `invalid digest ${digest}: only sha256 is supported`);
  return digest;
}

function checkedTag(tag: string): string {
  if (tag.length > LARGEST_TAG || !TAG.test(tag))
    throw new RegistryProblem('MANIFEST_INVALID', `invalid tag: ${tag}`);
  return tag;
}
