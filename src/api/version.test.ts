import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseVersion, splitVersion } from './version.ts';

test('a path without a version is the latest', () => {
  assert.deepEqual(splitVersion('/info'), { version: '1.51', path: '/info' });
  assert.deepEqual(splitVersion('/v1.24/containers/json'), { version: '1.24', path: '/containers/json' });
  assert.deepEqual(splitVersion('/volumes/v1.2'), { version: '1.51', path: '/volumes/v1.2' });
  assert.deepEqual(splitVersion('/v1.24'), { version: '1.51', path: '/v1.24' });
});

test('versions are compared as numbers, not as text', () => {
  assert.equal(parseVersion('1.24'), 1024);
  assert.equal(parseVersion('1.51'), 1051);
  assert.throws(() => parseVersion('1.9'), /client version 1.9 is too old/);
});

test('what is too new or too old is refused in Docker’s words', () => {
  assert.throws(() => parseVersion('1.52'), {
    message: 'client version 1.52 is too new. Maximum supported API version is 1.51',
  });
  assert.throws(() => parseVersion('1.12'), {
    message:
      'client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version',
  });
  assert.throws(() => parseVersion('2'), /too new/);
  assert.throws(() => parseVersion('1..5'), /too old/);
});
