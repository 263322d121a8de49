import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readSync, renameSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { Readable } from 'node:stream';
import { completeFile, incompleteArchive, type LayerWorkers, spool } from '#engine/layers/layer-workers.ts';
import { RootedDirectory } from '#linux/rooted-directory.ts';
import { invalid, notFound } from '#model/errors.ts';
import { cacheKey } from './build-cache.ts';
import type { BuildDirectory } from './build-filesystems.ts';
import type { BuildProgress } from './build-progress.ts';
import type { ContextSource, SyncDirectory } from './build-request.ts';
import { checkoutGit, isGitAddress } from './git-repository.ts';
import { downloadTo } from './remote-files.ts';

/** Files that came to a build from outside. */
export interface OpenedContext {
  /** The directory that they are in; an archive is unpacked when it is asked for. */
  root: () => Promise<string>;
  /** What they are, where that is known without reading them: equal files may have other keys. */
  contentKey: string | undefined;
  /** They are the user's own and may be known from before by inode and times. */
  isStable: boolean;
  /** Patterns that keep files out, where that is known already; else they are read of its .dockerignore. */
  ignore?: readonly string[];
}

/** Files that a build may copy from. */
export interface BuildContext extends OpenedContext {
  /** Patterns of its .dockerignore file. */
  ignore: readonly string[];
}

/** Posted archives up to this size stay in memory until a step needs their files. */
const LARGEST_HELD = 8 * 1024 * 1024;
/** Contexts up to this size are unpacked in memory. */
const LARGEST_IN_MEMORY = 64 * 1024 * 1024;
const LARGEST_IGNORE = 1024 * 1024;
const LARGEST_DOCKERFILE = 4 * 1024 * 1024;

/** Makes a context's files available below the build's directory; what it leaves out is for others to apply. */
export async function openContext(
  source: ContextSource,
  o: { directory: BuildDirectory; workers: LayerWorkers; signal: AbortSignal; progress: BuildProgress },
): Promise<OpenedContext> {
  switch (source.kind) {
    case 'directory':
      if (!existsSync(source.path) || !statSync(source.path).isDirectory())
        throw notFound(`build context ${source.path} is no directory`);
      return { ...unpacked(source.path), isStable: true };
    case 'archive':
      return packedContext(await receiveArchive(source.stream, o), o);
    case 'remote':
      return unpacked(await openRemote(source.url, o));
    case 'empty': {
      const root = o.directory.path('data', 'context');
      mkdirSync(root);
      return unpacked(root);
    }
    case 'synced':
      return await syncedContext(source.sync, o);
    case 'image':
      throw invalid(`${source.reference} is an image and cannot be the context of a build`);
  }
}

function unpacked(root: string): OpenedContext {
  return { root: () => Promise.resolve(root), contentKey: undefined, isStable: false };
}

async function syncedContext(
  sync: SyncDirectory,
  {
    directory,
    signal,
    progress,
  }: { directory: BuildDirectory; signal: AbortSignal; progress: BuildProgress },
): Promise<OpenedContext> {
  const { root, isStable, ignore } = await sync({
    onEnd: (release) => directory.onEnd(release),
    signal,
    progress,
  });
  return { ...unpacked(root), isStable, ignore };
}

interface ReceivedArchive {
  /** SHA-256 of it, in hexadecimal. */
  digest: string;
  /** Writes it where it is not on disk yet; to be called once. */
  file: () => Promise<string>;
}

/** Takes an archive in; what is small is held in memory, for of one that came before nobody needs more than the digest. */
async function receiveArchive(
  stream: Readable,
  { directory, signal }: { directory: BuildDirectory; signal: AbortSignal },
): Promise<ReceivedArchive> {
  const hash = createHash('sha256');
  const held: Buffer[] = [];
  let size = 0;
  const chunks: AsyncIterator<Buffer> = stream.iterator({ destroyOnReturn: false });
  try {
    while (size <= LARGEST_HELD) {
      const next = await chunks.next();
      if (next.done === true) return { digest: hash.digest('hex'), file: write };
      hash.update(next.value);
      held.push(next.value);
      size += next.value.length;
    }
  } catch (error) {
    throw incompleteArchive(error);
  }
  const file = directory.path('data', 'archive');
  await spool(all(), file, signal);
  return { digest: hash.digest('hex'), file: () => Promise.resolve(file) };

  async function write(): Promise<string> {
    const path = directory.path('data', 'archive');
    await writeFile(path, held.splice(0), { mode: 0o600 });
    return path;
  }

  async function* all(): AsyncGenerator<Buffer> {
    yield* held.splice(0);
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      hash.update(next.value);
      yield next.value;
    }
  }
}

function packedContext(
  archive: ReceivedArchive,
  o: { directory: BuildDirectory; workers: LayerWorkers },
): OpenedContext {
  let root: Promise<string> | undefined;
  const unpack = async (): Promise<string> => await unpackArchive(await archive.file(), o);
  return {
    root: () => {
      root ??= unpack();
      return root;
    },
    contentKey: cacheKey('archive', archive.digest),
    isStable: false,
  };
}

/** The patterns that keep files out: those beside the Dockerfile, or the context's own. */
export function ignorePatterns(root: string, dockerfile: string): string[] {
  using directory = new RootedDirectory(root);
  for (const name of [`${dockerfile}.dockerignore`, '.dockerignore']) {
    const patterns = readIgnoreFile(directory, name);
    if (patterns !== undefined) return patterns;
  }
  return [];
}

/** The patterns of a .dockerignore file, whatever its name; undefined where there is none. */
export function readIgnoreFile(directory: RootedDirectory, name: string): string[] | undefined {
  const data = directory.readFile(name, LARGEST_IGNORE);
  if (data !== undefined && data.length > LARGEST_IGNORE) throw invalid(`${name} is larger than 1 MiB`);
  return data === undefined ? undefined : parseIgnore(data.toString('utf8'));
}

function parseIgnore(text: string): string[] {
  return text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const isException = line.startsWith('!');
      const path = posix.normalize((isException ? line.slice(1) : line).trim()).replace(/^\/+/, '');
      return (isException ? '!' : '') + path.replace(/(.)\/$/, '$1');
    });
}

/** The Dockerfile at a path of a context, links resolved inside; `not-found` names it. */
export function readDockerfile(root: string, path: string): string {
  using directory = new RootedDirectory(root);
  const data = directory.readFile(path, LARGEST_DOCKERFILE);
  if (data === undefined) throw notFound(`failed to read dockerfile: ${path} is not in the build context`);
  if (data.length > LARGEST_DOCKERFILE) throw invalid(`${path} is larger than ${LARGEST_DOCKERFILE} bytes`);
  return data.toString('utf8');
}

async function unpackArchive(
  file: string,
  o: { directory: BuildDirectory; workers: LayerWorkers },
): Promise<string> {
  const { size } = statSync(file);
  // The exec root is in memory, where making files is quickest; what an archive that is not compressed takes there is known.
  const isSmall = size <= LARGEST_IN_MEMORY && isPlainArchive(headOf(file));
  const target = o.directory.path(isSmall ? 'exec' : 'data', 'context');
  mkdirSync(target, { mode: 0o755 });
  if (size === 0) return target;
  await o.workers.run('unpack', {
    source: { path: file, growth: completeFile() },
    target,
    options: { whiteouts: false },
    withoutDigest: true,
  });
  return target;
}

/** As much of a file as tells what it is. */
function headOf(file: string): Buffer {
  const head = Buffer.alloc(262);
  const fd = openSync(file, 'r');
  try {
    readSync(fd, head, 0, head.length, 0);
  } finally {
    closeSync(fd);
  }
  return head;
}

function isPlainArchive(head: Buffer): boolean {
  return head.toString('latin1', 257, 262) === 'ustar';
}

async function openRemote(
  url: string,
  o: { directory: BuildDirectory; workers: LayerWorkers; signal: AbortSignal },
): Promise<string> {
  if (isGitAddress(url)) {
    return await checkoutGit(url, o.directory.path('data', 'git'), {
      keepGitDirectory: false,
      signal: o.signal,
    });
  }
  const file = o.directory.path('data', 'download');
  await downloadTo(url, file, { signal: o.signal });
  const head = headOf(file);
  const isArchive = isPlainArchive(head) || [0x1f, 0x42, 0x28, 0xfd].includes(head[0] ?? 0);
  if (isArchive) return await unpackArchive(file, o);
  // A Dockerfile alone.
  const root = o.directory.path('data', 'context');
  mkdirSync(root);
  renameSync(file, join(root, 'Dockerfile'));
  return root;
}
