import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goModeOf, kindOfMode, modeOfGo } from './go-file-mode.ts';

test('modes are the same in both tongues', () => {
  // os.FileMode's bits, as Go documents them
  for (const [go, mode, kind] of [
    [0o644, 0o100644, 'file'],
    [0x8000_0000 + 0o755, 0o040755, 'directory'],
    [0x0800_0000 + 0o777, 0o120777, 'symlink'],
    [0x0200_0000 + 0o600, 0o010600, 'node'],
    [0x0400_0000 + 0o600, 0o060600, 'node'],
    [0x0420_0000 + 0o600, 0o020600, 'node'],
    [0x0100_0000 + 0o600, 0o140600, 'socket'],
    [0x0080_0000 + 0o755, 0o104755, 'file'],
    [0x0040_0000 + 0o755, 0o102755, 'file'],
    [0x8010_0000 + 0o777, 0o041777, 'directory'],
  ] as const) {
    assert.equal(modeOfGo(go), mode, go.toString(16));
    assert.equal(goModeOf(mode), go, mode.toString(8));
    assert.equal(kindOfMode(mode), kind);
  }
});
