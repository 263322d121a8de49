import assert from 'node:assert/strict';
import { test } from 'node:test';
import { internal, notFound } from '#model/errors.ts';
import { fromWire, toWire } from './wire-error.ts';

test('an error that was meant for the caller arrives as it was', () => {
  const got = fromWire(
    JSON.parse(JSON.stringify(toWire(notFound('No such service: web', { hint: 'look' })))),
  );
  assert.deepEqual([got.kind, got.message, got.hint], ['not-found', 'No such service: web', 'look']);
});

test('of one that was not, only that there was one', () => {
  for (const error of [new Error('secret'), internal('secret'), 'secret', undefined])
    assert.doesNotMatch(JSON.stringify(toWire(error)), /secret/);
});

test('whatever another node sends, an error comes of it, of a kind there is and a length that can be read', () => {
  const wrong = [
    undefined,
    null,
    1,
    'x',
    [],
    {},
    { kind: 'x' },
    { kind: '__proto__', message: {} },
    { kind: 1, message: 1 },
  ];
  for (const value of wrong) assert.equal(fromWire(value).kind, 'internal');
  assert.equal(fromWire({ kind: 'invalid', message: 'x'.repeat(10_000) }).message.length, 4096);
  assert.equal(fromWire({ kind: 'invalid', message: 'x', hint: 7 }).hint, undefined);
});
