import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { posix } from 'node:path';
import { RootedDirectory } from '#linux/rooted-directory.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { cancelled, invalid, notFound } from '#model/errors.ts';
import { ArchiveExtractor } from './archive-extractor.ts';
import { passThrough } from './archive-pass.ts';
import { archiveDirectory, archiveFile } from './directory-archiver.ts';
import { resolveLinks } from './resolve-in-root.ts';
import { TarParser } from './tar-reader.ts';

/** Work on views of containers' files (directory-view.ts), which are named by the descriptor of their root. */
export interface ViewPathTask {
  root: number;
  /** Absolute, in the view. A slash or `/.` at its end means the directory that a link leads to. */
  path: string;
  /** Links at its end too. */
  follow: boolean;
}

/** lstat(2), as far as Docker tells of it. */
export interface PathStatus {
  /** The last part of the path. */
  name: string;
  size: number;
  /** With the bits of the file's type. */
  mode: number;
  mtimeNs: bigint;
  isDirectory: boolean;
  isLink: boolean;
  /** All links followed, in the view; as far as they lead where they lead nowhere. */
  resolved: string;
}

export interface ViewSendTask {
  root: number;
  /** What to send, and all below it. Undefined: all that is in the root, without the root itself. */
  path: string | undefined;
  /** A pipe's writing end, closed when all is written. */
  output: number;
}

export interface ViewExtractTask {
  root: number;
  /** A directory in the view. */
  into: string;
  /** A pipe's reading end, closed when it is not read any more. */
  input: number;
  /** Owner of everything, instead of the archive's. */
  owner: { uid: number; gid: number } | undefined;
  /** A directory is not replaced by something else, nor something else by a directory. */
  keepsKinds: boolean;
}

/** What a path means; `not-found` where that is nothing. */
export function statInView({ root, path, follow }: ViewPathTask): PathStatus {
  using view = new RootedDirectory(root);
  const fd = openInView(view, path, follow);
  try {
    const stats = fstatSync(fd, { bigint: true });
    return {
      name: baseName(path),
      size: Number(stats.size),
      mode: Number(stats.mode),
      mtimeNs: stats.mtimeNs,
      isDirectory: stats.isDirectory(),
      isLink: stats.isSymbolicLink(),
      resolved: resolveLinks(path, (each) => view.readLink(each)),
    };
  } finally {
    closeSync(fd);
  }
}

function openInView(view: RootedDirectory, path: string, follow: boolean): number {
  try {
    return view.openPath(path, { follow });
  } catch (cause) {
    if (hasCode(cause, 'ENOENT')) throw notFound(`${path}: no such file or directory`, { cause });
    if (hasCode(cause, 'ENOTDIR')) throw invalid(`${path}: not a directory`, { cause });
    if (hasCode(cause, 'ELOOP')) throw invalid(`${path}: too many levels of symbolic links`, { cause });
    if (hasCode(cause, 'ENAMETOOLONG')) throw invalid(`${path}: file name too long`, { cause });
    throw cause;
  }
}

/** `/` of the root, `.` where the path ends with that. */
function baseName(path: string): string {
  return posix.basename(path) || '/';
}

/** Writes a tar archive, its names as `docker cp` expects them: below the last part of the path. */
export function sendFromView({ root, path, output }: ViewSendTask): undefined {
  using closing = new DisposableStack();
  closing.adopt(output, closeSync);
  for (const chunk of path === undefined ? wholeView(root, closing) : partOfView(root, path, closing))
    writeFully(output, chunk);
}

function wholeView(root: number, closing: DisposableStack): Generator<Buffer> {
  const directory = closing.adopt(openSync(`/proc/self/fd/${root}`, 'r'), closeSync);
  return archiveDirectory(directory, { whiteouts: false });
}

function partOfView(root: number, path: string, closing: DisposableStack): Generator<Buffer> {
  const view = closing.use(new RootedDirectory(root));
  const fd = closing.adopt(openInView(view, path, false), closeSync);
  const name = baseName(path);
  // What was found is what is read, whatever is at its place by now.
  if (fstatSync(fd).isDirectory()) {
    const directory = closing.adopt(openSync(`/proc/self/fd/${fd}`, 'r'), closeSync);
    return archiveDirectory(directory, { whiteouts: false, as: name === '/' ? '' : name });
  }
  const parent = closing.adopt(openInView(view, posix.dirname(path), true), closeSync);
  return archiveFile(parent, { name, as: name }, { whiteouts: false });
}

function writeFully(fd: number, bytes: Buffer): void {
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
  } catch (cause) {
    if (hasCode(cause, 'EPIPE')) throw cancelled('nobody waits for the archive any more', { cause });
    throw cause;
  }
}

/** Writes what an archive holds, plain or compressed. After an error a part of it is there. */
export async function extractInView(task: ViewExtractTask): Promise<undefined> {
  using closing = new DisposableStack();
  closing.adopt(task.input, closeSync);
  using extractor = new ArchiveExtractor(task.root, {
    whiteouts: false,
    into: posix.relative('/', posix.normalize(task.into)) || '.',
    keepsRoot: true,
    keepsKinds: task.keepsKinds,
    ...(task.owner === undefined ? {} : { owner: task.owner }),
  });
  await passThrough({ source: task.input, withoutDigest: true }, extractor, {});
  extractor.finish();
}

export interface LayerCopyTask {
  /** The descriptor of a directory with overlayfs's marks. */
  source: number;
  /** Made here, with the same marks. */
  target: string;
}

/** Copies what a container wrote, for a layer. */
export function copyLayer({ source, target }: LayerCopyTask): undefined {
  using closing = new DisposableStack();
  const directory = closing.adopt(openSync(`/proc/self/fd/${source}`, 'r'), closeSync);
  const extractor = closing.use(new ArchiveExtractor(target, { whiteouts: true }));
  const parser = new TarParser(extractor);
  for (const chunk of archiveDirectory(directory, { whiteouts: true })) parser.push(chunk);
  parser.finish();
  extractor.finish();
}
