import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EtcdKeys, failureOf } from './etcd-wire.ts';

const plain = (text: unknown): string => Buffer.from(String(text), 'base64').toString();

test('a range has what is below a prefix and nothing else', () => {
  const rangeOf = (keyPrefix: string, prefix: string, after?: string): string[] => {
    const { key, range_end } = new EtcdKeys(keyPrefix).range(prefix, after);
    return [plain(key), plain(range_end)];
  };
  assert.deepEqual(rangeOf('', 'task/'), ['task/', 'task0']);
  assert.deepEqual(rangeOf('c1/', 'task/', 'task/a'), ['c1/task/a\0', 'c1/task0']);
  assert.deepEqual(rangeOf('c1/', ''), ['c1/', 'c10']);
  assert.deepEqual(rangeOf('', ''), ['\0', '\0']);
  assert.deepEqual(rangeOf('', '', 'a'), ['a\0', '\0']);
  assert.deepEqual(rangeOf('', 'a~'), ['a~', 'a\x7f']);
});

test('entries and deletions come back under our own keys', () => {
  const keys = new EtcdKeys('c1/');
  const key = keys.encoded('a');
  const value = Buffer.from('grün').toString('base64');
  const kv = { key, value, mod_revision: '7', lease: '9007199254740993' };
  assert.deepEqual(keys.change({ kv }), {
    ...{ kind: 'put', entry: { key: 'a', value: 'grün', revision: 7, lease: '9007199254740993' } },
  });
  assert.deepEqual(keys.change({ type: 'DELETE', kv: { key, mod_revision: '8' } }), {
    ...{ kind: 'delete', key: 'a', revision: 8 },
  });
  // etcd leaves out what is empty
  assert.deepEqual(keys.entry({ key, mod_revision: '7' }), { key: 'a', value: '', revision: 7 });
});

test('etcd’s codes are our kinds, with its words', () => {
  const kinds = [3, 5, 7, 9, 11, 8, 14, 13, 0].map(
    (code) => failureOf('http://e', { code, message: 'words' }).kind,
  );
  assert.deepEqual(kinds, [
    ...['invalid', 'not-found', 'forbidden', 'conflict', 'conflict'],
    ...['unavailable', 'unavailable', 'unavailable', 'unavailable'],
  ]);
  assert.equal(failureOf('http://e', { grpc_code: 14, message: 'no leader' }).kind, 'unavailable');
  assert.match(failureOf('http://e', { error: 'words' }).message, /etcd at http:\/\/e: words/);
});
