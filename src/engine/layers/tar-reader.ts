import { fstatSync, readSync } from 'node:fs';
import { invalid } from '#model/errors.ts';
import {
  applyPax,
  BLOCK,
  gnuSparseRegions,
  gnuSparseSize,
  parseHeader,
  parsePax,
  SPARSE_IN_EXTENSION,
  SPARSE_IN_HEADER,
  type SparseRegion,
  sparseRegions,
  type TarEntry,
} from './tar-header.ts';

/** Longest name or extended header that is read; Linux itself allows 4 KiB names and 64 KiB attributes. */
const LARGEST_EXTENSION = 1024 * 1024;

/** An entry and where in the file its data stands. */
export interface PlacedEntry {
  entry: TarEntry;
  dataOffset: number;
}

/** What a {@link TarParser} tells of an archive, in its order. */
export interface TarSink {
  /** Data follows for files only; `end` follows for every entry. */
  entry(entry: TarEntry): void;
  /** A piece of the file's content that belongs at `position`. The bytes are valid during the call only. */
  data(bytes: Buffer, position: number): void;
  end(): void;
}

type Header =
  | { kind: 'end' }
  | { kind: 'extension'; typeFlag: string; size: number }
  | { kind: 'entry'; entry: TarEntry; stored: number; sparseBlock: boolean; sparseText: boolean };

/** Puts an entry together from its header block and the extended headers before it. */
class EntryAssembler {
  #pax = new Map<string, Buffer>();
  #longName: string | undefined;
  #longLink: string | undefined;

  header(block: Buffer): Header {
    const header = parseHeader(block);
    if (header === undefined) return { kind: 'end' };
    const { typeFlag, size } = header;
    if (header.entry === undefined) {
      if (!'xgLK'.includes(typeFlag)) throw invalid(`unhandled tar header type ${JSON.stringify(typeFlag)}`);
      if (size > LARGEST_EXTENSION) throw invalid('invalid tar header: extended header too large');
      return { kind: 'extension', typeFlag, size };
    }
    const named = {
      ...header.entry,
      name: this.#longName ?? header.entry.name,
      linkName: this.#longLink ?? header.entry.linkName,
    };
    const pax = this.#pax;
    const entry = pax.size === 0 ? named : applyPax(named, pax);
    this.#pax = new Map();
    this.#longName = undefined;
    this.#longLink = undefined;
    const stored = entry.type === 'file' ? Number(pax.get('size') ?? size) : 0;
    const sparseText = pax.get('GNU.sparse.major')?.toString() === '1';
    if (typeFlag !== 'S') return { kind: 'entry', entry, stored, sparseBlock: false, sparseText };
    const { regions, more } = gnuSparseRegions(block, SPARSE_IN_HEADER);
    const sparse = { ...entry, size: gnuSparseSize(block), sparse: regions };
    return { kind: 'entry', entry: sparse, stored, sparseBlock: more, sparseText: false };
  }

  extension(typeFlag: string, data: Buffer): void {
    if (typeFlag === 'x') this.#pax = parsePax(data);
    else if (typeFlag === 'L') this.#longName = untilNul(data);
    else if (typeFlag === 'K') this.#longLink = untilNul(data);
  }
}

/**
 * The entries of an uncompressed tar archive in an open, seekable file. Synchronous: used in workers, and on archives whose
 * entries are few. What is cut off, malformed or unsupported is an `invalid` error. The data of sparse files is not looked into.
 */
export function* readTar(fd: number): Generator<PlacedEntry> {
  const fileSize = fstatSync(fd).size;
  const block = Buffer.alloc(BLOCK);
  const assembler = new EntryAssembler();
  let at = 0;
  while (at < fileSize) {
    if (readSync(fd, block, 0, BLOCK, at) < BLOCK) throw cutOff();
    const header = assembler.header(block);
    if (header.kind === 'end') return;
    at += BLOCK;
    if (header.kind === 'extension') {
      const data = Buffer.alloc(header.size);
      if (readSync(fd, data, 0, header.size, at) < header.size) throw cutOff();
      assembler.extension(header.typeFlag, data);
      at += padded(header.size);
      continue;
    }
    if (at + header.stored > fileSize) throw cutOff(header.entry);
    if (header.sparseBlock)
      throw invalid(`${header.entry.name}: sparse files are not supported in this archive`);
    yield { entry: header.entry, dataOffset: at };
    at += padded(header.stored);
  }
  if (at === 0) throw invalid('the archive is empty');
}

/**
 * Reads an uncompressed tar archive as it comes, piece by piece. What is malformed or unsupported is an `invalid` error from
 * `push`, what is cut off one from `finish`.
 */
export class TarParser {
  readonly #sink: TarSink;
  readonly #assembler = new EntryAssembler();
  #state: 'header' | 'extension' | 'sparse-block' | 'sparse-text' | 'data' | 'end' = 'header';
  /** Bytes that `#state` needs whole, and what has come of them. */
  #wanted = BLOCK;
  #pending: Buffer[] = [];
  #pendingLength = 0;
  #typeFlag = '';
  #entry: TarEntry | undefined;
  #isEmpty = true;
  /** Of the entry's stored data. */
  #left = 0;
  #skip = 0;
  #regions: SparseRegion[] = [];
  #position = 0;
  #padding = 0;
  #sparseText = '';

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && this.#state !== 'end') {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, chunk.length - at);
        this.#skip -= skipped;
        at += skipped;
      } else if (this.#state === 'data') {
        const length = Math.min(this.#left, chunk.length - at);
        this.#data(chunk.subarray(at, at + length));
        at += length;
      } else {
        const piece = chunk.subarray(at, at + this.#wanted - this.#pendingLength);
        at += piece.length;
        if (this.#pendingLength === 0 && piece.length === this.#wanted) this.#whole(piece);
        else this.#collect(piece);
      }
    }
  }

  /** To be called when the archive is over. */
  finish(): void {
    if (this.#state === 'end') return;
    if (this.#isEmpty && this.#pendingLength === 0) throw invalid('the archive is empty');
    if (this.#state !== 'header' || this.#pendingLength > 0) throw cutOff(this.#entry);
  }

  #collect(piece: Buffer): void {
    this.#pending.push(Buffer.from(piece));
    this.#pendingLength += piece.length;
    if (this.#pendingLength < this.#wanted) return;
    const whole = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingLength = 0;
    this.#whole(whole);
  }

  #expect(state: 'header' | 'extension' | 'sparse-block' | 'sparse-text', bytes: number): void {
    this.#state = state;
    this.#wanted = bytes;
  }

  #whole(data: Buffer): void {
    this.#isEmpty = false;
    switch (this.#state) {
      case 'header':
        this.#header(data);
        break;
      case 'extension':
        this.#skip = padded(data.length) - data.length;
        this.#assembler.extension(this.#typeFlag, data);
        this.#expect('header', BLOCK);
        break;
      case 'sparse-block': {
        const { regions, more } = gnuSparseRegions(data, SPARSE_IN_EXTENSION);
        this.#regions.push(...regions);
        if (!more) this.#beginData();
        break;
      }
      case 'sparse-text':
        this.#sparseMap(data);
        break;
      case 'data':
      case 'end':
        break;
    }
  }

  #header(block: Buffer): void {
    const header = this.#assembler.header(block);
    if (header.kind === 'end') {
      this.#state = 'end';
      return;
    }
    if (header.kind === 'extension') {
      this.#typeFlag = header.typeFlag;
      if (header.size > 0) this.#expect('extension', header.size);
      return;
    }
    this.#entry = header.entry;
    this.#left = header.stored;
    this.#regions = [...(header.entry.sparse ?? [])];
    if (header.sparseBlock) this.#expect('sparse-block', BLOCK);
    else if (header.sparseText) {
      this.#sparseText = '';
      this.#expect('sparse-text', BLOCK);
    } else this.#beginData();
  }

  /** PAX format 1.0: the map stands before the data, as decimal lines, padded to a block. */
  #sparseMap(block: Buffer): void {
    this.#left -= BLOCK;
    this.#sparseText += block.toString('latin1');
    if (this.#left < 0 || this.#sparseText.length > LARGEST_EXTENSION)
      throw invalid('invalid tar header: sparse map too large');
    const lines = this.#sparseText.split('\n');
    const count = Number(lines[0]);
    if (!Number.isInteger(count) || lines.length < 2 * count + 2) return;
    this.#regions = sparseRegions(lines.slice(1, 1 + 2 * count));
    this.#beginData();
  }

  #beginData(): void {
    const entry = this.#entry;
    if (entry === undefined) throw new Error('there is no entry that data could belong to');
    const isSparse = this.#regions.length > 0 || entry.sparse !== undefined;
    if (isSparse) checkRegions(entry, this.#regions, this.#left);
    else this.#regions = [{ offset: 0, length: this.#left }];
    this.#position = 0;
    this.#sink.entry(isSparse ? { ...entry, sparse: this.#regions } : entry);
    this.#skip = 0;
    this.#state = 'data';
    this.#padding = padded(this.#left) - this.#left;
    if (this.#left === 0) this.#endEntry();
  }

  #data(bytes: Buffer): void {
    this.#left -= bytes.length;
    let at = 0;
    while (at < bytes.length) {
      const [region] = this.#regions;
      if (region === undefined) break;
      const length = Math.min(bytes.length - at, region.length - this.#position);
      if (length > 0) this.#sink.data(bytes.subarray(at, at + length), region.offset + this.#position);
      at += length;
      this.#position += length;
      if (this.#position < region.length) break;
      this.#regions.shift();
      this.#position = 0;
    }
    if (this.#left === 0) this.#endEntry();
  }

  #endEntry(): void {
    this.#sink.end();
    this.#skip = this.#padding;
    this.#entry = undefined;
    this.#expect('header', BLOCK);
  }
}

function checkRegions(entry: TarEntry, regions: readonly SparseRegion[], stored: number): void {
  let end = 0;
  let sum = 0;
  for (const { offset, length } of regions) {
    if (offset < end || offset + length > entry.size)
      throw invalid(`invalid tar header: ${entry.name}: the sparse map leads outside of the file`);
    end = offset + length;
    sum += length;
  }
  if (sum !== stored)
    throw invalid(`invalid tar header: ${entry.name}: the sparse map does not cover the data`);
}

function cutOff(entry?: TarEntry): Error {
  return invalid(
    `unexpected EOF: the archive is cut off${entry === undefined ? '' : ` inside ${entry.name}`}`,
  );
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

function untilNul(data: Buffer): string {
  const end = data.indexOf(0);
  return data.toString('utf8', 0, end === -1 ? data.length : end);
}
