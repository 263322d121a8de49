import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { RecordStore } from '#engine/records/record-store.ts';
import { BuildCache } from './build-cache.ts';

test('facts are found out once, and those that were not used for longest go when they are too long', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'build-cache-'));
  t.after(() => rmSync(directory, { recursive: true }));
  using records = new RecordStore(join(directory, 'records.db'));
  const layers = { addReferrer: () => undefined, has: () => true, size: () => 0, sweep: () => undefined };
  const cache = new BuildCache({ records, layers });
  let asked = 0;
  const find = (fact: string) => (): Promise<string> => {
    asked += 1;
    return Promise.resolve(fact);
  };
  assert.equal(await cache.fact('one', find('1')), '1');
  assert.equal(await cache.fact('one', find('2')), '1');
  assert.equal(asked, 1);
  cache.remember('long', 'x'.repeat(3_000_000));
  assert.equal(cache.knownFact('one'), '1');
  cache.remember('also long', 'y'.repeat(3_000_000));
  assert.equal(cache.knownFact('long'), undefined);
  assert.equal(cache.knownFact('one'), '1');
  cache.remember('too long', 'z'.repeat(5_000_000));
  assert.equal(cache.knownFact('too long'), undefined);
});
