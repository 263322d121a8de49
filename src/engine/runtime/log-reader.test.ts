import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type LogOptions, parseLogLine, readLog } from './log-reader.ts';

const directory = mkdtempSync(join(tmpdir(), 'drover-log-'));
after(() => rmSync(directory, { recursive: true }));

const line = (second: number, text: string, tag = 'F', stream = 'stdout'): string =>
  `2026-01-01T00:00:${String(second).padStart(2, '0')}.000000001+00:00 ${stream} ${tag} ${text}\n`;
const at = (second: number): bigint =>
  BigInt(Date.parse('2026-01-01T00:00:00Z') + second * 1000) * 1_000_000n;

async function read(path: string, o: Partial<LogOptions> = {}): Promise<string[]> {
  const signal = AbortSignal.timeout(5000);
  const texts: string[] = [];
  for await (const { data } of readLog({ path, follow: false, tail: 'all', ended: () => true, signal, ...o }))
    texts.push(data.toString());
  return texts;
}

test('a line: time, stream, whole or a part', () => {
  assert.deepEqual(parseLogLine(Buffer.from('2026-01-01T00:00:01.5+01:00 stderr F a b')), {
    timeNs: at(1) - 3600n * 1_000_000_000n + 500_000_000n,
    stream: 'stderr',
    data: Buffer.from('a b\n'),
  });
  assert.equal(String(parseLogLine(Buffer.from('2026-01-01T00:00:01Z stdout P part'))?.data), 'part');
  for (const text of [
    '',
    'x',
    'no time stdout F x',
    '2026-01-01T00:00:01Z stdin F x',
    '2026-01-01T00:00:01Z stdout F',
  ])
    assert.equal(parseLogLine(Buffer.from(text)), undefined, text);
});

test('all, the last, and those of a time', async () => {
  const path = join(directory, 'plain');
  writeFileSync(path, Array.from({ length: 9 }, (_, index) => line(index, String(index))).join(''));
  assert.deepEqual(
    await read(path),
    Array.from({ length: 9 }, (_, index) => `${index}\n`),
  );
  assert.deepEqual(await read(path, { tail: 2 }), ['7\n', '8\n']);
  assert.deepEqual(await read(path, { tail: 0 }), []);
  assert.deepEqual(await read(path, { tail: 100 }), await read(path));
  assert.deepEqual(await read(path, { sinceNs: at(7) }), ['7\n', '8\n']);
  assert.deepEqual(await read(path, { untilNs: at(1) + 1n }), ['0\n', '1\n']);
  assert.deepEqual(await read(join(directory, 'none')), []);
});

test('the last lines are found beyond the border of a chunk', async () => {
  const path = join(directory, 'long');
  const long = 'x'.repeat(50_000);
  writeFileSync(path, [long, long, long, 'end'].map((text, index) => line(index, text)).join(''));
  assert.deepEqual(await read(path, { tail: 2 }), [`${long}\n`, 'end\n']);
});

test('following goes on in the next file when the log was rotated, and ends when nobody writes', async () => {
  const path = join(directory, 'followed');
  writeFileSync(path, line(1, 'one'));
  let ended = false;
  const reading = read(path, { follow: true, ended: () => ended });
  appendFileSync(path, line(2, 'two'));
  await new Promise((resolve) => setTimeout(resolve, 300));
  renameSync(path, `${path}.old`);
  writeFileSync(path, line(3, 'three'));
  await new Promise((resolve) => setTimeout(resolve, 300));
  appendFileSync(path, `${line(4, 'four')}2026-01-01T00:00:05Z stdout F half`);
  ended = true;
  assert.deepEqual(await reading, ['one\n', 'two\n', 'three\n', 'four\n']);
});
