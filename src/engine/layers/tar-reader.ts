import { fstatSync, readSync } from 'node:fs';
import { invalid } from '#model/errors.ts';
import { applyPax, BLOCK, parseHeader, parsePax, type TarEntry } from './tar-header.ts';

/** Longest name or extended header that is read; Linux itself allows 4 KiB names and 64 KiB attributes. */
const LARGEST_EXTENSION = 1024 * 1024;

/** An entry and where in the file its data stands. */
export interface PlacedEntry {
  entry: TarEntry;
  dataOffset: number;
}

/**
 * The entries of an uncompressed tar archive in an open, seekable file. Synchronous: used in workers, and on archives whose
 * entries are few. What is cut off, malformed or unsupported is an `invalid` error.
 */
export function* readTar(fd: number): Generator<PlacedEntry> {
  const fileSize = fstatSync(fd).size;
  const block = Buffer.alloc(BLOCK);
  let at = 0;
  let pax = new Map<string, Buffer>();
  let longName: string | undefined;
  let longLink: string | undefined;
  while (at < fileSize) {
    if (readSync(fd, block, 0, BLOCK, at) < BLOCK) throw invalid('unexpected EOF: the archive is cut off');
    const header = parseHeader(block);
    if (header === undefined) return;
    at += BLOCK;
    if (header.entry === undefined) {
      if (header.typeFlag === 'S')
        throw invalid('sparse files in an archive are not supported; make it without --sparse');
      if (header.size > LARGEST_EXTENSION) throw invalid('invalid tar header: extended header too large');
      const data = Buffer.alloc(header.size);
      if (readSync(fd, data, 0, header.size, at) < header.size)
        throw invalid('unexpected EOF: the archive is cut off');
      if (header.typeFlag === 'x') pax = parsePax(data);
      else if (header.typeFlag === 'L') longName = untilNul(data);
      else if (header.typeFlag === 'K') longLink = untilNul(data);
      else if (header.typeFlag !== 'g')
        throw invalid(`unhandled tar header type ${JSON.stringify(header.typeFlag)}`);
      at += padded(header.size);
      continue;
    }
    const named = {
      ...header.entry,
      name: longName ?? header.entry.name,
      linkName: longLink ?? header.entry.linkName,
    };
    const entry = applyPax(named, pax);
    if (entry.type === 'file' && at + entry.size > fileSize) {
      throw invalid(`unexpected EOF: the archive is cut off inside ${entry.name}`);
    }
    pax = new Map();
    longName = undefined;
    longLink = undefined;
    yield { entry, dataOffset: at };
    at += entry.type === 'file' ? padded(entry.size) : 0;
  }
  if (at === 0) throw invalid('the archive is empty');
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

function untilNul(data: Buffer): string {
  const end = data.indexOf(0);
  return data.toString('utf8', 0, end === -1 ? data.length : end);
}
