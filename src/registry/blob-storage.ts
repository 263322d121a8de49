import type { Readable } from 'node:stream';
import type { BlobStore } from '#engine/blobs/blob-store.ts';
import type { ByteRange } from './byte-range.ts';

/** Where a registry's content is. Digests are `sha256:…`; what is stored is complete and has its digest. */
export interface BlobStorage {
  /** Bytes; undefined where there is no such blob. */
  size(digest: string): Promise<number | undefined>;
  /** Bytes `start` to `end`, both included; the whole blob without them. */
  read(digest: string, range?: ByteRange): Promise<Readable>;
  /** The file that holds a blob, where it is one on this machine. */
  file(digest: string): string | undefined;
  /** Takes over a file whose digest was checked. */
  adopt(file: string, digest: string): Promise<void>;
  put(data: Buffer): Promise<string>;
  /** Removes what `kept` does not name. */
  sweep(kept: () => Iterable<string>): Promise<void>;
}

/** The engine's own blobs: what an image here has, the registry has too. */
export class SharedBlobStorage implements BlobStorage {
  readonly #blobs: BlobStore;

  constructor(blobs: BlobStore) {
    this.#blobs = blobs;
  }

  async size(digest: string): Promise<number | undefined> {
    return this.#blobs.size(digest);
  }

  async read(digest: string, range?: ByteRange): Promise<Readable> {
    return this.#blobs.read(digest, range);
  }

  file(digest: string): string {
    return this.#blobs.path(digest);
  }

  async adopt(file: string, digest: string): Promise<void> {
    this.#blobs.adopt(file, digest);
  }

  async put(data: Buffer): Promise<string> {
    return this.#blobs.put(data);
  }

  /** What is kept for the registry the store knows already: the registry is one of its referrers. */
  async sweep(): Promise<void> {
    this.#blobs.sweep();
  }
}
