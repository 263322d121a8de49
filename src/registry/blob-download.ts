import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Descriptor } from '#engine/images/image-documents.ts';
import type { FileGrowth } from '#engine/layers/growing-file.ts';
import { writeAll } from '#engine/layers/write-all.ts';
import { invalid, kindOf, unavailable } from '#model/errors.ts';
import type { RegistryClient } from './registry-client.ts';

/** As often as a transfer may break off without a byte gained before it is given up. */
const ATTEMPTS = 5;
/** What was begun longer ago than this nobody comes back for. */
const KEPT_MS = 24 * 3600 * 1000;

/** Downloads that are under way or were cut off: `downloads/<hex>`, gone on with where they stopped. */
export class BlobDownloads {
  readonly #directory: string;

  constructor(dataRoot: string) {
    this.#directory = join(dataRoot, 'downloads');
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
  }

  /** At start: removes what was given up. */
  recover(): void {
    for (const name of readdirSync(this.#directory)) {
      const path = join(this.#directory, name);
      if (Date.now() - statSync(path).mtimeMs > KEPT_MS) rmSync(path, { force: true });
    }
  }

  path(digest: string): string {
    return join(this.#directory, digest.replace(/^sha256:/, ''));
  }

  discard(digest: string): void {
    rmSync(this.path(digest), { force: true });
  }

  /**
   * Fetches a blob into its file and tells `growth` as it grows, so that it can be unpacked meanwhile. Goes on after what is there
   * already. The size is checked, the digest is the reader's to check.
   */
  async fetch(
    client: RegistryClient,
    o: {
      path: string;
      descriptor: Descriptor;
      growth: FileGrowth;
      progress: (bytes: number) => void;
    },
  ): Promise<void> {
    const { size, digest } = o.descriptor;
    const file = this.path(digest);
    const fd = openSync(file, existsSync(file) ? 'r+' : 'w+', 0o600);
    try {
      let done = Math.min(statSync(file).size, size);
      o.growth.grown(done);
      for (let failures = 0; done < size; ) {
        const before = done;
        try {
          done = await this.#fetchPart(client, o, fd, done);
          if (done < size) throw unavailable(`blob ${digest}: the registry sent ${done} of ${size} bytes`);
        } catch (error) {
          done = statSync(file).size;
          failures = done > before ? 1 : failures + 1;
          if (kindOf(error) !== 'unavailable' || failures >= ATTEMPTS) throw error;
          await client.pause(failures);
        }
      }
      o.growth.complete();
    } catch (error) {
      o.growth.cancel();
      throw error;
    } finally {
      closeSync(fd);
    }
  }

  async #fetchPart(
    client: RegistryClient,
    o: { path: string; descriptor: Descriptor; growth: FileGrowth; progress: (bytes: number) => void },
    fd: number,
    start: number,
  ): Promise<number> {
    const { size, digest } = o.descriptor;
    const response = await client.send({
      method: 'GET',
      path: `/v2/${o.path}/blobs/${digest}`,
      what: `blob ${digest} of ${o.path}`,
      headers: start > 0 ? { Range: `bytes=${start}-${size - 1}` } : {},
    });
    // Without partial content the whole comes again from its beginning: what is there is passed over.
    let position = response.statusCode === 206 ? rangeStart(response.headers['content-range'], start) : 0;
    let done = start;
    try {
      for await (const chunk of response) {
        const bytes: Buffer = chunk;
        const fresh = bytes.subarray(Math.max(0, done - position));
        position += bytes.length;
        if (fresh.length === 0) continue;
        if (done + fresh.length > size)
          throw invalid(`blob ${digest}: the registry sends more than the ${size} bytes its manifest says`);
        done = writeAll(fd, fresh, done);
        o.growth.grown(done);
        o.progress(done);
      }
    } catch (cause) {
      if (kindOf(cause) !== 'internal') throw cause;
      throw unavailable(`blob ${digest}: the connection broke off after ${done} of ${size} bytes`, { cause });
    } finally {
      response.destroy();
    }
    return done;
  }
}

function rangeStart(header: string | undefined, asked: number): number {
  const start = Number(/^bytes (\d+)-/.exec(header ?? '')?.[1] ?? Number.NaN);
  if (Number.isNaN(start) || start > asked)
    throw unavailable('the registry answers another range than it was asked for');
  return start;
}

/** The digest that a document has to have. */
export function checkDigest(data: Buffer, digest: string, what: string): void {
  const [algorithm = '', hex] = digest.split(':');
  if (algorithm !== 'sha256' && algorithm !== 'sha512')
    throw invalid(`${what}: digest algorithm ${algorithm} is not supported`);
  const actual = createHash(algorithm).update(data).digest('hex');
  if (actual !== hex)
    throw invalid(`${what}: its content is ${algorithm}:${actual}, not ${digest} as it should be`);
}
