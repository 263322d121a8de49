import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import { Readable } from 'node:stream';
import type { Logger } from 'pino';
import { digestOf } from '#engine/blobs/blob-store.ts';
import { ImageIndex, ImageManifest, manifestKind, parseDocument } from '#engine/images/image-documents.ts';
import { FileGrowth } from '#engine/layers/growing-file.ts';
import { invalid, kindOf, messageOf } from '#model/errors.ts';
import type { BlobDownloads } from './blob-download.ts';
import { fetchManifest } from './manifest-transfer.ts';
import type { Registries } from './registries.ts';
import type { RegistryClient } from './registry-client.ts';
import type { RegistryConfiguration } from './registry-configuration.ts';
import type { RegistryContent } from './registry-content.ts';
import { RegistryProblem } from './registry-problem.ts';

/** A blob on its way from the other registry: it can be read while it comes. */
interface Fetching {
  growth: FileGrowth;
  size: number;
  done: Promise<void>;
}

/** Stands in for another registry: what is asked for and not here is fetched from there, passed on and kept. */
export class RegistryProxy implements Disposable {
  readonly #content: RegistryContent;
  readonly #registries: Registries;
  readonly #downloads: BlobDownloads;
  readonly #settings: NonNullable<RegistryConfiguration['proxy']>;
  readonly #log: Logger;
  readonly #fetching = new Map<string, Fetching>();
  readonly #stop = new AbortController();

  constructor(o: {
    content: RegistryContent;
    registries: Registries;
    downloads: BlobDownloads;
    settings: NonNullable<RegistryConfiguration['proxy']>;
    log: Logger;
  }) {
    this.#content = o.content;
    this.#registries = o.registries;
    this.#downloads = o.downloads;
    this.#settings = o.settings;
    this.#log = o.log;
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }

  /** Makes sure that the manifest is here, as fresh as the settings ask for; what is here is used where the other end is away. */
  async bringManifest(repository: string, reference: string): Promise<void> {
    const { catalogue } = this.#content;
    const isDigest = reference.includes(':');
    if (isDigest && catalogue.manifest(repository, reference) !== undefined) return;
    const tag = isDigest ? undefined : catalogue.tag(repository, reference);
    const ageMs = tag === undefined ? Number.POSITIVE_INFINITY : Date.now() - Date.parse(tag.updatedAt);
    if (ageMs < this.#settings.ttlSeconds * 1000) return;
    try {
      await this.#fetchManifest(repository, reference);
    } catch (error) {
      if (tag !== undefined && kindOf(error) === 'unavailable') {
        this.#log.warn(
          { repository, reference, error: messageOf(error) },
          'proxy: answered with what is here',
        );
        return;
      }
      if (kindOf(error) === 'not-found' || kindOf(error) === 'unauthorized')
        throw new RegistryProblem('MANIFEST_UNKNOWN', `manifest unknown: ${repository}:${reference}`, {
          cause: error,
        });
      throw error;
    }
  }

  async #fetchManifest(repository: string, reference: string): Promise<void> {
    const fetched = await this.#use(repository, (client, path) => fetchManifest(client, path, reference));
    const { catalogue, storage } = this.#content;
    // Its parts follow when they are asked for, so it is noted without the check that a push gets.
    catalogue.putManifest(
      repository,
      {
        digest: fetched.digest,
        mediaType: fetched.mediaType,
        size: fetched.data.length,
        subject: undefined,
        artifactType: undefined,
        annotations: {},
      },
      { parts: partsOf(fetched.data), tags: reference.includes(':') ? [] : [reference] },
    );
    if ((await storage.put(fetched.data)) !== fetched.digest)
      throw invalid(
        `manifest ${repository}:${reference} is ${digestOf(fetched.data)}, not ${fetched.digest}`,
      );
  }

  /** The blob as it comes, or undefined where it is here already. */
  async openBlob(
    repository: string,
    digest: string,
  ): Promise<{ size: number; stream: () => Readable } | undefined> {
    const { catalogue, storage } = this.#content;
    if (catalogue.blobSize(repository, digest) !== undefined) return undefined;
    const known = await storage.size(digest);
    if (known !== undefined && catalogue.repositoriesOfBlob(digest).length > 0) {
      catalogue.linkBlob(repository, digest, known);
      return undefined;
    }
    const running = this.#fetching.get(digest) ?? (await this.#beginBlob(repository, digest));
    const path = this.#downloads.path(digest);
    return {
      size: running.size,
      stream: () => Readable.from(running.growth.read(path, { length: running.size }), { objectMode: false }),
    };
  }

  async #beginBlob(repository: string, digest: string): Promise<Fetching> {
    const size = await this.#use(repository, async (client, path) => {
      const response = await client.send({
        method: 'HEAD',
        path: `/v2/${path}/blobs/${digest}`,
        what: `blob ${digest} of ${path}`,
        accept: [404],
      });
      response.resume();
      if (response.statusCode === 404)
        throw new RegistryProblem('BLOB_UNKNOWN', `blob unknown to registry: ${digest}`);
      return Number(response.headers['content-length']);
    });
    const other = this.#fetching.get(digest);
    if (other !== undefined) return other;
    const growth = new FileGrowth();
    const done = this.#use(repository, (client, path) =>
      this.#downloads.fetch(client, {
        path,
        descriptor: { digest, size },
        growth,
        progress: () => undefined,
      }),
    ).then(() => this.#keep(repository, digest, size));
    const fetching = { growth, size, done };
    this.#fetching.set(digest, fetching);
    done
      .catch((error: unknown) => this.#log.warn({ digest, error: messageOf(error) }, 'proxy: blob not kept'))
      .finally(() => this.#fetching.delete(digest));
    return fetching;
  }

  async #keep(repository: string, digest: string, size: number): Promise<void> {
    const path = this.#downloads.path(digest);
    if (statSync(path).size !== size || (await digestOfStream(path)) !== digest) {
      this.#downloads.discard(digest);
      throw invalid(`blob ${digest} is not what its digest says`);
    }
    this.#content.catalogue.linkBlob(repository, digest, size);
    await this.#content.storage.adopt(path, digest);
  }

  async #use<T>(repository: string, work: (client: RegistryClient, path: string) => Promise<T>): Promise<T> {
    const { remote, username, password } = this.#settings;
    const path = remote === 'docker.io' && !repository.includes('/') ? `library/${repository}` : repository;
    return await this.#registries.use(
      {
        name: `${remote}/${path}`,
        actions: 'pull',
        credentials: { username, password },
        signal: this.#stop.signal,
      },
      work,
    );
  }
}

async function digestOfStream(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

/** The digests that a manifest or an index names. */
function partsOf(data: Buffer): string[] {
  if (manifestKind(data) === 'index')
    return parseDocument(ImageIndex, data, 'the index').manifests.map(({ digest }) => digest);
  const { config, layers } = parseDocument(ImageManifest, data, 'the manifest');
  return [config, ...layers].map(({ digest }) => digest);
}
