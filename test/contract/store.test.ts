import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryDatabase } from '#cluster/store/memory-database.ts';
import { MemoryStore } from '#cluster/store/memory-store.ts';
import { SqliteStore } from '#cluster/store/sqlite-store.ts';
import { ManualClock } from '#control/manual-clock.ts';
import { put, type StoreUnderTest, testStore } from './store-contract.ts';

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
    ...{ store, other, forget: () => forgetBy(store), outlast: (ms) => clock.advance(ms + 1) },
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
    ...{ store, other: store, forget: () => forgetBy(store), outlast: (ms) => clock.advance(ms + 1) },
    async [Symbol.asyncDispose]() {
      store[Symbol.dispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
});
