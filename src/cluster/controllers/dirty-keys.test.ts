import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DirtyKeys } from './dirty-keys.ts';

test('each key once, the one that is dirty longest first', () => {
  const keys = new DirtyKeys();
  for (const key of ['a', 'b', 'a']) keys.add(key);
  assert.deepEqual([keys.size, keys.take(), keys.take(), keys.take()], [2, 'a', 'b', undefined]);
});

test('a key is due at its time, of several times at the earliest', () => {
  const keys = new DirtyKeys();
  keys.addAt('a', 100);
  keys.addAt('a', 50);
  keys.addAt('a', 200);
  keys.addAt('b', 70);
  assert.equal(keys.nextAtMs(), 50);
  assert.equal(keys.wake(49), 0);
  assert.equal(keys.wake(50), 1);
  assert.equal(keys.nextAtMs(), 0);
  assert.equal(keys.take(), 'a');
  assert.equal(keys.nextAtMs(), 70);
  assert.equal(keys.wake(1000), 1);
  assert.equal(keys.take(), 'b');
  assert.equal(keys.nextAtMs(), Number.POSITIVE_INFINITY);
});
