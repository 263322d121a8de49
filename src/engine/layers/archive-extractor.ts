import { closeSync, readSync, writeSync } from 'node:fs';
import { posix } from 'node:path';
import { RootedDirectory } from '#linux/rooted-directory.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { invalid } from '#model/errors.ts';
import type { TarEntry } from './tar-header.ts';
import { type PlacedEntry, readTar } from './tar-reader.ts';

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** Several times what the largest images in use have in a layer. */
const MOST_ENTRIES = 1_000_000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const S_IFIFO = 0o010000;

export interface ExtractionOptions {
  /** A layer's `.wh.` names become overlayfs's own marks (overlayfs(5)); elsewhere they are ordinary names. */
  whiteouts: boolean;
  /** Where below the root entries go; default the root. */
  into?: string;
  /** Refuses to replace a directory by something else and the other way round, as `docker cp` does. */
  keepTypes?: boolean;
  /** Owner for every entry instead of the archive's. */
  owner?: { uid: number; gid: number };
}

/**
 * Writes the archive in the open file `fd` below `root`; gives the bytes of its files. Nothing outside of `root` is
 * touched whatever the archive says: names that lead out are refused by name, and every path is resolved inside.
 */
export function extractArchive(fd: number, root: string, options: ExtractionOptions): { size: number } {
  checkEntries(fd, options);
  using directory = new RootedDirectory(root);
  const known = new Set<string>(['.']);
  const directoryTimes = new Map<string, bigint>();
  let size = 0;
  for (const placed of readTar(fd)) {
    const name = insideName(placed.entry, options.into ?? '.');
    try {
      size += extractEntry(directory, fd, placed, name, options, known);
    } catch (error) {
      if (
        hasCode(
          error,
          'ELOOP',
          'EXDEV',
          'ENOTDIR',
          'ENAMETOOLONG',
          'EEXIST',
          'EISDIR',
          'EPERM',
          'EINVAL',
          'ENOENT',
        )
      ) {
        throw invalid(`failed to extract ${JSON.stringify(placed.entry.name)}: ${String(error)}`, {
          cause: error,
        });
      }
      throw error;
    }
    if (placed.entry.type === 'directory') directoryTimes.set(name, placed.entry.mtimeNs);
  }
  // Last, because writing into a directory changes its time; one may have been replaced by a later entry.
  for (const [name, mtimeNs] of directoryTimes) {
    if (directory.stat(name)?.isDirectory === true) directory.setTimes(name, mtimeNs);
  }
  return { size };
}

/** Refuses an archive that is cut off, leads out or is too large, before anything of it is written. */
function checkEntries(fd: number, options: ExtractionOptions): void {
  let count = 0;
  for (const { entry } of readTar(fd)) {
    count += 1;
    if (count > MOST_ENTRIES)
      throw invalid(`the archive has more than ${MOST_ENTRIES} entries`, {
        hint: 'split it into several layers',
      });
    insideName(entry, options.into ?? '.');
  }
}

/** The entry's normalised name below `into`; refuses names and links that lead out (Docker's checks and words). */
function insideName(entry: TarEntry, into: string): string {
  if (entry.name.includes('\0')) throw invalid(`invalid name in archive: ${JSON.stringify(entry.name)}`);
  const relative = posix.normalize(entry.name.replace(/^\/+/, '')).replace(/\/+$/, '');
  if (relative === '..' || relative.startsWith('../')) {
    throw invalid(`invalid archive: ${JSON.stringify(entry.name)} is outside of its root`);
  }
  const name = posix.join(into, relative === '' ? '.' : relative);
  if (entry.type === 'symlink') {
    const target = posix.join(posix.dirname(name), entry.linkName);
    if (leadsOut(target))
      throw invalid(`invalid symlink ${JSON.stringify(entry.name)} -> ${JSON.stringify(entry.linkName)}`);
  }
  if (entry.type === 'hardlink' && leadsOut(posix.normalize(entry.linkName.replace(/^\/+/, '')))) {
    throw invalid(`invalid hardlink ${JSON.stringify(entry.name)} -> ${JSON.stringify(entry.linkName)}`);
  }
  return name;
}

function leadsOut(path: string): boolean {
  return path === '..' || path.startsWith('../');
}

function extractEntry(
  root: RootedDirectory,
  fd: number,
  { entry, dataOffset }: PlacedEntry,
  name: string,
  options: ExtractionOptions,
  known: Set<string>,
): number {
  const parent = posix.dirname(name);
  ensureDirectory(root, parent, known);
  const base = posix.basename(name);
  if (options.whiteouts && base.startsWith(WHITEOUT)) {
    if (base === OPAQUE) root.setAttribute(parent, 'trusted.overlay.opaque', Buffer.from('y'));
    else if (!base.startsWith('.wh..wh.')) {
      const hidden = posix.join(parent, base.slice(WHITEOUT.length));
      root.remove(hidden);
      root.makeNode(hidden, S_IFCHR, { major: 0, minor: 0 });
    }
    return 0;
  }
  const existing = root.stat(name);
  if (existing !== undefined && !(existing.isDirectory && entry.type === 'directory')) {
    if (name === '.') throw invalid(`invalid archive: ${JSON.stringify(entry.name)} would replace its root`);
    if (options.keepTypes === true && existing.isDirectory !== (entry.type === 'directory')) {
      const [from, to] = existing.isDirectory
        ? ['directory', 'non-directory']
        : ['non-directory', 'directory'];
      throw invalid(
        `cannot overwrite ${from} ${JSON.stringify(name)} with ${to} ${JSON.stringify(entry.name)}`,
      );
    }
    root.remove(name);
    known.delete(name);
  }
  switch (entry.type) {
    case 'directory':
      if (existing?.isDirectory !== true) root.makeDirectory(name, entry.mode);
      known.add(name);
      break;
    case 'file':
      writeFile(root, fd, entry, dataOffset, name);
      break;
    case 'symlink':
      root.makeSymlink(entry.linkName, name);
      break;
    case 'hardlink':
      root.makeHardLink(
        posix.join(options.into ?? '.', posix.normalize(entry.linkName.replace(/^\/+/, ''))),
        name,
      );
      return 0;
    case 'character-device':
      root.makeNode(name, S_IFCHR | entry.mode, entry);
      break;
    case 'block-device':
      root.makeNode(name, S_IFBLK | entry.mode, entry);
      break;
    case 'fifo':
      root.makeNode(name, S_IFIFO | entry.mode, { major: 0, minor: 0 });
      break;
  }
  const { uid, gid } = options.owner ?? entry;
  root.setOwner(name, uid, gid);
  // After the owner, because chown(2) clears set-user-ID and file capabilities.
  for (const { name: attribute, value } of entry.attributes) root.setAttribute(name, attribute, value);
  if (entry.type !== 'symlink') root.setMode(name, entry.mode);
  if (entry.type !== 'directory') root.setTimes(name, entry.mtimeNs);
  return entry.size;
}

function ensureDirectory(root: RootedDirectory, path: string, known: Set<string>): void {
  if (known.has(path)) return;
  if (root.stat(`${path}/.`) === undefined) {
    ensureDirectory(root, posix.dirname(path), known);
    root.makeDirectory(path, 0o755);
  }
  known.add(path);
}

function writeFile(
  root: RootedDirectory,
  fd: number,
  entry: TarEntry,
  dataOffset: number,
  name: string,
): void {
  const target = root.createFile(name, 0o600);
  try {
    const chunk = Buffer.allocUnsafe(Math.min(entry.size, 1024 * 1024));
    let done = 0;
    while (done < entry.size) {
      const length = readSync(fd, chunk, 0, Math.min(chunk.length, entry.size - done), dataOffset + done);
      if (length === 0) throw invalid(`unexpected EOF: the archive is cut off inside ${entry.name}`);
      let written = 0;
      while (written < length) written += writeSync(target, chunk, written, length - written);
      done += length;
    }
  } finally {
    closeSync(target);
  }
}
