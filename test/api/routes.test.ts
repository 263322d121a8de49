import assert from 'node:assert/strict';
import { test } from 'node:test';
import { routes } from '#api/routes.ts';

test('no call is there twice', () => {
  const calls = routes.map(({ method, path }) => `${method} ${path}`);
  assert.deepEqual(calls.toSorted(), [...new Set(calls)].toSorted());
  const operations = routes.map(({ operation }) => operation);
  assert.deepEqual(operations.toSorted(), [...new Set(operations)].toSorted());
});
