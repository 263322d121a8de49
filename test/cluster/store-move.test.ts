import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { MemoryDatabase } from '#cluster/store/memory-database.ts';
import { MemoryStore } from '#cluster/store/memory-store.ts';
import { SqliteStore } from '#cluster/store/sqlite-store.ts';
import type { CommitResult, Store, Transaction } from '#cluster/store/store.ts';
import { checkBackup, restoreBackup, writeBackup } from '#cluster/store/store-backup.ts';
import { findMove, moveStore } from '#cluster/store/store-move.ts';
import { ManualClock } from '#control/manual-clock.ts';
import { kindOf, messageOf, unavailable } from '#model/errors.ts';
import { put, write } from '../contract/store-contract.ts';
import { EtcdMachines } from '../support/etcd-machines.ts';

const RECORDS = 500;
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drover-move-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const never = (): AbortSignal => new AbortController().signal;
const isConflict = (error: unknown): boolean => kindOf(error) === 'conflict';
const isUnavailable = (error: unknown): boolean => kindOf(error) === 'unavailable';

/** A store of a cluster: some records, some gone again, and a leader by a lease. */
async function filled(): Promise<SqliteStore> {
  const store = new SqliteStore(join(directory, 'store.db'), { clock: new ManualClock() });
  const puts = Array.from({ length: RECORDS }, (_, index) => ({
    key: `task/${String(index).padStart(4, '0')}`,
    value: JSON.stringify({ index, text: 'grün "x"\n' }),
  }));
  await store.commit(write({ puts }));
  await put(store, 'swarm/abc', '{}');
  await put(store, 'config/large', 'x'.repeat(1536 * 1024));
  await store.commit(write({ deletes: ['task/0003'] }));
  const lease = await store.lease(60_000, never());
  await store.commit(write({ puts: [{ key: 'leader', value: 'we', lease: lease.id }] }));
  return store;
}

async function contentOf(store: Store): Promise<[string, string][]> {
  const { entries } = await store.list('');
  return entries
    .filter(({ key, lease }) => lease === undefined && !key.startsWith('store/'))
    .map(({ key, value }) => [key, value]);
}

/** A store whose commits fail from one on, done or not, as if the daemon ended there. */
class EndingStore implements Store {
  readonly maxOperations = 50;
  readonly #store: Store;
  readonly #isDone: boolean;
  #left: number;

  constructor(store: Store, o: { commits: number; isDone: boolean }) {
    this.#store = store;
    this.#left = o.commits;
    this.#isDone = o.isDone;
  }

  get: Store['get'] = (key) => this.#store.get(key);
  list: Store['list'] = (prefix) => this.#store.list(prefix);
  watch: Store['watch'] = (prefix, revision, signal) => this.#store.watch(prefix, revision, signal);
  lease: Store['lease'] = (ttlMs, signal) => this.#store.lease(ttlMs, signal);

  async commit(transaction: Transaction): Promise<CommitResult> {
    this.#left -= 1;
    if (this.#left >= 0) return await this.#store.commit(transaction);
    if (this.#left === -1 && this.#isDone) await this.#store.commit(transaction);
    throw unavailable('the end');
  }
}

test('a store moves to etcd whole, and the old one says where it went', async () => {
  await using machines = new EtcdMachines();
  await machines.found('one');
  using to = machines.store(['one']);
  using from = await filled();
  const before = await contentOf(from);
  const o = { from, to, successor: 'etcd at one' };
  const move = await moveStore(o);
  assert.equal(move.count, before.length);
  assert.deepEqual(await contentOf(to), before);
  assert.equal(await to.get('leader'), undefined);
  await assert.rejects(put(from, 'late', ''), /moved to etcd at one/);
  assert.deepEqual(await findMove(to), move);
  await put(to, 'task/0000', 'changed');
  assert.deepEqual(await moveStore(o), move);
  assert.equal((await to.get('task/0000'))?.value, 'changed');
});

test('cut off after any of its commits, a move is finished by repeating it', async () => {
  using from = await filled();
  const successor = 'memory';
  for (let commits = 0, finished = false; !finished; commits += 1) {
    for (const isDone of [false, true]) {
      using to = new MemoryStore({ clock: new ManualClock() });
      const ending = new EndingStore(to, { commits, isDone });
      try {
        await moveStore({ from, to: ending, successor });
        finished = true;
      } catch (error) {
        assert.ok(isUnavailable(error));
      }
      await moveStore({ from, to: new EndingStore(to, { commits: 1000, isDone }), successor });
      assert.deepEqual(await contentOf(to), await contentOf(from));
      assert.equal((await findMove(to))?.source, from.id);
    }
  }
});

test('a move that is given up leaves the old store as it was', async () => {
  using from = await filled();
  using to = new MemoryStore({ clock: new ManualClock() });
  const ending = new EndingStore(to, { commits: 3, isDone: true });
  await assert.rejects(moveStore({ from, to: ending, successor: 'memory' }), isUnavailable);
  await assert.rejects(put(from, 'late', ''), isUnavailable);
  from.unseal();
  await put(from, 'late', '');
  await from.commit(write({ deletes: ['task/0000'] }));
  await moveStore({ from, to, successor: 'memory' });
  assert.deepEqual(await contentOf(to), await contentOf(from));
});

test('a store only moves into an empty one', async () => {
  using from = await filled();
  using to = new MemoryStore({ clock: new ManualClock() });
  await put(to, 'a', '1');
  await assert.rejects(moveStore({ from, to, successor: 'memory' }), isConflict);
  assert.deepEqual(await contentOf(to), [['a', '1']]);
  // the old one is still in use
  await put(from, 'late', '');
});

test('a backup is restored into each kind of store, and from each', async () => {
  await using machines = new EtcdMachines();
  await machines.found('one');
  using etcd = machines.store(['one']);
  using from = await filled();
  const first = join(directory, 'first.backup');
  const second = join(directory, 'second.backup');
  const header = await writeBackup(from, first);
  assert.equal(header.clusterId, 'abc');
  assert.equal(statSync(first).mode & 0o777, 0o600);
  assert.deepEqual(await restoreBackup(first, etcd), header);
  const lease = await etcd.lease(60_000, never());
  await etcd.commit(write({ puts: [{ key: 'leader', value: 'etcd', lease: lease.id }] }));
  await writeBackup(etcd, second);
  using back = new SqliteStore(join(directory, 'back.db'));
  await restoreBackup(second, back);
  assert.deepEqual(await contentOf(back), await contentOf(from));
  assert.equal(await back.get('leader'), undefined);
  const lines = (file: string): string[] => readFileSync(file, 'utf8').trim().split('\n').slice(1, -1);
  assert.deepEqual(lines(second), lines(first));
  await assert.rejects(restoreBackup(first, back), isConflict);
});

test('cut off, a restore is finished with the same file and no other, and no backup is made meanwhile', async () => {
  using from = await filled();
  const file = join(directory, 'a.backup');
  await writeBackup(from, file);
  const database = new MemoryDatabase({ clock: new ManualClock() });
  using to = new MemoryStore({ clock: new ManualClock(), database });
  await assert.rejects(restoreBackup(file, new EndingStore(to, { commits: 3, isDone: true })), isUnavailable);
  await put(from, 'later', '');
  const other = join(directory, 'b.backup');
  await writeBackup(from, other);
  await assert.rejects(restoreBackup(other, to), isConflict);
  await assert.rejects(writeBackup(to, other), isConflict);
  await restoreBackup(file, to);
  assert.equal((await contentOf(to)).length, (await checkBackup(file)).count);
});

test('what is no whole backup is refused by name, and nothing is written', async () => {
  using from = await filled();
  const file = join(directory, 'whole.backup');
  await writeBackup(from, file);
  const whole = readFileSync(file, 'utf8');
  const lines = whole.split('\n');
  const cases: [name: string, text: string, message: RegExp][] = [
    ['empty', '', /is no backup of a Drover cluster/],
    ['foreign', '{"a":1}\n', /is no backup of a Drover cluster/],
    ['binary', '\0'.repeat(1000), /is no backup of a Drover cluster/],
    ['newer', whole.replace('"version":1', '"version":2'), /version 2; this Drover reads version 1/],
    ['cut', `${lines.slice(0, 10).join('\n')}\n`, /is cut off: it has 9 of 501 entries/],
    ['cut-last', whole.slice(0, -1), /is cut off/],
    ['cut-inside', whole.slice(0, whole.length / 2), /is cut off/],
    ['changed', whole.replace('"index\\":7,', '"index\\":8,'), /checksum does not fit/],
    ['shorter', [...lines.slice(0, 5), ...lines.slice(6)].join('\n'), /checksum does not fit/],
    ['longer', `${whole}{"key":"a","value":"b"}\n`, /more after its end/],
    ['broken', whole.replace('{"key":"task/0007"', '{"key:"task/0007"'), /entry \d+ cannot be read/],
  ];
  for (const [name, text, message] of cases) {
    const broken = join(directory, `${name}.backup`);
    writeFileSync(broken, text);
    using to = new MemoryStore({ clock: new ManualClock() });
    await assert.rejects(restoreBackup(broken, to), (error) => {
      assert.match(messageOf(error), message, name);
      assert.match(messageOf(error), new RegExp(`${name}\\.backup`));
      return kindOf(error) === 'invalid';
    });
    assert.deepEqual(await to.list(''), { revision: 0, entries: [] });
  }
  await assert.rejects(checkBackup(join(directory, 'none')), (error) => kindOf(error) === 'not-found');
});
