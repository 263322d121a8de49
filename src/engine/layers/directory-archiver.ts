import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { listAttributes, setTimes } from '#linux/extended-attributes.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { checkDepth, isOpaque, isWhiteout, lookAt, openDirectory, placeIn } from './open-directory.ts';
import { type EntryType, endOfArchive, formatHeader, padding, type TarEntry } from './tar-header.ts';

const S_IFMT = 0o170000;
const TYPES: Record<number, EntryType> = {
  32768: 'file',
  16384: 'directory',
  40960: 'symlink',
  8192: 'character-device',
  24576: 'block-device',
  4096: 'fifo',
};
const CHUNK = 1024 * 1024;
const OVERLAY = 'trusted.overlay.';
/** Kept by the kernel for the host's own policies; they say nothing in another place. */
const HOST_ATTRIBUTES = ['security.selinux', 'security.ima', 'security.evm'];

export interface ArchiveOptions {
  /** overlayfs's marks of what is removed become a layer's `.wh.` names (image-spec layer.md). */
  whiteouts: boolean;
  /** Later times become this one, in the directory too; nanoseconds since the epoch. */
  latestMtimeNs?: bigint;
  /** Gets the bytes of the files. */
  counted?: { size: number };
}

/**
 * A tar archive of what is in a directory, in the order of names, as chunks: equal trees give equal bytes. With `as` the directory
 * is its first entry, of that name, and all others lie in it. Links are not followed, sockets are left out, files with several
 * names become hard links. Somebody may change the tree meanwhile: nothing outside of it gets in, and what is gone is left out.
 * Synchronous: for workers. A chunk is valid until the next. The descriptor stays the caller's.
 */
export function* archiveDirectory(
  directory: number,
  options: ArchiveOptions & { as?: string },
): Generator<Buffer> {
  yield* archive(namedEntries(directory, options), options);
}

/** The same of one file, which is no directory, as the only entry: `name` in a directory. */
export function* archiveFile(
  directory: number,
  o: { name: string; as: string },
  options: ArchiveOptions,
): Generator<Buffer> {
  const file = placeIn(directory, o.name);
  const stats = lookAt(file);
  const found = stats === undefined ? undefined : entryOf(file, o.as, stats, options);
  yield* archive(found === undefined ? [] : [found], options);
}

function* archive(entries: Iterable<FoundEntry>, options: ArchiveOptions): Generator<Buffer> {
  const seen = new Map<string, string>();
  const buffer = Buffer.allocUnsafe(CHUNK);
  for (const { file, entry, identity } of entries) {
    const first = identity === undefined ? undefined : seen.get(identity);
    if (first !== undefined) {
      yield formatHeader({ ...entry, type: 'hardlink', size: 0, linkName: first, attributes: [] });
      continue;
    }
    const content = entry.size > 0 ? openFile(file) : undefined;
    // It is gone, or no file any more.
    if (entry.size > 0 && content === undefined) continue;
    if (identity !== undefined) seen.set(identity, entry.name);
    try {
      yield formatHeader(entry);
      if (options.counted !== undefined) options.counted.size += entry.size;
      if (content !== undefined) yield* fileData(content, entry.size, buffer);
    } finally {
      if (content !== undefined) closeSync(content);
    }
  }
  yield endOfArchive();
}

interface FoundEntry {
  file: string;
  entry: TarEntry;
  /** Of a file that has more than one name. */
  identity: string | undefined;
}

function* namedEntries(directory: number, options: ArchiveOptions & { as?: string }): Generator<FoundEntry> {
  const { as } = options;
  if (as === undefined) {
    yield* entriesOf(directory, '', options);
    return;
  }
  const root = entryOf(placeIn(directory, '.'), as, fstatSync(directory, { bigint: true }), options);
  if (root !== undefined) yield root;
  yield* entriesOf(directory, `${as}/`, options);
}

function* entriesOf(directory: number, prefix: string, options: ArchiveOptions): Generator<FoundEntry> {
  checkDepth(prefix);
  for (const name of readdirSync(`/proc/self/fd/${directory}`).sort()) {
    const file = placeIn(directory, name);
    const status = lookAt(file);
    if (status === undefined) continue;
    if (options.whiteouts && isWhiteout(status)) {
      yield { file, entry: mark(`${prefix}.wh.${name}`, status.mtimeNs, options), identity: undefined };
      continue;
    }
    const found = entryOf(file, `${prefix}${name}`, status, options);
    if (found === undefined) continue;
    yield found;
    if (found.entry.type !== 'directory') continue;
    const below = openDirectory(file);
    if (below === undefined) continue;
    try {
      if (options.whiteouts && isOpaque(file)) {
        const opaque = mark(`${prefix}${name}/.wh..wh..opq`, found.entry.mtimeNs, options);
        yield { file, entry: opaque, identity: undefined };
      }
      yield* entriesOf(below, `${prefix}${name}/`, options);
    } finally {
      closeSync(below);
    }
  }
}

/** Undefined for sockets, and for a link that is none any more. */
function entryOf(
  file: string,
  path: string,
  status: BigIntStats,
  options: ArchiveOptions,
): FoundEntry | undefined {
  const mode = Number(status.mode);
  const type = TYPES[mode & S_IFMT];
  const linkName = type === 'symlink' ? readLink(file) : '';
  if (type === undefined || linkName === undefined) return undefined;
  return {
    file,
    entry: {
      name: type === 'directory' ? `${path}/` : path,
      type,
      mode: mode & 0o7777,
      uid: Number(status.uid),
      gid: Number(status.gid),
      size: type === 'file' ? Number(status.size) : 0,
      mtimeNs: clamped(file, status.mtimeNs, options),
      linkName,
      major: Number((status.rdev >> 8n) & 0xfffn),
      minor: Number((status.rdev & 0xffn) | ((status.rdev >> 12n) & 0xffffff00n)),
      attributes: attributesOf(file),
    },
    identity: type !== 'directory' && status.nlink > 1n ? `${status.dev}:${status.ino}` : undefined,
  };
}

function attributesOf(file: string): TarEntry['attributes'] {
  try {
    return listAttributes(file).filter(
      (each) => !each.name.startsWith(OVERLAY) && !HOST_ATTRIBUTES.includes(each.name),
    );
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

function readLink(file: string): string | undefined {
  try {
    return readlinkSync(file);
  } catch (error) {
    if (hasCode(error, 'EINVAL', 'ENOENT')) return undefined;
    throw error;
  }
}

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;

/** Undefined where no file is any more: neither links, which lead elsewhere, nor devices, which may have no end, are read. */
function openFile(path: string): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ELOOP', 'ENXIO')) return undefined;
    throw error;
  }
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  return undefined;
}

/** A whiteout: an empty file by its name alone. */
function mark(name: string, mtimeNs: bigint, options: ArchiveOptions): TarEntry {
  return {
    name,
    type: 'file',
    mode: 0o600,
    uid: 0,
    gid: 0,
    size: 0,
    mtimeNs:
      options.latestMtimeNs !== undefined && mtimeNs > options.latestMtimeNs
        ? options.latestMtimeNs
        : mtimeNs,
    linkName: '',
    major: 0,
    minor: 0,
    attributes: [],
  };
}

function clamped(file: string, mtimeNs: bigint, options: ArchiveOptions): bigint {
  if (options.latestMtimeNs === undefined || mtimeNs <= options.latestMtimeNs) return mtimeNs;
  setTimes(file, options.latestMtimeNs);
  return options.latestMtimeNs;
}

/** Exactly `size` bytes and the padding, also of a file that grows or shrinks meanwhile. */
function* fileData(fd: number, size: number, buffer: Buffer): Generator<Buffer> {
  let sent = 0;
  while (sent < size) {
    const length = readSync(fd, buffer, 0, Math.min(buffer.length, size - sent), sent);
    if (length === 0) break;
    sent += length;
    yield buffer.subarray(0, length);
  }
  for (let left = size - sent; left > 0; left -= buffer.length)
    yield Buffer.alloc(Math.min(left, buffer.length));
  yield padding(size);
}
