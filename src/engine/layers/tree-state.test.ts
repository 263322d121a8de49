import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { TreeSelection } from './tree-selection.ts';
import { treeState } from './tree-state.ts';

function scene(t: TestContext): { root: string; selection: TreeSelection } {
  const root = mkdtempSync(join(tmpdir(), 'tree-state-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const name of ['src/a', 'src/b', 'hidden/c']) mkdirSync(join(root, name), { recursive: true });
  for (const name of ['src/a/one', 'src/b/two', 'hidden/c/three']) writeFileSync(join(root, name), name);
  return { root, selection: { root, sources: ['src'] } };
}

/** Each makes other files of those that the scene selects. */
function changes(root: string): (() => void)[] {
  return [
    () => writeFileSync(join(root, 'src/b/two'), 'SRC/b/two'),
    () => chmodSync(join(root, 'src/a/one'), 0o755),
    () => renameSync(join(root, 'src/a/one'), join(root, 'src/a/1')),
  ];
}

test('files that have settled have another state after each change', async (t) => {
  const { root, selection } = scene(t);
  const later = (): string | undefined => treeState(selection, 1000, Date.now() + 10_000);
  const states = new Set([later()]);
  for (const change of changes(root)) {
    // the clock of a file system may stand still for a while
    await new Promise((resolve) => setTimeout(resolve, 20));
    change();
    assert.equal(later(), later());
    states.add(later());
  }
  assert.equal(states.size, 4);
  assert.ok(!states.has(undefined));
  writeFileSync(join(root, 'hidden/c/three'), 'not selected');
  assert.ok(states.has(later()));
});

test('files that changed lately are read, where they are few', (t) => {
  const { root, selection } = scene(t);
  const states = new Set([treeState(selection, 1000)]);
  for (const change of changes(root)) {
    change();
    states.add(treeState(selection, 1000));
  }
  assert.equal(states.size, 4);
  assert.ok(!states.has(undefined));
  writeFileSync(join(root, 'src/b/two'), 'SRC/b/two');
  assert.ok(states.has(treeState(selection, 1000)));
  writeFileSync(join(root, 'src/large'), Buffer.alloc(2 << 20));
  assert.equal(treeState(selection, 1000), undefined);
});

test('a walk that takes longer than its caller waits ends, also where it selects nothing', (t) => {
  const { root } = scene(t);
  // what is hidden is walked for the exception in it
  const selection = { root, sources: ['hidden'], ignore: ['hidden', '!hidden/none'] };
  assert.equal(treeState(selection, -1), undefined);
  assert.throws(() => treeState(selection, 1000), /"hidden" is not there/);
});
