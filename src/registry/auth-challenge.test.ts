import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChallenges } from './auth-challenge.ts';

test('challenges: schemes, quoted and plain values, several in one header', () => {
  assert.deepEqual(
    parseChallenges(
      'Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push", Basic realm=x',
    ),
    [
      {
        scheme: 'bearer',
        parameters: {
          realm: 'https://auth.example/token',
          service: 'registry',
          scope: 'repository:a/b:pull,push',
        },
      },
      { scheme: 'basic', parameters: { realm: 'x' } },
    ],
  );
  assert.deepEqual(parseChallenges('Basic realm="a \\"b\\""'), [
    { scheme: 'basic', parameters: { realm: 'a "b"' } },
  ]);
  assert.deepEqual(parseChallenges(''), []);
});
