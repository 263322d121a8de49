import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { listAttributes, setTimes } from '#linux/extended-attributes.ts';
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
 * A tar archive of what is in `root`, in the order of names, as chunks: equal trees give equal bytes. Links are not followed,
 * sockets are left out, files with several names become hard links. Synchronous: for workers. A chunk is valid until the next.
 */
export function* archiveDirectory(root: string, options: ArchiveOptions): Generator<Buffer> {
  const seen = new Map<string, string>();
  const buffer = Buffer.allocUnsafe(CHUNK);
  for (const { file, entry, identity } of entriesOf(root, '', options)) {
    const first = identity === undefined ? undefined : seen.get(identity);
    if (first !== undefined) {
      yield formatHeader({ ...entry, type: 'hardlink', size: 0, linkName: first, attributes: [] });
      continue;
    }
    if (identity !== undefined) seen.set(identity, entry.name);
    yield formatHeader(entry);
    if (options.counted !== undefined) options.counted.size += entry.size;
    if (entry.size > 0) yield* fileData(file, entry.size, buffer);
  }
  yield endOfArchive();
}

interface FoundEntry {
  file: string;
  entry: TarEntry;
  /** Of a file that has more than one name. */
  identity: string | undefined;
}

function* entriesOf(directory: string, prefix: string, options: ArchiveOptions): Generator<FoundEntry> {
  for (const name of readdirSync(directory).sort()) {
    const file = join(directory, name);
    const status = lstatSync(file, { bigint: true });
    const mode = Number(status.mode);
    const type = TYPES[mode & S_IFMT];
    if (type === undefined) continue;
    const path = `${prefix}${name}`;
    if (options.whiteouts && type === 'character-device' && status.rdev === 0n) {
      yield { file, entry: mark(`${prefix}.wh.${name}`, status.mtimeNs, options), identity: undefined };
      continue;
    }
    const attributes = listAttributes(file);
    const mtimeNs = clamped(file, status.mtimeNs, options);
    yield {
      file,
      entry: {
        name: type === 'directory' ? `${path}/` : path,
        type,
        mode: mode & 0o7777,
        uid: Number(status.uid),
        gid: Number(status.gid),
        size: type === 'file' ? Number(status.size) : 0,
        mtimeNs,
        linkName: type === 'symlink' ? readlinkSync(file) : '',
        major: Number((status.rdev >> 8n) & 0xfffn),
        minor: Number((status.rdev & 0xffn) | ((status.rdev >> 12n) & 0xffffff00n)),
        attributes: attributes.filter(
          (each) => !each.name.startsWith(OVERLAY) && !HOST_ATTRIBUTES.includes(each.name),
        ),
      },
      identity: type !== 'directory' && status.nlink > 1n ? `${status.dev}:${status.ino}` : undefined,
    };
    if (type !== 'directory') continue;
    const opaque = attributes.find((each) => each.name === `${OVERLAY}opaque`);
    if (options.whiteouts && opaque?.value[0] === 0x79)
      yield { file, entry: mark(`${path}/.wh..wh..opq`, mtimeNs, options), identity: undefined };
    yield* entriesOf(file, `${path}/`, options);
  }
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
function* fileData(path: string, size: number, buffer: Buffer): Generator<Buffer> {
  const fd = openSync(path, 'r');
  try {
    let sent = 0;
    while (sent < size) {
      const length = readSync(fd, buffer, 0, Math.min(buffer.length, size - sent), sent);
      if (length === 0) break;
      sent += length;
      yield buffer.subarray(0, length);
    }
    if (sent < size) yield Buffer.alloc(size - sent);
  } finally {
    closeSync(fd);
  }
  yield padding(size);
}
