import assert from 'node:assert/strict';
import {
  closeSync,
  mkdirSync,
  mkdtempDisposableSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { archiveDirectory } from './directory-archiver.ts';
import { TarParser } from './tar-reader.ts';

/** The names in an archive of a directory; `meanwhile` is called when the entry `at` has come. */
function namesOf(directory: string, o: { as?: string; at?: string; meanwhile?: () => void } = {}): string[] {
  const names: string[] = [];
  const parser = new TarParser({
    entry: ({ name, size }) => {
      assert.ok(size <= 1, 'no file here is larger');
      names.push(name);
    },
    data: () => undefined,
    end: () => undefined,
  });
  const fd = openSync(directory, 'r');
  try {
    for (const chunk of archiveDirectory(fd, {
      whiteouts: false,
      ...(o.as === undefined ? {} : { as: o.as }),
    })) {
      parser.push(chunk);
      if (names.at(-1) === o.at) o.meanwhile?.();
    }
  } finally {
    closeSync(fd);
  }
  return names;
}

function tree(): { path: string; outside: string } & Disposable {
  const at = mkdtempDisposableSync(join(tmpdir(), 'drover-archiver-'));
  const path = join(at.path, 'tree');
  const outside = join(at.path, 'outside');
  for (const directory of [join(path, 'a/b'), join(path, 'c'), outside])
    mkdirSync(directory, { recursive: true });
  for (const file of [join(path, 'a/b/file'), join(path, 'c/last'), join(outside, 'secret')])
    writeFileSync(file, 'x');
  return { path, outside, [Symbol.dispose]: () => at.remove() };
}

test('names come in order, below the name that is asked for', () => {
  using at = tree();
  assert.deepEqual(namesOf(at.path), ['a/', 'a/b/', 'a/b/file', 'c/', 'c/last']);
  assert.deepEqual(namesOf(join(at.path, 'a'), { as: 'other' }), ['other/', 'other/b/', 'other/b/file']);
  assert.deepEqual(namesOf(join(at.path, 'c'), { as: '' }), ['/', '/last']);
});

test('a directory that becomes a link while its archive is made is not followed', () => {
  using at = tree();
  const meanwhile = (): void => {
    renameSync(join(at.path, 'a'), join(at.path, 'z'));
    symlinkSync(at.outside, join(at.path, 'a'));
  };
  assert.deepEqual(namesOf(at.path, { at: 'a/', meanwhile }), ['a/', 'c/', 'c/last']);
});

test('a directory that is being read is read to its end, wherever it goes', () => {
  using at = tree();
  mkdirSync(join(at.path, 'a/b/deep'));
  const meanwhile = (): void => {
    renameSync(join(at.path, 'a'), join(at.path, 'z'));
    symlinkSync(at.outside, join(at.path, 'a'));
    mkdirSync(join(at.outside, 'b'));
    writeFileSync(join(at.outside, 'b/file'), 'secret');
  };
  const names = namesOf(at.path, { at: 'a/b/deep/', meanwhile });
  assert.deepEqual(names, ['a/', 'a/b/', 'a/b/deep/', 'a/b/file', 'c/', 'c/last']);
});

test('what is gone meanwhile is left out', () => {
  using at = tree();
  const names = namesOf(at.path, {
    at: 'a/',
    meanwhile: () => rmSync(join(at.path, 'a'), { recursive: true }),
  });
  assert.deepEqual(names, ['a/', 'c/', 'c/last']);
});
