import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { checkExpansion } from './archive-limits.ts';
import { FileGrowth } from './growing-file.ts';
import { GzipWriter } from './gzip-writer.ts';

async function compress(data: Buffer, piece: number): Promise<Buffer> {
  const output: Buffer[] = [];
  const writer = new GzipWriter((bytes) => output.push(Buffer.from(bytes)));
  for (let at = 0; at < data.length; at += piece) await writer.write(data.subarray(at, at + piece));
  await writer.end();
  return Buffer.concat(output);
}

test('what is compressed in blocks is one gzip stream, the same however it came', async () => {
  const data = Buffer.concat([Buffer.alloc(3_000_000, 'abc'), randomBytes(500_000), Buffer.alloc(100_000)]);
  const whole = await compress(data, data.length);
  assert.ok(gunzipSync(whole).equals(data));
  assert.ok((await compress(data, 77_777)).equals(whole));
  assert.equal(gunzipSync(await compress(Buffer.alloc(0), 1)).length, 0);
});

test('a file is read while it grows, to its end', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'drover-growth-'));
  try {
    const path = join(directory, 'file');
    writeFileSync(path, 'one');
    const growth = new FileGrowth();
    const reader = new FileGrowth(growth.shared).read(path);
    growth.grown(3);
    assert.equal(String((await reader.next()).value), 'one');
    const waiting = reader.next();
    appendFileSync(path, 'two');
    growth.grown(6);
    assert.equal(String((await waiting).value), 'two');
    growth.complete();
    assert.equal((await reader.next()).done, true);
    const given = new FileGrowth();
    const cut = new FileGrowth(given.shared).read(path);
    const next = cut.next();
    given.cancel();
    await assert.rejects(next, /nobody waits/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('an archive may expand, and not without end', () => {
  checkExpansion(1024 ** 3, 1);
  checkExpansion(10 * 1024 ** 3, 1024 ** 3);
  assert.throws(() => checkExpansion(2 * 1024 ** 3, 1_000_000), /expands to more than 250 times/);
});
