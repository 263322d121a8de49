import { createHash, randomBytes } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { invalid, notFound } from '#model/errors.ts';

const DIGEST = /^sha256:([0-9a-f]{64})$/;
/** Manifests, indexes and configurations; no registry takes larger ones. */
const LARGEST_DOCUMENT = 16 * 1024 * 1024;

/** `sha256:<hex>` of some bytes. */
export function digestOf(data: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}

export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/**
 * Keeps digests from being swept, blobs and layers alike, until it is disposed of. Whoever makes something that no record names
 * yet holds it with one.
 */
export interface Lease extends Disposable {
  keep(digest: string): void;
}

/**
 * Content by its digest, `blobs/sha256/<hex>`: what images, the registry and the build cache share. A blob's file is complete or not
 * there. Blobs that no referrer names and no lease keeps go with the next sweep.
 */
export class BlobStore {
  readonly #directory: string;
  readonly #temporary: string;
  readonly #leases = new Set<Set<string>>();
  readonly #referrers: (() => Iterable<string>)[] = [];

  constructor(dataRoot: string) {
    this.#directory = join(dataRoot, 'blobs', 'sha256');
    this.#temporary = join(dataRoot, 'tmp');
    mkdirSync(this.#directory, { recursive: true, mode: 0o710 });
    mkdirSync(this.#temporary, { recursive: true, mode: 0o700 });
  }

  /** At start, before anything is written: removes what was half written. */
  recover(): void {
    rmSync(this.#temporary, { recursive: true, force: true });
    mkdirSync(this.#temporary, { mode: 0o700 });
  }

  /** Where a blob's file is or would be; `invalid` where `digest` is none. */
  path(digest: string): string {
    const match = DIGEST.exec(digest);
    if (match === null) throw invalid(`invalid digest ${JSON.stringify(digest)}: only sha256 is supported`);
    return join(this.#directory, match[1] ?? '');
  }

  has(digest: string): boolean {
    return existsSync(this.path(digest));
  }

  /** Bytes; undefined where there is no such blob. */
  size(digest: string): number | undefined {
    return statSync(this.path(digest), { throwIfNoEntry: false })?.size;
  }

  /** A small blob, whole; `not-found`, or `invalid` where it is larger than 16 MiB. */
  document(digest: string): Buffer {
    const size = this.size(digest);
    if (size === undefined) throw notFound(`blob ${digest} is not in the store`);
    if (size > LARGEST_DOCUMENT) throw invalid(`blob ${digest} is too large for a document`);
    return readFileSync(this.path(digest));
  }

  /** Bytes `start` to `end`, both included; the whole blob without them. */
  read(digest: string, range: { start?: number; end?: number } = {}): Readable {
    return createReadStream(this.path(digest), { ...range, highWaterMark: 262144 });
  }

  /** Stores a small blob; gives its digest. */
  put(data: Uint8Array): string {
    const digest = digestOf(data);
    if (this.has(digest)) return digest;
    const file = join(this.#temporary, randomBytes(8).toString('hex'));
    writeFileSync(file, data, { mode: 0o600 });
    renameSync(file, this.path(digest));
    return digest;
  }

  /** Takes over a complete file on the same file system, whose digest the caller has checked. */
  adopt(file: string, digest: string): void {
    if (this.has(digest)) rmSync(file, { force: true });
    else renameSync(file, this.path(digest));
  }

  remove(digest: string): void {
    rmSync(this.path(digest), { force: true });
  }

  lease(): Lease {
    const digests = new Set<string>();
    this.#leases.add(digests);
    return {
      keep: (digest) => digests.add(digest),
      [Symbol.dispose]: () => this.#leases.delete(digests),
    };
  }

  /** Adds to what is kept in every sweep: the digests that somebody's records name. */
  addReferrer(digests: () => Iterable<string>): void {
    this.#referrers.push(digests);
  }

  /** What leases keep now. */
  held(): Set<string> {
    return new Set([...this.#leases].flatMap((lease) => [...lease]));
  }

  /** Removes every blob that nobody names or holds. */
  sweep(): void {
    const kept = this.held();
    for (const referrer of this.#referrers) for (const digest of referrer()) kept.add(digest);
    for (const name of readdirSync(this.#directory))
      if (!kept.has(`sha256:${name}`)) rmSync(join(this.#directory, name), { force: true });
  }
}
