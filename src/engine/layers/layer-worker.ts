import { createHash, type Hash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readSync } from 'node:fs';
import { Readable } from 'node:stream';
import { parentPort } from 'node:worker_threads';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { filterThrough } from '#engine/runtime/process-launcher.ts';
import { invalid, kindOf, messageOf } from '#model/errors.ts';
import { ArchiveCheck, ArchiveExtractor, type ExtractionOptions } from './archive-extractor.ts';
import { checkExpansion } from './archive-limits.ts';
import { archiveDirectory } from './directory-archiver.ts';
import { FileGrowth } from './growing-file.ts';
import { GzipWriter } from './gzip-writer.ts';
import { resolveForCreation } from './resolve-in-root.ts';
import { parseHeader } from './tar-header.ts';
import { TarParser, type TarSink } from './tar-reader.ts';
import { copyTree, type TreeCopyResult, type TreeCopyTask } from './tree-copy.ts';
import { digestTree, type TreeDigestResult, type TreeDigestTask } from './tree-digest.ts';
import { selectEntries } from './tree-selection.ts';
import { writeAll } from './write-all.ts';

/** A file, or a part of one, that holds an archive: plain, or compressed with gzip, zstd, bzip2 or xz. */
export interface ArchiveSource {
  path: string;
  start?: number;
  length?: number;
  /** Of a file that is still being written; see {@link FileGrowth}. */
  growth: SharedArrayBuffer;
}

export interface UnpackTask {
  source: ArchiveSource;
  /** Where the archive's entries go; without it nothing is extracted. */
  target?: string;
  options: ExtractionOptions;
  /** Where the source's bytes are written as they are. */
  copy?: string;
  /** Where the uncompressed archive is written. */
  plain?: string;
  /** Looks through all of it before anything is extracted; only for sources that are complete. */
  checkFirst?: boolean;
  /** Nobody asks what the archive's digest is: the result's is not its own. */
  withoutDigest?: boolean;
}

export interface UnpackResult {
  /** `sha256:…` of the uncompressed archive. */
  diffId: string;
  /** `sha256:…` of the source's bytes. */
  sourceDigest: string;
  sourceSize: number;
  /** Bytes of the uncompressed archive. */
  tarSize: number;
  /** Bytes of the files in it. */
  size: number;
}

export interface ArchiveTask {
  /** What a layer holds, with overlayfs's marks. */
  directory?: string;
  /** A plain archive, instead of a directory. */
  archive?: string;
  latestMtimeNs?: bigint;
  /** Where the archive is written; without it only its digest is taken. */
  output?: string;
  /** gzip instead of plain tar. */
  compress?: boolean;
}

export interface ArchiveResult {
  /** `sha256:…` of the uncompressed archive, and of what was written. */
  diffId: string;
  digest: string;
  tarSize: number;
  outputSize: number;
  /** Bytes of the files in it. */
  size: number;
}

/** What a layer worker does, by name. */
export interface LayerTasks {
  unpack: { task: UnpackTask; result: UnpackResult };
  archive: { task: ArchiveTask; result: ArchiveResult };
  copyTree: { task: TreeCopyTask; result: TreeCopyResult };
  /** The same, but files that are archives are unpacked where they would go. */
  addTree: { task: TreeCopyTask; result: TreeCopyResult };
  digestTree: { task: TreeDigestTask; result: TreeDigestResult };
}

export interface WorkerRequest<K extends keyof LayerTasks = keyof LayerTasks> {
  name: K;
  task: LayerTasks[K]['task'];
}

export type WorkerAnswer =
  | { done: LayerTasks[keyof LayerTasks]['result'] }
  | { failed: { kind: string; message: string } };

async function unpack(task: UnpackTask): Promise<UnpackResult> {
  if (task.checkFirst === true) await passThrough(task, new ArchiveCheck(), {});
  if (task.target === undefined)
    return { ...(await passThrough(task, undefined, { copy: task.copy, plain: task.plain })), size: 0 };
  mkdirSync(task.target, { recursive: true, mode: 0o755 });
  using extractor = new ArchiveExtractor(task.target, task.options);
  const read = await passThrough(task, extractor, { copy: task.copy, plain: task.plain });
  extractor.finish();
  return { ...read, size: extractor.size };
}

/** Reads the source once, to its end: digests, copies and the archive's entries come of the same pass. */
async function passThrough(
  task: UnpackTask,
  sink: TarSink | undefined,
  outputs: { copy?: string | undefined; plain?: string | undefined },
): Promise<Omit<UnpackResult, 'size'>> {
  using copy = new FileSink(outputs.copy);
  using plain = new FileSink(outputs.plain);
  const parser = sink === undefined ? undefined : new TarParser(sink);
  const plainHash = createHash('sha256');
  const counted = { bytes: 0, hash: undefined as Hash | undefined };
  const raw = new FileGrowth(task.source.growth).read(task.source.path, task.source);
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

type Compression = 'gzip' | 'zstd' | 'bzip2' | 'xz';

/** Known by the first bytes, as names and media types lie; undefined where it is not compressed. */
function compressionOf(head: Buffer): Compression | undefined {
  const starts = (...bytes: number[]): boolean =>
    head.length >= bytes.length && bytes.every((byte, i) => head.readUInt8(i) === byte);
  if (starts(0x1f, 0x8b)) return 'gzip';
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return 'zstd';
  if (starts(0x42, 0x5a, 0x68)) return 'bzip2';
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a)) return 'xz';
  return undefined;
}

const OUTPUT_CHUNK = 512 * 1024;

function decompress(kind: Compression, source: AsyncIterable<Buffer>): Readable {
  const input = Readable.from(source, { objectMode: false, highWaterMark: 4 * OUTPUT_CHUNK });
  if (kind === 'bzip2' || kind === 'xz') return filterThrough(kind, ['-dc'], input);
  const options = { chunkSize: OUTPUT_CHUNK, highWaterMark: 4 * OUTPUT_CHUNK };
  const output = kind === 'gzip' ? createGunzip(options) : createZstdDecompress(options);
  input.once('error', (error) => output.destroy(error));
  return input.pipe(output);
}

/** zlib's and the decompressors' own errors, as opposed to the archive's and the file system's. */
function isDamage(error: unknown): boolean {
  if (!(error instanceof Error) || kindOf(error) !== 'internal') return false;
  const code = 'code' in error ? String(error.code) : '';
  return code === '' || code.startsWith('Z_') || code.startsWith('ZSTD_') || code.startsWith('ERR_');
}

/** A file that is written from its start, or nothing. */
class FileSink implements Disposable {
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

async function archive(task: ArchiveTask): Promise<ArchiveResult> {
  using output = new FileSink(task.output);
  const hash = createHash('sha256');
  const outputHash = createHash('sha256');
  let tarSize = 0;
  let outputSize = 0;
  const write = (bytes: Buffer): void => {
    outputSize += bytes.length;
    outputHash.update(bytes);
    output.write(bytes);
  };
  const gzip = task.compress === true ? new GzipWriter(write) : undefined;
  const counted = { size: 0 };
  const chunks =
    task.archive === undefined
      ? archiveDirectory(task.directory ?? '', {
          whiteouts: true,
          counted,
          ...(task.latestMtimeNs === undefined ? {} : { latestMtimeNs: task.latestMtimeNs }),
        })
      : fileChunks(task.archive);
  for (const chunk of chunks) {
    tarSize += chunk.length;
    hash.update(chunk);
    if (gzip !== undefined) await gzip.write(chunk);
    else if (task.output !== undefined) output.write(chunk);
  }
  await gzip?.end();
  const diffId = `sha256:${hash.digest('hex')}`;
  return {
    diffId,
    digest: gzip === undefined ? diffId : `sha256:${outputHash.digest('hex')}`,
    tarSize,
    outputSize: gzip === undefined ? tarSize : outputSize,
    size: counted.size,
  };
}

/** Dockerfile's ADD. */
async function addTree(task: TreeCopyTask): Promise<TreeCopyResult> {
  const archives: string[] = [];
  for (const entry of selectEntries(task.selection))
    if (entry.isNamedFile && entry.stats.isFile() && (await isArchive(entry.file))) archives.push(entry.file);
  const result = await copyTree(task, new Set(archives));
  const into = resolveForCreation(task.root, task.destination);
  for (const file of archives) {
    using extractor = new ArchiveExtractor(task.root, {
      whiteouts: false,
      into: into === '' ? '.' : into,
      ...(task.archiveOwner === undefined ? {} : { owner: task.archiveOwner }),
    });
    const read = await passThrough(
      { source: { path: file, growth: wholeFile() }, options: { whiteouts: false } },
      extractor,
      {},
    );
    extractor.finish();
    result.entries += 1;
    result.bytes += read.tarSize;
  }
  return result;
}

function wholeFile(): SharedArrayBuffer {
  const growth = new FileGrowth();
  growth.complete();
  return growth.shared;
}

/** Whether a file is a tar archive, compressed or not; other compressed files are not. */
async function isArchive(file: string): Promise<boolean> {
  const head: Buffer[] = [];
  let length = 0;
  const raw = new FileGrowth(wholeFile()).read(file);
  const first = await raw.next();
  if (first.done === true) return false;
  const kind = compressionOf(first.value);
  const source = (async function* (): AsyncGenerator<Buffer> {
    yield first.value;
    yield* raw;
  })();
  try {
    for await (const chunk of kind === undefined ? source : decompress(kind, source)) {
      head.push(chunk);
      length += chunk.length;
      if (length >= TAR_HEADER) break;
    }
  } catch (error) {
    // Looks compressed and is not: a file like any other.
    if (isDamage(error)) return false;
    throw error;
  }
  const block = Buffer.concat(head).subarray(0, TAR_HEADER);
  if (block.length < TAR_HEADER) return false;
  try {
    return parseHeader(block) !== undefined;
  } catch {
    // No header stands there.
    return false;
  }
}

const TAR_HEADER = 512;

function* fileChunks(path: string): Generator<Buffer> {
  const buffer = Buffer.allocUnsafe(OUTPUT_CHUNK);
  const fd = openSync(path, 'r');
  try {
    for (let length = readSync(fd, buffer); length > 0; length = readSync(fd, buffer))
      yield buffer.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}

function run(request: WorkerRequest): Promise<LayerTasks[keyof LayerTasks]['result']> {
  // Each name comes with its own task: `LayerWorkers.run` sees to that.
  switch (request.name) {
    case 'unpack':
      return unpack(request.task as UnpackTask);
    case 'archive':
      return archive(request.task as ArchiveTask);
    case 'copyTree':
      return copyTree(request.task as TreeCopyTask);
    case 'addTree':
      return addTree(request.task as TreeCopyTask);
    case 'digestTree':
      return digestTree(request.task as TreeDigestTask);
  }
}

const port = parentPort;
port?.on('message', (request: WorkerRequest) => {
  run(request).then(
    (done) => port.postMessage({ done } satisfies WorkerAnswer),
    (error: unknown) =>
      port.postMessage({ failed: { kind: kindOf(error), message: messageOf(error) } } satisfies WorkerAnswer),
  );
});
