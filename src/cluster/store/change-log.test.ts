import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kindOf } from '#model/errors.ts';
import { batchBelow, ChangeLog } from './change-log.ts';
import type { ChangeBatch } from './store.ts';

const batch = (revision: number, ...keys: string[]): ChangeBatch => ({
  revision,
  changes: keys.map((key) => ({ kind: 'delete', key, revision })),
});

test('the newest changes are kept, the last commit always whole', () => {
  const log = new ChangeLog(3);
  assert.equal(log.after(0), undefined);
  for (let revision = 1; revision <= 10; revision += 1) log.append(batch(revision, 'a'));
  assert.equal(log.after(7)?.revision, 8);
  assert.equal(log.after(9)?.revision, 10);
  assert.equal(log.after(10), undefined);
  assert.throws(
    () => log.after(6),
    (error) => kindOf(error) === 'conflict',
  );
  log.append(batch(11, 'a', 'b', 'c', 'd'));
  assert.equal(log.after(10)?.changes.length, 4);
  assert.throws(() => log.after(9));
});

test('a part of a commit is what is below a prefix', () => {
  assert.deepEqual(batchBelow(batch(1, 'a/1', 'b/1'), 'b/'), batch(1, 'b/1'));
  assert.equal(batchBelow(batch(1, 'a/1'), 'b/'), undefined);
});
