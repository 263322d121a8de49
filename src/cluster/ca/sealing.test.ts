import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DroverError } from '#model/errors.ts';
import {
  createSealingKey,
  formatUnlockKey,
  parseUnlockKey,
  seal,
  sealedWith,
  sealKey,
  unseal,
  unsealKey,
} from './sealing.ts';

const key = createSealingKey();
const next = createSealingKey();

test('what is sealed comes back by the key that it was sealed with, among several', () => {
  const sealed = seal(Buffer.from('password'), key, 'secret/1');
  assert.equal(unseal(sealed, [next, key], 'secret/1').toString(), 'password');
  assert.notEqual(seal(Buffer.from('password'), key, 'secret/1'), sealed);
  assert.equal(seal(Buffer.alloc(0), key, 'p').length > 0, true);
  assert.equal(unseal(seal(Buffer.alloc(0), key, 'p'), [key], 'p').length, 0);
});

test('without its key it is refused, with what to do', () => {
  const sealed = seal(Buffer.from('password'), key, 'secret/1');
  assert.throws(
    () => unseal(sealed, [next], 'secret/1'),
    (error) => error instanceof DroverError && error.kind === 'forbidden' && /unlock/.test(error.hint ?? ''),
  );
  assert.throws(
    () => unsealKey(sealKey(key, next), [createSealingKey()]),
    (error) => error instanceof DroverError && error.kind === 'forbidden',
  );
});

test('a changed byte anywhere, or another purpose, is refused', () => {
  const sealed = seal(Buffer.from('password'), key, 'secret/1');
  assert.throws(() => unseal(sealed, [key], 'secret/2'), /damaged/);
  const bytes = Buffer.from(sealed, 'base64');
  for (let i = 0; i < bytes.length; i++) {
    const changed = Buffer.from(bytes);
    changed[i] = (changed[i] ?? 0) ^ 1;
    assert.throws(() => unseal(changed.toString('base64'), [key], 'secret/1'), DroverError, `byte ${i}`);
    assert.throws(() => unseal(bytes.subarray(0, i).toString('base64'), [key], 'secret/1'), DroverError);
  }
});

test('keys are sealed by keys', () => {
  assert.deepEqual(unsealKey(sealKey(key, next), [next]), key);
  assert.equal(sealedWith(sealKey(key, next)), next.id);
});

test('an unlock key has Swarm’s form', () => {
  const text = formatUnlockKey(key);
  assert.match(text, /^SWMKEY-1-[A-Za-z0-9+/]{43}$/);
  assert.deepEqual(parseUnlockKey(text), key);
  for (const wrong of ['', 'SWMKEY-1-', `${text}=`, ` ${text}`, text.slice(1)])
    assert.throws(() => parseUnlockKey(wrong), /invalid unlock key/);
});
