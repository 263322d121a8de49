import { createHash, type Hash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { filterThrough } from '#engine/runtime/process-launcher.ts';
import { invalid, kindOf, messageOf } from '#model/errors.ts';
import { checkExpansion } from './archive-limits.ts';
import { FileGrowth } from './growing-file.ts';
import { TarParser, type TarSink } from './tar-reader.ts';
import { writeAll } from './write-all.ts';

/** A file, or a part of one, that holds an archive: plain, or compressed with gzip, zstd, bzip2 or xz. */
export interface ArchiveSource {
  path: string;
  start?: number;
  length?: number;
  /** Of a file that is still being written; see {@link FileGrowth}. */
  growth: SharedArrayBuffer;
}

/** What was read of a source. */
export interface PassResult {
  /** `sha256:…` of the uncompressed archive. */
  diffId: string;
  /** `sha256:…` of the source's bytes. */
  sourceDigest: string;
  sourceSize: number;
  /** Bytes of the uncompressed archive. */
  tarSize: number;
}

/**
 * Reads the source, which may be the reading end of a pipe, once and to its end: digests, copies and the archive's entries come of
 * the same pass.
 */
export async function passThrough(
  task: { source: ArchiveSource | number; withoutDigest?: boolean },
  sink: TarSink | undefined,
  outputs: { copy?: string | undefined; plain?: string | undefined },
): Promise<PassResult> {
  using copy = new FileSink(outputs.copy);
  using plain = new FileSink(outputs.plain);
  const parser = sink === undefined ? undefined : new TarParser(sink);
  const plainHash = createHash('sha256');
  const counted = { bytes: 0, hash: undefined as Hash | undefined };
  const raw =
    typeof task.source === 'number'
      ? descriptorChunks(task.source)
      : new FileGrowth(task.source.growth).read(task.source.path, task.source);
  const first = await raw.next();
  const head = first.done === true ? Buffer.alloc(0) : first.value;
  const kind = compressionOf(head);
  if (kind !== undefined) counted.hash = createHash('sha256');
  const source = counting(head, raw, counted, copy);
  let tarSize = 0;
  try {
    for await (const chunk of kind === undefined ? source : decompress(kind, source)) {
      const bytes: Buffer = chunk;
      tarSize += bytes.length;
      checkExpansion(tarSize, counted.bytes);
      if (task.withoutDigest !== true) plainHash.update(bytes);
      plain.write(bytes);
      parser?.push(bytes);
    }
  } catch (error) {
    if (kind === undefined || !isDamage(error)) throw error;
    throw invalid(`the compressed archive is damaged: ${messageOf(error)}`, { cause: error });
  }
  // What stands behind the end of the compressed data belongs to the source all the same.
  for await (const _rest of source);
  parser?.finish();
  const diffId = `sha256:${plainHash.digest('hex')}`;
  const sourceDigest = counted.hash === undefined ? diffId : `sha256:${counted.hash.digest('hex')}`;
  return { diffId, sourceDigest, sourceSize: counted.bytes, tarSize };
}

async function* counting(
  head: Buffer,
  rest: AsyncGenerator<Buffer>,
  counted: { bytes: number; hash: Hash | undefined },
  copy: FileSink,
): AsyncGenerator<Buffer> {
  const count = (bytes: Buffer): Buffer => {
    counted.bytes += bytes.length;
    counted.hash?.update(bytes);
    copy.write(bytes);
    return bytes;
  };
  if (head.length > 0) yield count(head);
  for await (const bytes of rest) yield count(bytes);
}

export type Compression = 'gzip' | 'zstd' | 'bzip2' | 'xz';

/** Known by the first bytes, as names and media types lie; undefined where it is not compressed. */
export function compressionOf(head: Buffer): Compression | undefined {
  const starts = (...bytes: number[]): boolean =>
    head.length >= bytes.length && bytes.every((byte, i) => head.readUInt8(i) === byte);
  if (starts(0x1f, 0x8b)) return 'gzip';
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return 'zstd';
  if (starts(0x42, 0x5a, 0x68)) return 'bzip2';
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a)) return 'xz';
  return undefined;
}

export const OUTPUT_CHUNK: number = 512 * 1024;

export function decompress(kind: Compression, source: AsyncIterable<Buffer>): Readable {
  const input = Readable.from(source, { objectMode: false, highWaterMark: 4 * OUTPUT_CHUNK });
  if (kind === 'bzip2' || kind === 'xz') return filterThrough(kind, ['-dc'], input);
  const options = { chunkSize: OUTPUT_CHUNK, highWaterMark: 4 * OUTPUT_CHUNK };
  const output = kind === 'gzip' ? createGunzip(options) : createZstdDecompress(options);
  input.once('error', (error) => output.destroy(error));
  return input.pipe(output);
}

/** zlib's and the decompressors' own errors, as opposed to the archive's and the file system's. */
export function isDamage(error: unknown): boolean {
  if (!(error instanceof Error) || kindOf(error) !== 'internal') return false;
  const code = 'code' in error ? String(error.code) : '';
  return code === '' || code.startsWith('Z_') || code.startsWith('ZSTD_') || code.startsWith('ERR_');
}

/** A file that is written from its start, or nothing. */
export class FileSink implements Disposable {
  readonly #fd: number | undefined;
  #position = 0;

  constructor(path: string | undefined) {
    this.#fd = path === undefined ? undefined : openSync(path, 'wx', 0o600);
  }

  write(bytes: Buffer): void {
    if (this.#fd !== undefined) this.#position = writeAll(this.#fd, bytes, this.#position);
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
  }
}

/** What comes through a pipe. */
async function* descriptorChunks(fd: number): AsyncGenerator<Buffer> {
  for (;;) {
    const chunk = Buffer.allocUnsafeSlow(OUTPUT_CHUNK);
    const length = readSync(fd, chunk);
    if (length === 0) return;
    yield chunk.subarray(0, length);
  }
}
