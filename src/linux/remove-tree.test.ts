import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempDisposableSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { removeTree, removeTreeSync } from './remove-tree.ts';

/** A tree whose deepest path is longer than any that the kernel takes: made from its innermost directory outwards. */
function makeDeep(top: string, outside: string): void {
  mkdirSync(top);
  const name = 'd'.repeat(200);
  const inner = join(top, 'inner');
  mkdirSync(join(inner, 'deepest'), { recursive: true });
  writeFileSync(join(inner, 'file'), 'x');
  symlinkSync(outside, join(inner, 'link'));
  for (let level = 0; level < 40; level++) {
    const around = join(top, `around-${level}`);
    mkdirSync(around);
    writeFileSync(join(around, 'beside'), 'x');
    renameSync(inner, join(around, name));
    renameSync(around, inner);
  }
}

for (const [kind, remove] of [
  ['at once', (path: string) => Promise.resolve(removeTreeSync(path))],
  ['in the background', removeTree],
] as const) {
  test(`a tree that no path is long enough for is removed ${kind}, and nothing that it links to`, async () => {
    using at = mkdtempDisposableSync(join(tmpdir(), 'drover-deep-'));
    const outside = join(at.path, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'kept'), 'x');
    makeDeep(join(at.path, 'deep'), outside);
    await remove(join(at.path, 'deep'));
    assert.equal(existsSync(join(at.path, 'deep')), false);
    assert.equal(existsSync(join(outside, 'kept')), true);
    await remove(join(at.path, 'deep'));
  });
}
