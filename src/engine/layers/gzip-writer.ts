import { promisify } from 'node:util';
import { constants, crc32, deflateRaw } from 'node:zlib';

const deflate = promisify(deflateRaw);
const BLOCK = 1024 * 1024;
/** What one core makes at 75 MB/s; the default level's files are a tenth smaller and take twice as long. */
const LEVEL = 1;
/** Blocks in work at once: as many as node's thread pool has threads. */
const PARALLEL = 4;
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
/** An empty final block of deflate (RFC 1951). */
const FINAL = Buffer.from([3, 0]);

/** As much of a block as tells whether the rest is worth it. */
const SAMPLE = 16 * 1024;
/** What a sample has to come down to. */
const WORTH_IT = 0.97;

/** Data that does not compress is stored as it is: trying takes longer than anything else here. */
async function compressBlock(data: Buffer): Promise<Buffer> {
  const middle = Math.floor(data.length / 2);
  const sample = data.subarray(middle, middle + SAMPLE);
  const isWorthIt =
    data.length <= SAMPLE || (await deflate(sample, { level: LEVEL })).length < sample.length * WORTH_IT;
  return await deflate(data, { level: isWorthIt ? LEVEL : 0, finishFlush: constants.Z_SYNC_FLUSH });
}

/**
 * gzip (RFC 1952) on several cores: blocks of a megabyte are compressed on their own, one behind the other in one stream. Equal
 * input gives equal output.
 */
export class GzipWriter {
  readonly #output: (bytes: Buffer) => void;
  readonly #running: Promise<Buffer>[] = [];
  #block = Buffer.allocUnsafeSlow(BLOCK);
  #filled = 0;
  #crc = 0;
  #size = 0;

  constructor(output: (bytes: Buffer) => void) {
    this.#output = output;
    output(HEADER);
  }

  /** Resolves when there is room for more. `bytes` may be used again at once. */
  async write(bytes: Buffer): Promise<void> {
    this.#crc = crc32(bytes, this.#crc);
    this.#size += bytes.length;
    let at = 0;
    while (at < bytes.length) {
      const copied = bytes.copy(this.#block, this.#filled, at);
      this.#filled += copied;
      at += copied;
      if (this.#filled === BLOCK) await this.#flush();
    }
  }

  /** Resolves when everything is written. */
  async end(): Promise<void> {
    if (this.#filled > 0) await this.#flush();
    while (this.#running.length > 0) await this.#take();
    const trailer = Buffer.alloc(8);
    trailer.writeUInt32LE(this.#crc, 0);
    trailer.writeUInt32LE(this.#size % 2 ** 32, 4);
    this.#output(Buffer.concat([FINAL, trailer]));
  }

  async #flush(): Promise<void> {
    const data = this.#block.subarray(0, this.#filled);
    this.#block = Buffer.allocUnsafeSlow(BLOCK);
    this.#filled = 0;
    const work = compressBlock(data);
    work.catch(() => undefined);
    this.#running.push(work);
    if (this.#running.length >= PARALLEL) await this.#take();
  }

  async #take(): Promise<void> {
    const [first] = this.#running;
    if (first === undefined) return;
    this.#output(await first);
    void this.#running.shift();
  }
}
