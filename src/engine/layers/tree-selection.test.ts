import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { digestTree } from './tree-digest.ts';
import { selectEntries, type TreeSelection } from './tree-selection.ts';

const root = mkdtempSync(join(tmpdir(), 'drover-tree-'));
after(() => rmSync(root, { recursive: true }));
for (const path of [
  'a.txt',
  'b.md',
  'dir/one',
  'dir/sub/two',
  'dir/sub/three.log',
  'keep/x.log',
  'node_modules/m',
]) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), path);
}
symlinkSync('dir', join(root, 'link'));
symlinkSync('/etc', join(root, 'out'));

function targets(selection: Omit<TreeSelection, 'root'>): string[] {
  return [...selectEntries({ root, ...selection })]
    .filter(({ stats }) => !stats.isDirectory())
    .map(({ target }) => target);
}

test('sources: files by their name, directories by what is in them, wildcards, links', () => {
  assert.deepEqual(targets({ sources: ['a.txt'] }), ['a.txt']);
  assert.deepEqual(targets({ sources: ['dir'] }), ['one', 'sub/three.log', 'sub/two']);
  assert.deepEqual(targets({ sources: ['/dir/', './a.txt'] }), ['one', 'sub/three.log', 'sub/two', 'a.txt']);
  assert.deepEqual(targets({ sources: ['*.*', 'dir/*/t?o'] }), ['a.txt', 'b.md', 'two']);
  assert.deepEqual(targets({ sources: ['[ab].*'] }), ['a.txt', 'b.md']);
  assert.deepEqual(targets({ sources: ['**/*.log'] }), ['three.log', 'x.log']);
  assert.deepEqual(targets({ sources: ['link'] }), ['one', 'sub/three.log', 'sub/two']);
  assert.deepEqual(targets({ sources: ['../../a.txt'] }), ['a.txt']);
});

test('what is ignored or excluded is left out, exceptions come back', () => {
  assert.deepEqual(
    targets({ sources: ['.'], ignore: ['*', '!dir', 'dir/sub/*.log'] }),
    ['one', 'sub/two'].map((name) => `dir/${name}`),
  );
  assert.deepEqual(targets({ sources: ['.'], ignore: ['**/*.log', 'node_modules', 'link', 'out', '*.*'] }), [
    'dir/one',
    'dir/sub/two',
  ]);
  assert.deepEqual(targets({ sources: ['dir'], exclude: ['sub'] }), ['one']);
  assert.deepEqual(targets({ sources: ['*.*'], exclude: ['*.md'] }), ['a.txt']);
});

test('parents keep the path, from the pivot on', () => {
  assert.deepEqual(targets({ sources: ['dir/sub/two', 'a.txt'], parents: true }), ['dir/sub/two', 'a.txt']);
  assert.deepEqual(targets({ sources: ['./dir/./sub/two'], parents: true }), ['sub/two']);
});

test('a source that is not there is named', () => {
  assert.throws(() => targets({ sources: ['nope'] }), /"nope" is not there/);
  assert.throws(() => targets({ sources: ['*.nope'] }), /"\*\.nope" is not there/);
  assert.throws(() => targets({ sources: ['a.txt'], ignore: ['a.*'] }), /"a.txt" is not there/);
  // The link leads out of the root: inside there is no such place.
  assert.throws(() => targets({ sources: ['out/passwd'] }), /is not there/);
});

test('digests: content and modes count, times do not', async () => {
  const digest = async (): Promise<string> =>
    (await digestTree({ selection: { root, sources: ['dir'] }, owners: false })).digest;
  const before = await digest();
  writeFileSync(join(root, 'dir/one'), 'dir/one');
  assert.equal(await digest(), before);
  writeFileSync(join(root, 'dir/one'), 'changed');
  const changed = await digest();
  assert.notEqual(changed, before);
  writeFileSync(join(root, 'dir/one'), 'dir/one');
  assert.equal(await digest(), before);
});
