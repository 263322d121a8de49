import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { extract, pack } from 'tar-stream';
import { endOfArchive, formatHeader, padding, type TarEntry } from './tar-header.ts';
import { readTar, TarParser } from './tar-reader.ts';

const directory = mkdtempSync(join(tmpdir(), 'drover-tar-'));
after(() => rmSync(directory, { recursive: true }));

const ENTRY: TarEntry = {
  ...{ name: '', type: 'file', mode: 0o644, uid: 0, gid: 0, size: 0, mtimeNs: 0n, linkName: '' },
  ...{ major: 0, minor: 0, attributes: [] },
};

/** What is read of an archive: each entry with its data. Both readers have to agree on it, or to refuse it. */
function read(archive: Buffer): { entry: TarEntry; data: string }[] {
  let whole: { entry: TarEntry; data: string }[];
  try {
    whole = readFile(archive);
  } catch (error) {
    assert.throws(() => parse(archive, 100));
    throw error;
  }
  for (const size of [1, 511, 512, 700, archive.length + 1]) assert.deepEqual(parse(archive, size), whole);
  return whole;
}

/** The same in pieces of `size` bytes. */
function parse(archive: Buffer, size: number): { entry: TarEntry; data: string }[] {
  const found: { entry: TarEntry; data: string }[] = [];
  let data = Buffer.alloc(0);
  let current: TarEntry = ENTRY;
  const parser = new TarParser({
    entry: (entry) => {
      current = entry;
      data = Buffer.alloc(entry.size);
    },
    data: (bytes, position) => {
      bytes.copy(data, position);
    },
    end: () => {
      found.push({ entry: current, data: data.toString() });
    },
  });
  for (let at = 0; at < archive.length; at += size) parser.push(archive.subarray(at, at + size));
  parser.finish();
  return found;
}

function readFile(archive: Buffer): { entry: TarEntry; data: string }[] {
  const path = join(directory, 'archive');
  writeFileSync(path, archive);
  const fd = openSync(path, 'r');
  try {
    return [...readTar(fd)].map(({ entry, dataOffset }) => {
      const data = Buffer.alloc(entry.size);
      readSync(fd, data, 0, entry.size, dataOffset);
      return { entry, data: data.toString() };
    });
  } finally {
    closeSync(fd);
  }
}

const name = fc
  .array(fc.string({ minLength: 1, maxLength: 60, unit: fc.constantFrom('a', 'b', '-', '.', 'é', '世') }), {
    minLength: 1,
    maxLength: 5,
  })
  .map((parts) => parts.join('/'));
const file = fc.record({
  name,
  data: fc.string({ maxLength: 2000 }),
  mode: fc.integer({ min: 1, max: 0o7777 }),
  uid: fc.nat(3_000_000),
  seconds: fc.nat(4_000_000_000),
});

/** tar-stream 3 writes no larger user IDs and no later times than these. */
function withinTarStream<T extends { uid: number; seconds: number }>(each: T): T {
  return { ...each, uid: Math.min(each.uid, 0o777777), seconds: Math.min(each.seconds, 2 ** 31 - 1) };
}

test('what another program writes is read as it was meant', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(file, { minLength: 1, maxLength: 8 }), async (files) => {
      const stream = pack();
      for (const { data, seconds, ...header } of files.map(withinTarStream))
        stream.entry({ ...header, mtime: new Date(seconds * 1000) }, data);
      stream.finalize();
      const found = read(await buffer(stream));
      assert.deepEqual(
        found.map(({ entry, data }) => [entry.name, data, entry.mode, entry.uid, entry.mtimeNs]),
        files
          .map(withinTarStream)
          .map((each) => [each.name, each.data, each.mode, each.uid, BigInt(each.seconds) * 1_000_000_000n]),
      );
    }),
    { numRuns: 60 },
  );
});

test('what is written is read by another program, and by ourselves', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(file, { minLength: 1, maxLength: 8 }), async (files) => {
      const archive = Buffer.concat([
        ...files.flatMap(({ name, data, mode, uid, seconds }) => {
          const bytes = Buffer.from(data);
          const mtimeNs = BigInt(seconds) * 1_000_000_000n + 5n;
          const header = formatHeader({ ...ENTRY, name, mode, uid, mtimeNs, size: bytes.length });
          return [header, bytes, padding(bytes.length)];
        }),
        endOfArchive(),
      ]);
      const seen: unknown[] = [];
      const reader = extract();
      reader.end(archive);
      for await (const entry of reader)
        seen.push([entry.header.name, entry.header.mode, String(await buffer(entry))]);
      assert.deepEqual(
        seen,
        files.map((each) => [each.name, each.mode, each.data]),
      );
      assert.deepEqual(
        read(archive).map(({ entry, data }) => [entry.name, entry.uid, entry.mtimeNs % 10n, data]),
        files.map((each) => [each.name, each.uid, 5n, each.data]),
      );
    }),
    { numRuns: 60 },
  );
});

test('links, devices and attributes keep what they are', () => {
  const entries: TarEntry[] = [
    { ...ENTRY, name: 'd/', type: 'directory', mode: 0o755 },
    { ...ENTRY, name: 'd/link', type: 'symlink', linkName: 'x'.repeat(150) },
    { ...ENTRY, name: 'd/hard', type: 'hardlink', linkName: 'd/file' },
    { ...ENTRY, name: 'd/null', type: 'character-device', major: 1, minor: 3 },
    { ...ENTRY, name: 'd/fifo', type: 'fifo' },
    {
      ...ENTRY,
      name: 'd/caps',
      attributes: [{ name: 'security.capability', value: new Uint8Array([1, 0, 255]) }],
    },
    { ...ENTRY, name: 'd/old', mtimeNs: -5_000_000_000n },
  ];
  const found = read(Buffer.concat([...entries.map(formatHeader), endOfArchive()]));
  assert.deepEqual(
    found.map(({ entry }) => entry),
    entries,
  );
});

test('times that a header has no room for are kept', () => {
  for (const seconds of [-1n, 8n ** 11n - 1n, 8n ** 11n, 9_999_999_999n]) {
    const mtimeNs = seconds * 1_000_000_000n;
    const [found] = read(Buffer.concat([formatHeader({ ...ENTRY, name: 'f', mtimeNs }), endOfArchive()]));
    assert.equal(found?.entry.mtimeNs, mtimeNs);
  }
});

test('no bytes make the reader do anything but read or refuse', () => {
  const whole = Buffer.concat([
    formatHeader({ ...ENTRY, name: 'é'.repeat(90), size: 3 }),
    Buffer.from('abc'),
    padding(3),
  ]);
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.nat(whole.length), (at, value, end) => {
      const damaged = Buffer.from(whole.subarray(0, end));
      if (at < damaged.length) damaged[at] = value;
      try {
        read(damaged);
      } catch (error) {
        assert.ok(error instanceof Error && 'kind' in error && error.kind === 'invalid', String(error));
      }
    }),
    { numRuns: 400 },
  );
});
