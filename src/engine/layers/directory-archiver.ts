import { createReadStream, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { listAttributes } from '#linux/extended-attributes.ts';
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

/**
 * A tar archive of `path` (a file or a whole directory) as chunks; its entries are called `name` and `name/…`. Links are not
 * followed, sockets are left out, files with several names in the tree become hard links.
 */
export async function* archiveDirectory(path: string, name: string): AsyncGenerator<Buffer> {
  const seen = new Map<string, string>();
  for (const [file, entryName] of walk(path, name)) {
    const status = lstatSync(file, { bigint: true });
    const mode = Number(status.mode);
    const type = TYPES[mode & S_IFMT];
    if (type === undefined) continue;
    const identity = `${status.dev}:${status.ino}`;
    const first = type !== 'directory' && status.nlink > 1n ? seen.get(identity) : undefined;
    const entry: TarEntry = {
      name: type === 'directory' ? `${entryName}/` : entryName,
      type: first === undefined ? type : 'hardlink',
      mode: mode & 0o7777,
      uid: Number(status.uid),
      gid: Number(status.gid),
      size: first === undefined && type === 'file' ? Number(status.size) : 0,
      mtimeNs: status.mtimeNs,
      linkName: first ?? (type === 'symlink' ? readlinkSync(file) : ''),
      major: Number((status.rdev >> 8n) & 0xfffn),
      minor: Number((status.rdev & 0xffn) | ((status.rdev >> 12n) & 0xffffff00n)),
      attributes:
        first === undefined
          ? listAttributes(file).filter((each) => !each.name.startsWith('trusted.overlay.'))
          : [],
    };
    seen.set(identity, entryName);
    yield formatHeader(entry);
    if (entry.size > 0) yield* fileData(file, entry.size);
  }
  yield endOfArchive();
}

function* walk(path: string, name: string): Generator<[path: string, name: string]> {
  yield [path, name];
  if (!lstatSync(path).isDirectory()) return;
  for (const child of readdirSync(path).sort()) yield* walk(join(path, child), `${name}/${child}`);
}

/** Exactly `size` bytes and the padding, also of a file that grows or shrinks meanwhile. */
async function* fileData(path: string, size: number): AsyncGenerator<Buffer> {
  let sent = 0;
  for await (const chunk of createReadStream(path, { end: size - 1, highWaterMark: 256 * 1024 })) {
    const data: Buffer = chunk;
    sent += data.length;
    yield data;
  }
  if (sent < size) yield Buffer.alloc(size - sent);
  yield padding(size);
}
