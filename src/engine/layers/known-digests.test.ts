import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { KnownDigests, makeKnownDigests } from './known-digests.ts';

test('several that read and remember at the same time keep nobody from it, and all is remembered', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'known-digests-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'digests.db');
  makeKnownDigests(file);
  makeKnownDigests(file);
  // long settled, and files of their own
  const [first, second] = [process.execPath, '/bin/sh'].map((path) => statSync(path, { bigint: true }));
  assert.ok(first !== undefined && second !== undefined);
  {
    using one = new KnownDigests(file);
    assert.equal(one.find(first), undefined);
    using other = new KnownDigests(file);
    assert.equal(other.find(second), undefined);
    one.remember(first, 'first');
    other.remember(second, 'second');
  }
  using later = new KnownDigests(file);
  assert.deepEqual([later.find(first), later.find(second)], ['first', 'second']);
  assert.equal(later.find({ ...first, size: first.size + 1n }), undefined);
});
