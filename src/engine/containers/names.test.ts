import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomName } from './names.ts';

test('a random name is a valid container name and is not taken', () => {
  const taken = new Set<string>();
  for (let count = 0; count < 300; count += 1) {
    const name = randomName((candidate) => taken.has(candidate));
    assert.match(name, /^[a-z]+_[a-z]+\d*$/);
    assert.equal(taken.has(name), false);
    taken.add(name);
  }
});
