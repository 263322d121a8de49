import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergedEnvironment } from './exec-process.ts';

test('a command’s variables go before the container’s', () => {
  assert.deepEqual(mergedEnvironment(['B=2', 'C=3', 'D'], ['A=1', 'B=1', 'D=1']), ['A=1', 'B=2', 'C=3']);
});
