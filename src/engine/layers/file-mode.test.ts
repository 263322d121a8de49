import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileModeChange } from './file-mode.ts';

test('octal and symbolic modes, as chmod(1) reads them', () => {
  for (const [text, before, isDirectory, after] of [
    [undefined, 0o640, false, 0o640],
    ['755', 0o600, false, 0o755],
    ['04711', 0o600, false, 0o4711],
    ['u=rwX,go=rX', 0o700, false, 0o755],
    ['u=rwX,go=rX', 0o600, false, 0o644],
    ['u=rwX,go=rX', 0o600, true, 0o755],
    ['+x', 0o644, false, 0o755],
    ['go-rwx', 0o777, false, 0o700],
    ['g=u', 0o640, false, 0o660],
    ['u+s,+t', 0o755, false, 0o5755],
    ['a=r', 0o777, false, 0o444],
  ] as const)
    assert.equal(fileModeChange(text)(before, isDirectory).toString(8), after.toString(8), String(text));
  for (const text of ['u~x', '999', 'x', 'u=q'])
    assert.throws(() => fileModeChange(text), /invalid chmod/, text);
});
