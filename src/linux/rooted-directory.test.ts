import assert from 'node:assert/strict';
import { mkdirSync, mkdtempDisposableSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { RootedDirectory } from './rooted-directory.ts';

test('a file is read inside the root, and no more of it than is asked for', () => {
  using at = mkdtempDisposableSync(join(tmpdir(), 'drover-rooted-'));
  writeFileSync(join(at.path, 'file'), '0123456789');
  writeFileSync(join(at.path, 'empty'), '');
  symlinkSync('/../../file', join(at.path, 'link'));
  symlinkSync('/etc/passwd', join(at.path, 'away'));
  mkdirSync(join(at.path, 'directory'));
  using root = new RootedDirectory(at.path);
  assert.equal(String(root.readFile('file', 10)), '0123456789');
  assert.equal(String(root.readFile('link', 100)), '0123456789');
  assert.equal(String(root.readFile('file', 3)), '0123');
  assert.equal(String(root.readFile('empty', 3)), '');
  for (const none of ['away', 'missing', 'directory', 'file/below'])
    assert.equal(root.readFile(none, 10), undefined);
  using machine = new RootedDirectory('/');
  assert.equal(machine.readFile('dev/zero', 10), undefined);
});
