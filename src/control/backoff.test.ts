import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs } from './backoff.ts';

test('delays double up to the maximum and stay there', () => {
  const delays = [0, 1, 2, 9, 10, 1000].map((attempt) => backoffMs({ attempt, firstMs: 100, maxMs: 60_000 }));
  assert.deepEqual(delays, [100, 200, 400, 51_200, 60_000, 60_000]);
});
