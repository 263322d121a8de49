import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorKind } from '#model/errors.ts';
import { statusOf } from './status.ts';

test('every kind of error has one status', () => {
  const expected: Record<ErrorKind, number> = {
    'not-found': 404,
    conflict: 409,
    invalid: 400,
    forbidden: 403,
    unauthorized: 401,
    unavailable: 503,
    'not-implemented': 501,
    'not-modified': 304,
    cancelled: 499,
    internal: 500,
  };
  const actual: Record<string, number> = {};
  for (const kind of Object.keys(expected) as ErrorKind[]) actual[kind] = statusOf(kind);
  assert.deepEqual(actual, expected);
});
