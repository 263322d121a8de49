import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { type DirectoryView, openDirectoryView, type ViewRequest } from '#linux/directory-view.ts';
import { kindOf, messageOf } from '#model/errors.ts';
import { ArchiveCheck, ArchiveExtractor, type ExtractionOptions } from './archive-extractor.ts';
import {
  type ArchiveSource,
  compressionOf,
  decompress,
  FileSink,
  isDamage,
  OUTPUT_CHUNK,
  type PassResult,
  passThrough,
} from './archive-pass.ts';
import { archiveDirectory } from './directory-archiver.ts';
import { type ChangesTask, type FileChange, listChanges } from './directory-changes.ts';
import { FileGrowth } from './growing-file.ts';
import { GzipWriter } from './gzip-writer.ts';
import { resolveForCreation } from './resolve-in-root.ts';
import { parseHeader } from './tar-header.ts';
import { copyTree, type TreeCopyResult, type TreeCopyTask } from './tree-copy.ts';
import { digestTree, type TreeDigestResult, type TreeDigestTask } from './tree-digest.ts';
import { selectEntries } from './tree-selection.ts';
import {
  copyLayer,
  extractInView,
  type LayerCopyTask,
  type PathStatus,
  sendFromView,
  statInView,
  type ViewExtractTask,
  type ViewPathTask,
  type ViewSendTask,
} from './view-tasks.ts';

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

export interface UnpackResult extends PassResult {
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
  openView: { task: ViewRequest; result: DirectoryView };
  statInView: { task: ViewPathTask; result: PathStatus };
  sendFromView: { task: ViewSendTask; result: undefined };
  extractInView: { task: ViewExtractTask; result: undefined };
  listChanges: { task: ChangesTask; result: FileChange[] };
  copyLayer: { task: LayerCopyTask; result: undefined };
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

async function archive(task: ArchiveTask): Promise<ArchiveResult> {
  using closing = new DisposableStack();
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
  const opened = (path: string): number => closing.adopt(openSync(path, 'r'), closeSync);
  const chunks =
    task.archive === undefined
      ? archiveDirectory(opened(task.directory ?? ''), {
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
    const read = await passThrough({ source: { path: file, growth: wholeFile() } }, extractor, {});
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

async function run(request: WorkerRequest): Promise<LayerTasks[keyof LayerTasks]['result']> {
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
    case 'openView':
      return openDirectoryView(request.task as ViewRequest);
    case 'statInView':
      return statInView(request.task as ViewPathTask);
    case 'sendFromView':
      return sendFromView(request.task as ViewSendTask);
    case 'extractInView':
      return extractInView(request.task as ViewExtractTask);
    case 'listChanges':
      return listChanges(request.task as ChangesTask);
    case 'copyLayer':
      return copyLayer(request.task as LayerCopyTask);
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
