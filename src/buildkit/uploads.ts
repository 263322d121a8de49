import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { Arrivals } from './arrivals.ts';

/** Archives that clients send beside their builds, by the builds' IDs. */
export class Uploads {
  readonly #archives = new Arrivals<Readable>('upload');

  /** Gives an archive to its build; settled when that has read it, or has gone. */
  async give(id: string, archive: Readable, signal: AbortSignal): Promise<void> {
    this.#archives.add(id, archive);
    try {
      await finished(archive, { signal, writable: false });
    } finally {
      this.#archives.delete(id, archive);
    }
  }

  /** The archive of a build, once it comes. */
  take(id: string, signal: AbortSignal): Promise<Readable> {
    return this.#archives.get(id, signal);
  }
}
