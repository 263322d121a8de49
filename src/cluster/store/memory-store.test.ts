import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#control/manual-clock.ts';
import { kindOf } from '#model/errors.ts';
import { MemoryDatabase } from './memory-database.ts';
import { MemoryStore, type MemoryStoreFault } from './memory-store.ts';

const isUnavailable = (error: unknown): boolean => kindOf(error) === 'unavailable';
const nothing = { checks: [], puts: [], deletes: [] };
const never = (): AbortSignal => new AbortController().signal;

function stores(): { clock: ManualClock; ours: MemoryStore; theirs: MemoryStore } {
  const clock = new ManualClock();
  const database = new MemoryDatabase({ clock });
  return { clock, ours: new MemoryStore({ clock, database }), theirs: new MemoryStore({ clock, database }) };
}

const puts = [{ key: 'a', value: '1' }];

test('a fault is one client’s alone', async () => {
  const { ours, theirs } = stores();
  ours.fail('unreachable');
  await assert.rejects(ours.get('a'), isUnavailable);
  await assert.rejects(ours.commit({ ...nothing, puts }), isUnavailable);
  assert.equal(await theirs.get('a'), undefined);
  ours.fail(undefined);
  assert.equal(await ours.get('a'), undefined);
});

test('a commit whose answer is lost has happened', async () => {
  const { ours, theirs } = stores();
  ours.fail('unanswered');
  await assert.rejects(ours.commit({ ...nothing, puts }), isUnavailable);
  assert.equal((await theirs.get('a'))?.value, '1');
});

for (const fault of ['read-only', 'full'] satisfies MemoryStoreFault[])
  test(`a store that is ${fault} is read and not written`, async () => {
    const { ours } = stores();
    ours.fail(fault);
    await assert.rejects(ours.commit({ ...nothing, puts }), isUnavailable);
    assert.deepEqual(await ours.list(''), { revision: 0, entries: [] });
  });

test('a watch throws when the store is lost', async () => {
  const { ours } = stores();
  const watching = ours.watch('', 0, never()).next();
  await ours.get('a');
  ours.fail('unreachable');
  await assert.rejects(watching, isUnavailable);
});

test('a lease of a client that is cut off is lost to it no later than to the others', async () => {
  const { clock, ours, theirs } = stores();
  const lease = await ours.lease(3000, never());
  await ours.commit({ ...nothing, puts: [{ key: 'leader', value: 'we', lease: lease.id }] });
  await clock.advance(60_000);
  assert.equal(lease.lost.aborted, false);
  ours.fail('unreachable');
  let lostFirst: boolean | undefined;
  lease.lost.addEventListener('abort', () => {
    lostFirst = ours.database.get('leader') !== undefined;
  });
  await clock.advance(4000);
  assert.equal(lease.lost.aborted, true);
  assert.equal(lostFirst, true);
  assert.equal(await theirs.get('leader'), undefined);
});

test('a lease survives renewals that fail while its time is not over', async () => {
  const { clock, ours } = stores();
  const lease = await ours.lease(3000, never());
  for (let round = 0; round < 10; round += 1) {
    ours.fail('unreachable');
    await clock.advance(1500);
    ours.fail(undefined);
    await clock.advance(500);
  }
  assert.equal(lease.lost.aborted, false);
});

test('keys come in order after any number of additions and removals', () => {
  const database = new MemoryDatabase({ clock: new ManualClock() });
  const there = new Set<string>();
  // a fixed sequence that visits its keys again and again
  for (let step = 1; step <= 3000; step += 1) {
    const key = `k/${(step * 7919) % 211}`;
    if (step % 3 === 0) {
      database.commit({ ...nothing, deletes: [key] });
      there.delete(key);
    } else {
      database.commit({ ...nothing, puts: [{ key, value: '' }] });
      there.add(key);
    }
    if (step % 97 !== 0) continue;
    assert.deepEqual(
      database.list('k/').entries.map((entry) => entry.key),
      [...there].sort(),
    );
    assert.deepEqual(
      database.list('k/1').entries.map((entry) => entry.key),
      [...there].filter((name) => name.startsWith('k/1')).sort(),
    );
  }
});
