import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { MemoryDatabase } from '#cluster/store/memory-database.ts';
import { MemoryStore } from '#cluster/store/memory-store.ts';
import { SqliteStore } from '#cluster/store/sqlite-store.ts';
import { ManualClock } from '#control/manual-clock.ts';
import { EtcdMachines, limit } from '../support/etcd-machines.ts';
import { changesUntil, put, type StoreUnderTest, testStore, write } from './store-contract.ts';

const HISTORY = 300;

async function forgetBy(store: StoreUnderTest['store']): Promise<void> {
  for (let index = 0; index < HISTORY * 2; index += 1) await put(store, 'history', String(index));
}

testStore('memory', async () => {
  const clock = new ManualClock();
  const database = new MemoryDatabase({ clock, historyLimit: HISTORY });
  const delay = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const store = new MemoryStore({ clock, database });
  const other = new MemoryStore({ clock, database, delay });
  return {
    ...{ store, other, forget: () => forgetBy(store), outlast: (ms) => clock.advance(ms + 1).then(() => 0) },
    async [Symbol.asyncDispose]() {
      database[Symbol.dispose]();
    },
  };
});

testStore('sqlite', async () => {
  const clock = new ManualClock();
  const directory = mkdtempSync(join(tmpdir(), 'drover-store-'));
  const history = { changes: HISTORY, bytes: 1024 * 1024 };
  const store = new SqliteStore(join(directory, 'store.db'), { clock, history });
  return {
    ...{
      store,
      other: store,
      forget: () => forgetBy(store),
      outlast: (ms) => clock.advance(ms + 1).then(() => 0),
    },
    async [Symbol.asyncDispose]() {
      store[Symbol.dispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
});

let machines: EtcdMachines;
before(async () => {
  machines = new EtcdMachines();
  await machines.found('one');
});
after(async () => {
  await machines[Symbol.asyncDispose]();
});

let prefixes = 0;
testStore('etcd', async () => {
  prefixes += 1;
  // small pages, so that listings have several
  const o = { keyPrefix: `cluster${prefixes}/`, pageSize: 100, maxResponseBytes: 4 * 1024 * 1024 };
  const store = machines.store(['one'], o);
  const other = machines.store(['one'], o);
  return {
    ...{ store, other },
    async forget() {
      const { revision } = await store.list('');
      await store.client.call('kv/compaction', { revision: String(revision) }, { repeatable: false });
    },
    async outlast(ttlMs: number) {
      const request = { TTL: String(ttlMs / 1000) };
      const { ID } = await store.client.call('lease/grant', request, { repeatable: false });
      const result = await store.commit(write({ puts: [{ key: 'time', value: '', lease: String(ID) }] }));
      assert.ok(result.committed);
      await changesUntil(other.watch('time', result.revision, limit()), ({ length }) => length > 0);
      return 2;
    },
    async [Symbol.asyncDispose]() {
      store[Symbol.dispose]();
      other[Symbol.dispose]();
    },
  };
});
