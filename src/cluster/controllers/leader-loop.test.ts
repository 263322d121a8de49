import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ClusterView, LEADER_KEY } from '#cluster/state/cluster-view.ts';
import { ViewFollower } from '#cluster/state/view-follower.ts';
import { MemoryDatabase } from '#cluster/store/memory-database.ts';
import { MemoryStore } from '#cluster/store/memory-store.ts';
import type { CommitResult, Transaction } from '#cluster/store/store.ts';
import { ManualClock } from '#control/manual-clock.ts';
import { unavailable } from '#model/errors.ts';
import type { Controller, Decision } from './controller.ts';
import { LeaderLoop } from './leader-loop.ts';
import { task } from './scene.ts';

/** What a controller of a test decides for a key. */
type Decide = (key: string, limit: number) => Decision;

/** A leader whose one controller decides as the test says. */
class Leading implements Disposable {
  readonly clock: ManualClock = new ManualClock();
  readonly database: MemoryDatabase = new MemoryDatabase({ clock: this.clock });
  readonly store: LateStore;
  readonly view: ClusterView;
  readonly loop: LeaderLoop;
  readonly reports: string[] = [];
  readonly asked: string[] = [];
  readonly #ending = new AbortController();
  #dirty: (key: string) => void = () => undefined;
  #dateMs = 0;

  constructor(
    decide: Decide,
    o: { maxOperations?: number; delay?: () => Promise<void>; follow?: Controller['keysOf'] } = {},
  ) {
    const { database } = this;
    this.store = new LateStore({ clock: this.clock, database, ...o });
    const readable = new MemoryStore({ clock: this.clock, database });
    const follower = new ViewFollower({ store: readable, clock: this.clock });
    this.view = follower.view;
    const guard = { key: LEADER_KEY, revision: this.lead('me') };
    this.loop = new LeaderLoop({
      ...{ store: this.store, follower, guard, random: { below: () => 0, id: () => '' } },
      clock: {
        nowMs: () => this.dateMs,
        monotonicMs: () => this.clock.monotonicMs(),
        sleep: (ms, signal) => this.clock.sleep(ms, signal),
      },
      controllers: [
        {
          name: 'test',
          keysOf: o.follow ?? (() => []),
          connect: (dirty) => {
            this.#dirty = dirty;
          },
          reconcile: (_view, key, { limit }) => {
            this.asked.push(key);
            return decide(key, limit);
          },
        },
      ],
      report: (message, details) => this.reports.push(`${message} ${JSON.stringify(details)}`),
    });
    void follower.run(this.#ending.signal);
    void this.loop.run(this.#ending.signal);
  }

  [Symbol.dispose](): void {
    this.#ending.abort();
    this.database[Symbol.dispose]();
  }

  get tasks(): string[] {
    return this.database.list('task/').entries.map(({ key }) => key.slice('task/'.length));
  }

  /** Somebody holds the leader's key from now on. */
  lead(who: string): number {
    const done = this.database.commit({ checks: [], puts: [{ key: LEADER_KEY, value: who }], deletes: [] });
    return done.committed ? done.revision : 0;
  }

  get dateMs(): number {
    return this.clock.nowMs() + this.#dateMs;
  }

  dateChanges(ms: number): void {
    this.#dateMs += ms;
  }

  async dirty(...keys: string[]): Promise<void> {
    for (const key of keys) this.#dirty(key);
    await this.pass(1);
  }

  pass(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }
}

const WEB = { key: 'service/web', value: JSON.stringify({ ID: 'web', Spec: { Name: 'web' } }) };

/** A task of the key's name, once. */
const makeTask: Decide = (key) => ({ writes: [task(key)] });

test('what a decision relies on has to be as it was when it is written', async () => {
  let isChanged = false;
  using leading = new Leading((key) => {
    // somebody is faster
    if (!isChanged) leading.database.commit({ checks: [], puts: [WEB], deletes: [] });
    isChanged = true;
    return { writes: [task(key)], relies: [{ table: 'service', id: 'web' }] };
  });
  await leading.dirty('a');
  assert.deepEqual(leading.tasks, []);
  assert.match(leading.loop.figures[0]?.lastError ?? '', /somebody else/);
  await leading.pass(5000);
  assert.deepEqual(leading.tasks, ['a']);
});

test('what is decided of many keys is one commit', async () => {
  using leading = new Leading(makeTask);
  await leading.pass(1);
  const before = leading.database.revision;
  await leading.dirty('a', 'b', 'c');
  assert.deepEqual([leading.tasks, leading.database.revision - before], [['a', 'b', 'c'], 1]);
  assert.deepEqual(leading.loop.figures[0]?.writes, 3);
});

test('where nothing is to be done, nothing is written', async () => {
  using leading = new Leading(() => ({ writes: [] }));
  await leading.dirty('a', 'b');
  const { revision } = leading.database;
  await leading.pass(60_000);
  assert.equal(leading.database.revision, revision);
});

test('a leader that has lost its key writes nothing, also what was on its way', async () => {
  const gate = Promise.withResolvers<void>();
  let isHeld = false;
  using leading = new Leading(makeTask, { delay: () => (isHeld ? gate.promise : Promise.resolve()) });
  await leading.dirty('a');
  isHeld = true;
  await leading.dirty('b');
  leading.lead('another');
  gate.resolve();
  await leading.pass(10_000);
  assert.deepEqual(leading.tasks, ['a']);
});

test('a commit whose answer was lost is seen before anything is decided again', async () => {
  let isSecond = false;
  using leading = new Leading((key) => {
    if (isSecond) return { writes: [] };
    isSecond = leading.view.count('task') > 0;
    return { writes: isSecond ? [] : [task(`${key}${leading.asked.length}`)] };
  });
  await leading.pass(1);
  leading.store.fail('unanswered');
  await leading.dirty('a');
  leading.store.fail(undefined);
  await leading.pass(10_000);
  assert.deepEqual([leading.tasks, isSecond], [['a1'], true]);
});

test('a commit that nobody answered and that comes late does nothing any more', async () => {
  using leading = new Leading((key) => ({ writes: [task(`${key}${leading.asked.length}`)] }));
  await leading.pass(1);
  leading.store.isHeldBack = true;
  await leading.dirty('a');
  await leading.pass(1000);
  assert.deepEqual([leading.tasks, leading.store.heldBack.length], [['a2'], 1]);
  assert.deepEqual(await leading.store.arrive(), [{ committed: false }]);
  assert.deepEqual(leading.tasks, ['a2']);
});

test('a decision that throws stops no other, and is made again later', async () => {
  using leading = new Leading((key, limit) => {
    if (key === 'poisoned') throw new Error('this record is nonsense');
    return makeTask(key, limit);
  });
  await leading.dirty('poisoned', 'a', 'b');
  assert.deepEqual(leading.tasks, ['a', 'b']);
  assert.match(leading.reports.join(), /poisoned.*this record is nonsense/);
  await leading.pass(60_000);
  const tries = leading.asked.filter((key) => key === 'poisoned').length;
  assert.ok(tries > 2 && tries < 10, `tried ${tries} times`);
});

test('what cannot be written stops no other', async () => {
  using leading = new Leading((key, limit) =>
    key === 'poisoned' ? { writes: [task('bad\u0000key')] } : makeTask(key, limit),
  );
  const others = Array.from({ length: 40 }, (_, i) => `t${i}`);
  await leading.dirty(...others.slice(0, 30), 'poisoned', ...others.slice(30));
  await leading.pass(1500);
  assert.equal(leading.tasks.length, 40);
});

test('a controller that cannot follow a change hinders nobody', async () => {
  using leading = new Leading(makeTask, {
    follow: ({ id }) => {
      if (id === 'a') throw new Error('no such thing');
      return [];
    },
  });
  await leading.dirty('a');
  await leading.dirty('b');
  assert.deepEqual(leading.tasks, ['a', 'b']);
  assert.match(leading.reports.join(), /cannot follow.*task\/a/);
});

test('a record that somebody else changed first is looked at again', async () => {
  let isSecond = false;
  using leading = new Leading((key) => {
    if (isSecond) return { writes: [task(key, { attempt: 2 })] };
    isSecond = true;
    // in between
    const put = { key: `task/${key}`, value: JSON.stringify({ ID: key, theirs: true }) };
    leading.database.commit({ checks: [], puts: [put], deletes: [] });
    return { writes: [task(key)] };
  });
  await leading.dirty('a');
  await leading.pass(5000);
  assert.match(leading.database.get('task/a')?.value ?? '', /"attempt":2/);
});

test('a decision that is larger than any round is refused, and nothing spins', async () => {
  using leading = new Leading(
    (key, limit) =>
      key === 'huge'
        ? { writes: Array.from({ length: 100 }, (_, i) => task(`h${i}`)) }
        : makeTask(key, limit),
    { maxOperations: 32 },
  );
  await leading.dirty('huge', 'a');
  await leading.pass(5000);
  assert.deepEqual(leading.tasks, ['a']);
  assert.match(leading.reports.join(), /huge.*100 writes/);
  assert.ok(leading.asked.length < 5);
});

test('who asks to look again is asked at that time, whatever becomes of the date', async () => {
  let dateMs = 0;
  using leading = new Leading(() => ({ writes: [], againAtMs: dateMs + 5000 }));
  leading.dateChanges(3_600_000);
  dateMs = leading.dateMs;
  await leading.dirty('a');
  leading.dateChanges(-7_200_000);
  dateMs = leading.dateMs + 1_000_000;
  await leading.pass(5000);
  assert.equal(leading.asked.length, 2);
});

test('who needs two writes for a step is not asked with room for one', async () => {
  // as replacements of tasks are: two writes each, or none
  const decide: Decide = (key, limit) => ({
    writes: Array.from({ length: Math.min(15, Math.floor(limit / 2)) }, (_, at) => [
      task(`${key}${at}a`),
      task(`${key}${at}b`),
    ]).flat(),
  });
  // a round has room for 31 writes
  using leading = new Leading(decide, { maxOperations: 64 });
  await leading.dirty('x', 'y');
  await leading.pass(1000);
  assert.equal(leading.tasks.length, 60);
});

/** Its next commit is lost on the way, as far as the caller knows, and arrives when the test says so. */
class LateStore extends MemoryStore {
  isHeldBack = false;
  readonly heldBack: Transaction[] = [];

  override async commit(transaction: Transaction): Promise<CommitResult> {
    if (!this.isHeldBack) return await super.commit(transaction);
    this.isHeldBack = false;
    this.heldBack.push(transaction);
    throw unavailable('the store did not answer in time');
  }

  arrive(): Promise<CommitResult[]> {
    return Promise.all(this.heldBack.map((transaction) => super.commit(transaction)));
  }
}
