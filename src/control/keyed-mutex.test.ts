import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyedMutex } from './keyed-mutex.ts';

test('work under one key runs in order, one at a time', async () => {
  const mutex = new KeyedMutex();
  const seen: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = mutex.run('a', async () => {
    seen.push('first starts');
    await gate.promise;
    seen.push('first ends');
  });
  const second = mutex.run('a', async () => {
    seen.push('second');
    return 2;
  });
  const other = mutex.run('b', async () => {
    seen.push('other key');
  });
  await other;
  assert.deepEqual(seen, ['first starts', 'other key']);
  assert.equal(mutex.isBusy('a'), true);
  gate.resolve();
  await first;
  assert.equal(await second, 2);
  assert.deepEqual(seen, ['first starts', 'other key', 'first ends', 'second']);
  assert.equal(mutex.isBusy('a'), false);
});

test('a failure is its caller’s alone', async () => {
  const mutex = new KeyedMutex();
  const failing = mutex.run('a', async () => {
    throw new Error('no');
  });
  const next = mutex.run('a', async () => 'yes');
  await assert.rejects(failing, /no/);
  assert.equal(await next, 'yes');
});
