import { closeSync, openSync, readSync } from 'node:fs';
import { cancelled } from '#model/errors.ts';

const SEQUENCE = 0;
const BYTES = 1;
const STATE = 2;
const GROWING = 0n;
const COMPLETE = 1n;
const CANCELLED = 2n;
const CHUNK = 1024 * 1024;

/**
 * How far a file has been written, told from one thread to another: the reader reads what is there and waits for more. Made by the
 * writer; `shared` goes to the reader.
 */
export class FileGrowth {
  readonly shared: SharedArrayBuffer;
  readonly #cells: BigInt64Array;

  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(24)) {
    this.shared = shared;
    this.#cells = new BigInt64Array(shared);
  }

  /** `bytes` of the file are there now. */
  grown(bytes: number): void {
    Atomics.store(this.#cells, BYTES, BigInt(bytes));
    this.#tell();
  }

  /** Nothing will be added. */
  complete(): void {
    Atomics.compareExchange(this.#cells, STATE, GROWING, COMPLETE);
    this.#tell();
  }

  /** The reader is to give up. */
  cancel(): void {
    Atomics.store(this.#cells, STATE, CANCELLED);
    this.#tell();
  }

  /** The file's bytes from `start` (`length` of them at most), as they come. A chunk is valid until the next is asked for. */
  async *read(path: string, o: { start?: number; length?: number } = {}): AsyncGenerator<Buffer> {
    const { start = 0, length = Number.POSITIVE_INFINITY } = o;
    const fd = openSync(path, 'r');
    try {
      let done = 0;
      while (done < length) {
        const sequence = Atomics.load(this.#cells, SEQUENCE);
        const state = Atomics.load(this.#cells, STATE);
        if (state === CANCELLED) throw cancelled('nobody waits for the archive any more');
        const limit =
          state === COMPLETE
            ? Number.POSITIVE_INFINITY
            : Number(Atomics.load(this.#cells, BYTES)) - start - done;
        if (limit > 0) {
          const chunk = Buffer.allocUnsafeSlow(CHUNK);
          const count = readSync(fd, chunk, 0, Math.min(CHUNK, length - done, limit), start + done);
          if (count === 0) return;
          done += count;
          yield chunk.subarray(0, count);
          continue;
        }
        const waiting = Atomics.waitAsync(this.#cells, SEQUENCE, sequence);
        if (waiting.async) await waiting.value;
      }
    } finally {
      closeSync(fd);
    }
  }

  #tell(): void {
    Atomics.add(this.#cells, SEQUENCE, 1n);
    Atomics.notify(this.#cells, SEQUENCE);
  }
}
