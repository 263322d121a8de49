import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DetachScanner, parseDetachKeys } from './detach-keys.ts';

test('sequences of keys', () => {
  assert.deepEqual(parseDetachKeys(''), [16, 17]);
  assert.deepEqual(parseDetachKeys('ctrl-@,a,ctrl-_'), [0, 97, 31]);
  assert.throws(() => parseDetachKeys('ctrl-1'), /unknown character: 'ctrl-1'/);
  assert.throws(() => parseDetachKeys('ctrl-p,'), /Invalid escape keys/);
});

test('the sequence is found across chunks', () => {
  const scanner = new DetachScanner([16, 17]);
  assert.deepEqual(scanner.scan(Buffer.from('ab\x10')), { pass: new Uint8Array([97, 98]), detached: false });
  assert.deepEqual(scanner.scan(Buffer.from('\x11c')), { pass: new Uint8Array(), detached: true });
});

test('a sequence that breaks is passed on', () => {
  const scanner = new DetachScanner([16, 17]);
  assert.deepEqual(scanner.scan(Buffer.from('\x10a')), { pass: new Uint8Array([16, 97]), detached: false });
  assert.deepEqual(scanner.scan(Buffer.from('\x10\x10')), { pass: new Uint8Array([16]), detached: false });
  assert.deepEqual(scanner.scan(Buffer.from('\x11')), { pass: new Uint8Array(), detached: true });
});
