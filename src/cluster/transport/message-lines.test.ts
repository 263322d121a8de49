import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytesLine, encodeLine, LineReader, messageText } from './message-lines.ts';

test('lines come out whole, however they are cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.json(), { maxLength: 20 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 9 })),
      (texts, cuts) => {
        const bytes = Buffer.concat(
          texts.map((text) => encodeLine('message', JSON.stringify(JSON.parse(text)))),
        );
        const reader = new LineReader();
        const got: unknown[] = [];
        for (let at = 0; at < bytes.length; ) {
          const next = at + (cuts.next().value ?? 1);
          for (const { message } of reader.read(bytes.subarray(at, next))) got.push(message);
          at = next;
        }
        assert.deepEqual(
          got,
          texts.map((text) => JSON.parse(text)),
        );
        assert.equal(reader.held, 0);
      },
    ),
  );
});

test('a line is a message, an error or an end, and nothing else', () => {
  const kinds = [...new LineReader().read(Buffer.from('.1\n!{"a":1}\n$null\n'))].map(({ kind }) => kind);
  assert.deepEqual(kinds, ['message', 'error', 'end']);
  for (const wrong of ['\n', '1\n', '.\n', '.{\n', ' .1\n'])
    assert.throws(() => [...new LineReader().read(Buffer.from(wrong))], /no message|not JSON/, wrong);
});

test('bytes come out as they went in, between lines, however they are cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.uint8Array({ maxLength: 30 }), fc.integer()), { maxLength: 20 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
      (messages, cuts) => {
        const wire = Buffer.concat(
          messages.flatMap((message) =>
            typeof message === 'number'
              ? [encodeLine('message', JSON.stringify(message))]
              : [bytesLine(message), message],
          ),
        );
        const reader = new LineReader(30);
        const got: unknown[] = [];
        for (let at = 0; at < wire.length; ) {
          const next = at + (cuts.next().value ?? 1);
          for (const { message } of reader.read(wire.subarray(at, next))) got.push(message);
          at = next;
        }
        assert.deepEqual(
          got,
          messages.map((message) => (typeof message === 'number' ? message : Buffer.from(message))),
        );
        assert.equal(reader.held, 0);
      },
    ),
  );
});

test('bytes are taken up to the limit, and their length has to be one', () => {
  const read = (text: string): unknown[] => [...new LineReader(3).read(Buffer.from(text))];
  assert.equal(read('=3\nabc').length, 1);
  assert.throws(() => read('=4\n'), /over the limit of 3/);
  for (const wrong of ['=\n', '=-1\n', '=x\n']) assert.throws(() => read(wrong), /no message/, wrong);
  assert.throws(() => bytesLine(new Uint8Array(16 * 1024 * 1024 + 1)), /over the limit/);
});

test('a line is held up to its limit and no further', () => {
  const reader = new LineReader(10);
  assert.deepEqual([...reader.read(Buffer.from(`.${'1'.repeat(10)}`))], []);
  assert.equal(reader.held, 11);
  assert.throws(() => [...reader.read(Buffer.from('1'))], /over the limit of 10/);
  assert.equal(reader.held, 0);
  assert.throws(() => [...new LineReader(3).read(Buffer.from('.1234\n'))], /over the limit/);
});

test('messages are JSON values of at most 16 MiB', () => {
  assert.equal(messageText({ a: [null] }), '{"a":[null]}');
  const circle: Record<string, unknown> = {};
  circle['self'] = circle;
  for (const wrong of [undefined, Symbol('x'), 1n, circle, () => 1])
    assert.throws(() => messageText(wrong), /JSON value/);
  const most = 16 * 1024 * 1024 - 2;
  messageText('x'.repeat(most));
  assert.throws(() => messageText('x'.repeat(most + 1)), /over the limit/);
  assert.throws(() => messageText('€'.repeat(most / 3 + 1)), /over the limit/);
});
