import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bytes,
  bytesMap,
  flag,
  integer,
  type Message,
  message,
  part,
  parts,
  text,
  textMap,
  texts,
} from './protobuf.ts';

interface Inner {
  name: string;
}

const Inner: Message<Inner> = message({ name: text(1) });

interface All {
  text: string;
  number: number;
  flag: boolean;
  data: Uint8Array;
  inner: Partial<Inner> | undefined;
  many: Partial<Inner>[];
  names: string[];
  map: Record<string, string>;
  blobs: Record<string, Uint8Array>;
}

const All: Message<All> = message({
  text: text(1),
  number: integer(2),
  flag: flag(3),
  data: bytes(4),
  inner: part(5, Inner),
  many: parts(6, Inner),
  names: texts(7),
  map: textMap(8),
  blobs: bytesMap(16),
});

test('a message is what its bytes say', () => {
  const sent: All = {
    text: 'grüße',
    number: 3_000_000_000,
    flag: true,
    data: Buffer.from([0, 255]),
    inner: { name: 'in' },
    many: [{ name: 'a' }, { name: 'b' }],
    names: ['', 'x'],
    map: { key: 'value', empty: '' },
    blobs: { k: Buffer.from('v') },
  };
  const { map, blobs, data, ...rest } = All.decode(All.encode(sent));
  const { map: sentMap, blobs: _, data: __, ...sentRest } = sent;
  assert.deepEqual(rest, sentRest);
  assert.deepEqual({ ...map }, sentMap);
  assert.deepEqual([...data], [0, 255]);
  assert.equal(Buffer.from(blobs['k'] ?? []).toString(), 'v');
});

test('the encoding is protocol buffers’ own', () => {
  // the specification's examples: field 1 as 150, field 2 as "testing"
  const Example: Message<{ a: number; b: string }> = message({ a: integer(1), b: text(2) });
  const encoded = Buffer.from('089601120774657374696e67', 'hex');
  assert.deepEqual(Example.decode(encoded), { a: 150, b: 'testing' });
  assert.deepEqual(Example.encode({ a: 150, b: 'testing' }), encoded);
  // unknown fields of any type are passed over, and what is empty is not written
  const unknown = Buffer.concat([Buffer.from(`1a03616263200129${'00'.repeat(8)}`, 'hex'), encoded]);
  assert.deepEqual(Example.decode(unknown), { a: 150, b: 'testing' });
  assert.equal(Example.encode({ a: 0, b: '' }).length, 0);
  assert.deepEqual(Example.decode(Example.encode({ a: -1 })).a, -1);
});

test('names from outside are names, whatever they are', () => {
  const decoded = All.decode(All.encode({ map: Object.fromEntries([['__proto__', 'x']]) }));
  assert.deepEqual(Object.keys(decoded.map), ['__proto__']);
  assert.equal(Object.getPrototypeOf({}), Object.prototype);
});

test('many entries take no more than their time', () => {
  const names = Array.from({ length: 200_000 }, (_, index) => String(index));
  assert.equal(All.decode(All.encode({ names })).names.length, names.length);
});
