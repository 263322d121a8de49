import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { cancelled } from '#model/errors.ts';

/** Archives that clients send beside their builds, by the builds' IDs. */
export class Uploads {
  readonly #waiting = new Map<string, PromiseWithResolvers<Readable>>();

  /** Gives an archive to its build; settled when that has read it, or has gone. */
  async give(id: string, archive: Readable, signal: AbortSignal): Promise<void> {
    this.#of(id).resolve(archive);
    try {
      await finished(archive, { signal, writable: false });
    } finally {
      this.#waiting.delete(id);
    }
  }

  /** The archive of a build, once it comes. */
  async take(id: string, signal: AbortSignal): Promise<Readable> {
    const gone = Promise.withResolvers<never>();
    const leave = (): void => gone.reject(cancelled('the build was cancelled'));
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await Promise.race([this.#of(id).promise, gone.promise]);
    } finally {
      signal.removeEventListener('abort', leave);
      this.#waiting.delete(id);
    }
  }

  #of(id: string): PromiseWithResolvers<Readable> {
    const known = this.#waiting.get(id) ?? Promise.withResolvers<Readable>();
    this.#waiting.set(id, known);
    return known;
  }
}
