import assert from 'node:assert/strict';
import { test } from 'node:test';
import { booleanOf, integerOf, nanosecondsOf } from './query.ts';

test('booleans as Docker reads them', () => {
  const query = new URLSearchParams('a=1&b=0&c=&d=False&e=yes');
  assert.deepEqual(
    ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => booleanOf(query, name)),
    [true, false, false, false, true, false],
  );
  assert.equal(booleanOf(query, 'f', true), true);
});

test('whole numbers', () => {
  const query = new URLSearchParams('t=10&n=-1&e=&x=ten');
  assert.equal(integerOf(query, 't'), 10);
  assert.equal(integerOf(query, 'n'), -1);
  assert.equal(integerOf(query, 'e'), undefined);
  assert.throws(() => integerOf(query, 'x'), /invalid value "ten" for x/);
});

test('moments keep their nanoseconds', () => {
  const query = new URLSearchParams('a=1700000000.123456789&b=5.5&c=0&d=2026-01-01T00:00:00Z&e=later');
  assert.equal(nanosecondsOf(query, 'a'), 1_700_000_000_123_456_789n);
  assert.equal(nanosecondsOf(query, 'b'), 5_500_000_000n);
  assert.equal(nanosecondsOf(query, 'c'), undefined);
  assert.equal(nanosecondsOf(query, 'd'), 1_767_225_600_000_000_000n);
  assert.throws(() => nanosecondsOf(query, 'e'), /invalid value for "since|"e"/);
});
