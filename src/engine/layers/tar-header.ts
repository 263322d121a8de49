import { invalid } from '#model/errors.ts';

export const BLOCK = 512;

/** What an archive entry is (pax(1) interchange format, GNU extensions). */
export type EntryType =
  | 'file'
  | 'hardlink'
  | 'symlink'
  | 'character-device'
  | 'block-device'
  | 'directory'
  | 'fifo';

export interface TarEntry {
  name: string;
  type: EntryType;
  /** Permission bits only. */
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeNs: bigint;
  linkName: string;
  major: number;
  minor: number;
  /** Kept as bytes: values are binary. */
  attributes: { name: string; value: Uint8Array }[];
  /** A file with holes: where in it the stored pieces belong, in order. `size` is the whole file's. */
  sparse?: SparseRegion[];
}

export interface SparseRegion {
  offset: number;
  length: number;
}

const TYPES: Record<string, EntryType> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
  S: 'file',
};

const FLAGS = Object.fromEntries(
  Object.entries(TYPES)
    .filter(([flag]) => flag !== '\0' && flag !== '7' && flag !== 'S')
    .map(([flag, type]) => [type, flag]),
);

const PAX_ATTRIBUTE = 'SCHILY.xattr.';

export interface RawHeader {
  typeFlag: string;
  size: number;
  entry: TarEntry | undefined;
}

/** Reads one header block; undefined for a block of zeros. The entry is undefined for the extension types. */
export function parseHeader(block: Buffer): RawHeader | undefined {
  if (block.every((byte) => byte === 0)) return undefined;
  if (number(block, 148, 8) !== checksum(block)) throw invalid('invalid tar header: checksum does not match');
  const typeFlag = String.fromCharCode(block.readUInt8(156));
  const size = number(block, 124, 12);
  const type = TYPES[typeFlag];
  if (type === undefined) return { typeFlag, size, entry: undefined };
  const isPosix = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isPosix ? text(block, 345, 155) : '';
  const name = prefix === '' ? text(block, 0, 100) : `${prefix}/${text(block, 0, 100)}`;
  return {
    typeFlag,
    size,
    entry: {
      name,
      // Archives older than POSIX mark directories by their slash alone.
      type: type === 'file' && name.endsWith('/') ? 'directory' : type,
      mode: number(block, 100, 8) & 0o7777,
      uid: number(block, 108, 8),
      gid: number(block, 116, 8),
      size: type === 'file' ? size : 0,
      mtimeNs: BigInt(number(block, 136, 12)) * 1_000_000_000n,
      linkName: text(block, 157, 100),
      major: number(block, 329, 8),
      minor: number(block, 337, 8),
      attributes: [],
    },
  };
}

/** The records of a PAX extended header: `length key=value\n`, values as bytes. */
export function parsePax(data: Buffer): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  let at = 0;
  while (at < data.length) {
    const space = data.indexOf(0x20, at);
    const length = space === -1 ? Number.NaN : Number(data.toString('latin1', at, space));
    const equals = data.indexOf(0x3d, space);
    if (!Number.isInteger(length) || at + length > data.length || equals === -1 || equals >= at + length) {
      throw invalid('invalid tar header: malformed PAX record');
    }
    records.set(data.toString('utf8', space + 1, equals), data.subarray(equals + 1, at + length - 1));
    at += length;
  }
  return records;
}

/** The entry with what its PAX records say over what its header says. */
export function applyPax(entry: TarEntry, records: Map<string, Buffer>): TarEntry {
  const changed = { ...entry, attributes: [...entry.attributes] };
  // The one that says how large the whole file is; `size` is what is stored of it.
  const sizeKey = ['GNU.sparse.realsize', 'GNU.sparse.size'].find((key) => records.has(key)) ?? 'size';
  for (const [key, value] of records) {
    const valueText = value.toString('utf8');
    if (key === 'path') changed.name = valueText;
    else if (key === 'linkpath') changed.linkName = valueText;
    else if (key === sizeKey) changed.size = natural(key, valueText);
    else if (key === 'uid') changed.uid = natural(key, valueText);
    else if (key === 'gid') changed.gid = natural(key, valueText);
    else if (key === 'mtime') changed.mtimeNs = nanoseconds(valueText);
    else if (key.startsWith(PAX_ATTRIBUTE)) {
      changed.attributes.push({ name: key.slice(PAX_ATTRIBUTE.length), value: new Uint8Array(value) });
    } else if (key === 'GNU.sparse.name') changed.name = valueText;
    else if (key === 'GNU.sparse.map') changed.sparse = sparseRegions(valueText.split(','));
  }
  return changed;
}

/** The pieces of a sparse file from a list of offset, length, offset, length, …. */
export function sparseRegions(numbers: readonly string[]): SparseRegion[] {
  const regions: SparseRegion[] = [];
  for (let i = 0; i + 1 < numbers.length; i += 2) {
    regions.push({
      offset: natural('sparse map', numbers[i] ?? ''),
      length: natural('sparse map', numbers[i + 1] ?? ''),
    });
  }
  return regions;
}

/** Old GNU format: how many pieces of a sparse file a header block holds, and a block that follows it. */
export const SPARSE_IN_HEADER = { at: 386, count: 4, more: 482 } as const;
export const SPARSE_IN_EXTENSION = { at: 0, count: 21, more: 504 } as const;

/** The pieces in one block of an old GNU sparse map, and whether another block follows. */
export function gnuSparseRegions(
  block: Buffer,
  place: { at: number; count: number; more: number },
): { regions: SparseRegion[]; more: boolean } {
  const regions: SparseRegion[] = [];
  for (let i = 0; i < place.count; i++) {
    const at = place.at + i * 24;
    if (block.readUInt8(at) === 0) break;
    regions.push({ offset: number(block, at, 12), length: number(block, at + 12, 12) });
  }
  return { regions, more: block.readUInt8(place.more) !== 0 };
}

/** Old GNU format: the whole size of a sparse file. */
export function gnuSparseSize(block: Buffer): number {
  return number(block, 483, 12);
}

/** The blocks that stand before an entry's data, PAX records for what the plain header cannot hold. */
export function formatHeader(entry: TarEntry): Buffer {
  const records: Buffer[] = [];
  const record = (key: string, value: string | Uint8Array): void => {
    records.push(paxRecord(key, typeof value === 'string' ? Buffer.from(value) : value));
  };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what is not ASCII is what has to be found
  const plain = (value: string): boolean => value.length <= 100 && /^[\x00-\x7f]*$/.test(value);
  if (!plain(entry.name)) record('path', entry.name);
  if (!plain(entry.linkName)) record('linkpath', entry.linkName);
  if (entry.size >= 8 ** 11) record('size', String(entry.size));
  if (entry.uid >= 8 ** 7) record('uid', String(entry.uid));
  if (entry.gid >= 8 ** 7) record('gid', String(entry.gid));
  const seconds = entry.mtimeNs / 1_000_000_000n;
  const fraction = entry.mtimeNs % 1_000_000_000n;
  if (fraction > 0n) record('mtime', `${seconds}.${fraction.toString().padStart(9, '0').replace(/0+$/, '')}`);
  else if (seconds < 0n || seconds >= 8n ** 11n) record('mtime', String(seconds));
  for (const { name, value } of entry.attributes) record(PAX_ATTRIBUTE + name, value);
  const own = block(entry, FLAGS[entry.type] ?? '0', entry.size);
  if (records.length === 0) return own;
  const data = Buffer.concat(records);
  const shell: TarEntry = {
    ...entry,
    name: 'PaxHeaders/entry',
    linkName: '',
    mtimeNs: 0n,
    mode: 0o644,
    major: 0,
    minor: 0,
  };
  return Buffer.concat([block(shell, 'x', data.length), data, padding(data.length), own]);
}

/** Zeros up to the next block. */
export function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

/** What closes an archive. */
export function endOfArchive(): Buffer {
  return Buffer.alloc(2 * BLOCK);
}

function block(entry: TarEntry, flag: string, size: number): Buffer {
  const out = Buffer.alloc(BLOCK);
  out.write(entry.name.slice(0, 100), 0, 100, 'latin1');
  octal(out, 100, 8, entry.mode);
  octal(out, 108, 8, Math.min(entry.uid, 8 ** 7 - 1));
  octal(out, 116, 8, Math.min(entry.gid, 8 ** 7 - 1));
  octal(out, 124, 12, Math.min(size, 8 ** 11 - 1));
  const seconds = Number(entry.mtimeNs / 1_000_000_000n);
  octal(out, 136, 12, Math.min(Math.max(0, seconds), 8 ** 11 - 1));
  out.write('        ', 148, 'latin1');
  out.write(flag, 156, 'latin1');
  out.write(entry.linkName.slice(0, 100), 157, 100, 'latin1');
  out.write('ustar\u000000', 257, 'latin1');
  octal(out, 329, 8, entry.major);
  octal(out, 337, 8, entry.minor);
  octal(out, 148, 7, checksum(out));
  return out;
}

function paxRecord(key: string, value: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  let length = body.length + 1;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return Buffer.concat([Buffer.from(String(length)), body]);
}

function octal(out: Buffer, at: number, width: number, value: number): void {
  out.write(`${value.toString(8).padStart(width - 1, '0')}\0`.slice(-width), at, width, 'latin1');
}

function checksum(header: Buffer): number {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 0x20 : header.readUInt8(i);
  return sum;
}

/** Octal text, or base 256 where the first bit is set (GNU). */
function number(header: Buffer, at: number, width: number): number {
  if ((header.readUInt8(at) & 0x80) !== 0) {
    let value = BigInt(header.readUInt8(at) & 0x7f);
    for (let i = at + 1; i < at + width; i++) value = value * 256n + BigInt(header.readUInt8(i));
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid('invalid tar header: number too large');
    return Number(value);
  }
  const digits = text(header, at, width).trim();
  if (digits === '') return 0;
  if (!/^[0-7]+$/.test(digits)) throw invalid('invalid tar header: not an octal number');
  return Number.parseInt(digits, 8);
}

function text(header: Buffer, at: number, width: number): string {
  const end = header.indexOf(0, at);
  return header.toString('utf8', at, end === -1 || end > at + width ? at + width : end);
}

function natural(key: string, value: string): number {
  const parsed = Number(value);
  if (!Number.isSafeInteger(parsed) || parsed < 0)
    throw invalid(`invalid tar header: ${key} is not a number`);
  return parsed;
}

function nanoseconds(value: string): bigint {
  const match = /^(-?)(\d+)(?:\.(\d*))?$/.exec(value);
  if (match === null) throw invalid('invalid tar header: mtime is not a number');
  const [, sign = '', whole = '0', fraction = ''] = match;
  const magnitude = BigInt(whole) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, '0'));
  return sign === '-' ? -magnitude : magnitude;
}
