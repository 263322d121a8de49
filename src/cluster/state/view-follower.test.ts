import assert from 'node:assert/strict';
import { test } from 'node:test';
import { task } from '#cluster/controllers/scene.ts';
import { MemoryDatabase } from '#cluster/store/memory-database.ts';
import { MemoryStore } from '#cluster/store/memory-store.ts';
import { ManualClock } from '#control/manual-clock.ts';
import { kindOf } from '#model/errors.ts';
import { transactionOf } from './record-transaction.ts';
import type { ViewChange } from './tables.ts';
import { ViewFollower } from './view-follower.ts';

/** A follower that runs, a store that can be lost, and everything that a listener heard. */
class Followed implements Disposable {
  readonly clock: ManualClock = new ManualClock();
  readonly database: MemoryDatabase;
  readonly store: MemoryStore;
  readonly follower: ViewFollower;
  readonly heard: string[] = [];
  readonly #ending = new AbortController();

  constructor(historyLimit = 1000) {
    this.database = new MemoryDatabase({ clock: this.clock, historyLimit });
    this.store = new MemoryStore({ clock: this.clock, database: this.database });
    this.follower = new ViewFollower({ store: this.store, clock: this.clock });
    this.follower.listen((changes) => this.heard.push(...changes.map(sentence)), this.#ending.signal);
    void this.follower.run(this.#ending.signal);
  }

  [Symbol.dispose](): void {
    this.#ending.abort();
    this.database[Symbol.dispose]();
  }

  write(...ids: string[]): void {
    for (const id of ids) this.database.commit(transactionOf(this.follower.view, [task(id)]));
  }

  pass(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }
}

function sentence({ id, before, after }: ViewChange): string {
  return after === undefined ? `${id} went` : before === undefined ? `${id} came` : `${id} changed`;
}

test('every change is heard once, in order, after the view has it', async () => {
  using followed = new Followed();
  followed.write('t1');
  await followed.pass(1);
  followed.write('t2');
  await followed.pass(1);
  followed.write('t1');
  await followed.pass(1);
  assert.deepEqual(followed.heard, ['t1 came', 't2 came', 't1 changed']);
});

test('what happened while the store was away is heard when it is back', async () => {
  using followed = new Followed();
  followed.write('t1', 't2');
  await followed.pass(1);
  followed.store.fail('unreachable');
  await followed.pass(1);
  assert.notEqual(followed.follower.error, undefined);
  followed.database.commit({ checks: [], puts: [], deletes: ['task/t1'] });
  followed.write('t3');
  followed.store.fail(undefined);
  await followed.pass(5000);
  assert.deepEqual(followed.heard, ['t1 came', 't2 came', 't1 went', 't3 came']);
  assert.equal(followed.follower.error, undefined);
});

test('where the store has forgotten what is missing, the difference is heard', async () => {
  using followed = new Followed(2);
  followed.write('t1', 't2');
  await followed.pass(1);
  for (let i = 0; i < 10; i++)
    followed.database.commit({
      checks: [],
      puts: [{ key: 'task/t1', value: JSON.stringify({ ID: 't1', round: i }) }],
      deletes: [],
    });
  await followed.pass(5000);
  assert.deepEqual(followed.heard, ['t1 came', 't2 came', 't1 changed']);
});

test('a listing that is older than the view makes the view older: the store was put back', () => {
  const { view } = new ViewFollower({
    store: new MemoryStore({ clock: new ManualClock() }),
    clock: new ManualClock(),
  });
  const entry = (id: string, revision: number) => ({
    key: `task/${id}`,
    value: JSON.stringify({ ID: id }),
    revision,
  });
  view.replace({ revision: 9, entries: [entry('t1', 3), entry('t2', 9)] });
  const changes = view.replace({ revision: 5, entries: [entry('t1', 3)] });
  assert.deepEqual(changes.map(sentence), ['t2 went']);
  assert.equal(view.revision, 5);
});

test('who waits for a revision is told when it is there, or that it will not be', async () => {
  using followed = new Followed();
  await followed.pass(1);
  const never = new AbortController();
  const waiting = followed.follower.untilRevision(1, never.signal);
  const tooMuch = followed.follower.untilRevision(100, never.signal);
  followed.write('t1');
  await followed.pass(1);
  await waiting;
  never.abort();
  await assert.rejects(tooMuch, (error) => kindOf(error) === 'cancelled');
  await assert.rejects(
    followed.follower.untilRevision(100, never.signal),
    (error) => kindOf(error) === 'cancelled',
  );
});
