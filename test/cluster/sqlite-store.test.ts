import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { SqliteStore } from '#cluster/store/sqlite-store.ts';
import { ManualClock } from '#control/manual-clock.ts';
import { kindOf, messageOf } from '#model/errors.ts';
import { changesUntil, put, write } from '../contract/store-contract.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drover-store-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const file = (): string => join(directory, 'store.db');
const never = (): AbortSignal => new AbortController().signal;
const isUnavailable = (error: unknown): boolean => kindOf(error) === 'unavailable';

test('a watch goes on from its revision after a restart', async () => {
  let revision: number;
  {
    using store = new SqliteStore(file());
    revision = await put(store, 'a', '1');
    await put(store, 'b', '2');
    await store.commit(write({ deletes: ['a'] }));
  }
  using store = new SqliteStore(file());
  const changes = changesUntil(store.watch('', revision, never()), ({ length }) => length >= 3);
  await put(store, 'c', '3');
  assert.deepEqual(
    (await changes).map((change) => (change.kind === 'put' ? change.entry.key : `no ${change.key}`)),
    ['b', 'no a', 'c'],
  );
  assert.equal((await store.list('')).revision, revision + 3);
});

test('what went with a lease is gone after a restart, and watches say so', async () => {
  let revision: number;
  {
    using store = new SqliteStore(file(), { clock: new ManualClock() });
    const lease = await store.lease(60_000, never());
    await store.commit(write({ puts: [{ key: 'leader', value: 'we', lease: lease.id }] }));
    revision = await put(store, 'a', '1');
  }
  using store = new SqliteStore(file());
  assert.equal(await store.get('leader'), undefined);
  const changes = await changesUntil(store.watch('', revision, never()), () => true);
  assert.deepEqual(changes, [{ kind: 'delete', key: 'leader', revision: revision + 1 }]);
});

test('a file that is mostly free is made small, when it is asked for and at the next opening', async () => {
  const fill = async (store: SqliteStore): Promise<void> => {
    for (let n = 0; n < 40; n++) await put(store, `kept/${n}`, 'x'.repeat(1024 * 1024));
    await store.commit(write({ deletes: Array.from({ length: 40 }, (_, n) => `kept/${n}`) }));
  };
  const small = 4 * 1024 * 1024;
  // the last change is kept for watches, however large
  const history = { changes: 1, bytes: 1024 };
  {
    using store = new SqliteStore(file(), { history });
    await put(store, 'a', '1');
    await fill(store);
    assert.ok(store.bytes > 10 * small);
    store.compact();
    assert.ok(store.bytes < small);
    assert.ok(statSync(file()).size < small);
    assert.equal((await store.get('a'))?.value, '1');
    await fill(store);
    assert.ok(store.bytes > 10 * small);
  }
  using store = new SqliteStore(file(), { history });
  assert.ok(store.bytes < small);
  assert.equal((await store.get('a'))?.value, '1');
});

test('a lease that is not kept ends by its time', async () => {
  const clock = new ManualClock();
  using store = new SqliteStore(file(), { clock });
  const end = new AbortController();
  const lease = await store.lease(10_000, end.signal);
  await store.commit(write({ puts: [{ key: 'leader', value: 'we', lease: lease.id }] }));
  await clock.advance(100_000);
  assert.ok(await store.get('leader'));
  end.abort();
  await clock.advance(1);
  assert.equal(await store.get('leader'), undefined);
});

test('a sealed store is read and not written, also after a restart', async () => {
  {
    using store = new SqliteStore(file(), { clock: new ManualClock() });
    await put(store, 'a', '1');
    const lease = await store.lease(60_000, never());
    await store.commit(write({ puts: [{ key: 'leader', value: 'we', lease: lease.id }] }));
    store.seal('https://10.0.0.1:2379');
    assert.equal(await store.get('leader'), undefined);
    await assert.rejects(put(store, 'a', '2'), /moved to https:\/\/10\.0\.0\.1:2379/);
    await assert.rejects(store.lease(1000, never()), isUnavailable);
  }
  using store = new SqliteStore(file());
  await assert.rejects(put(store, 'a', '2'), isUnavailable);
  assert.equal((await store.get('a'))?.value, '1');
  store.seal('https://10.0.0.1:2379');
  assert.throws(() => store.seal('elsewhere'), isUnavailable);
});

test('a full disk refuses writes by name, loses nothing, and is used again when there is space', async () => {
  const disk = join(directory, 'disk');
  mkdirSync(disk);
  mounted('-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk);
  try {
    using store = new SqliteStore(join(disk, 'store.db'));
    const first = await put(store, 'a', '1');
    const filler = join(disk, 'filler');
    spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k'], { stdio: 'ignore' });
    await assert.rejects(put(store, 'b', 'x'.repeat(100_000)), (error) => {
      assert.match(messageOf(error), /disk is full/);
      return isUnavailable(error);
    });
    assert.equal((await store.get('a'))?.revision, first);
    assert.equal(await store.get('b'), undefined);
    rmSync(filler);
    assert.equal(await put(store, 'b', 'x'.repeat(1000)), first + 1);
  } finally {
    unmounted(disk);
  }
});

test('a disk that is read-only is unavailable, and so is a file that is no store', async () => {
  const disk = join(directory, 'disk');
  mkdirSync(disk);
  mounted('-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk);
  try {
    mounted('-o', 'remount,ro', disk);
    assert.throws(() => new SqliteStore(join(disk, 'store.db')), isUnavailable);
  } finally {
    unmounted(disk);
  }
  writeFileSync(file(), 'not a database'.repeat(1000));
  assert.throws(() => new SqliteStore(file()), isUnavailable);
});

function mounted(...args: string[]): void {
  assert.equal(spawnSync('mount', args, { stdio: 'inherit' }).status, 0);
}

function unmounted(path: string): void {
  assert.equal(spawnSync('umount', [path], { stdio: 'inherit' }).status, 0);
}
