import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linesOf } from './json-lines.ts';

async function* cut(text: string, size: number): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const tooLong = (): Error => new Error('too long');

test('lines are the same however the stream is cut', async () => {
  const text = 'one\n\nthrée\nfour: a longer one\nno line';
  for (let size = 1; size <= text.length + 2; size += 1) {
    const lines = await Array.fromAsync(linesOf(cut(text, size), { maxBytes: 100, tooLong }));
    assert.deepEqual(lines.map(String), ['one', '', 'thrée', 'four: a longer one']);
  }
});

test('a line that does not end is not kept for ever', async () => {
  const lines = linesOf(cut('x'.repeat(1000), 10), { maxBytes: 100, tooLong });
  await assert.rejects(Array.fromAsync(lines), /too long/);
});
