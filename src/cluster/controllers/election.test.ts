import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryDatabase } from '#cluster/store/memory-database.ts';
import { MemoryStore } from '#cluster/store/memory-store.ts';
import { ManualClock } from '#control/manual-clock.ts';
import { campaign, LEADER_TTL_MS, type Leadership, parseLeader } from './election.ts';

/** Candidates of one cluster; each leads as long as it can. */
class Election implements Disposable {
  readonly clock: ManualClock = new ManualClock();
  readonly database: MemoryDatabase = new MemoryDatabase({ clock: this.clock });
  readonly leaderships = new Map<string, Leadership>();
  readonly #endings: AbortController[] = [];

  [Symbol.dispose](): void {
    for (const ending of this.#endings) ending.abort();
    this.database[Symbol.dispose]();
  }

  get leaders(): string[] {
    return [...this.leaderships.keys()];
  }

  /** The way to the store, and what makes the candidate leave in order. */
  candidate(nodeId: string): { store: MemoryStore; leave: AbortController } {
    const store = new MemoryStore({ clock: this.clock, database: this.database });
    const leave = new AbortController();
    this.#endings.push(leave);
    void campaign({
      ...{ store, clock: this.clock, self: { nodeId, address: nodeId }, signal: leave.signal },
      report: () => undefined,
      lead: async (leadership) => {
        this.leaderships.set(nodeId, leadership);
        if (!leadership.lost.aborted)
          await new Promise((resolve) => leadership.lost.addEventListener('abort', resolve, { once: true }));
        this.leaderships.delete(nodeId);
      },
    });
    return { store, leave };
  }

  pass(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }
}

test('one leads; the next when that one leaves in order, at once', async () => {
  using election = new Election();
  const a = election.candidate('a');
  election.candidate('b');
  await election.pass(10);
  assert.deepEqual(election.leaders, ['a']);
  assert.equal(parseLeader(election.database.get('leader')?.value)?.nodeId, 'a');
  a.leave.abort();
  await election.pass(100);
  assert.deepEqual(election.leaders, ['b']);
  // who never saw anybody else lead knows of none
  assert.equal(election.leaderships.get('b')?.predecessor?.nodeId, 'a');
});

test('who loses the store knows it before another one leads', async () => {
  using election = new Election();
  const a = election.candidate('a');
  election.candidate('b');
  await election.pass(10);
  const leadership = election.leaderships.get('a');
  a.store.fail('unreachable');
  for (let ms = 0; ms < 2 * LEADER_TTL_MS; ms += 50) {
    await election.pass(50);
    assert.ok(election.leaders.length <= 1, election.leaders.join());
  }
  assert.deepEqual([election.leaders, leadership?.lost.aborted], [['b'], true]);
});

test('who stood still knows by the clock, before anything else happened', async () => {
  using election = new Election();
  election.candidate('a');
  await election.pass(10);
  const leadership = election.leaderships.get('a');
  assert.equal(leadership?.isHeld(), true);
  // as in a process that is stopped: time passes, and no timer comes up
  election.clock.monotonicMs = () => 1_000_000 + LEADER_TTL_MS;
  assert.equal(leadership?.isHeld(), false);
  assert.equal(leadership?.lost.aborted, true);
});

test('an election that fails is held again', async () => {
  using election = new Election();
  const a = election.candidate('a');
  a.store.fail('read-only');
  await election.pass(5000);
  assert.deepEqual(election.leaders, []);
  a.store.fail(undefined);
  await election.pass(5000);
  assert.deepEqual(election.leaders, ['a']);
});

test('what is no leader’s record is none', () => {
  assert.equal(parseLeader(undefined), undefined);
  assert.equal(parseLeader('{"nodeId":"a"}'), undefined);
  assert.deepEqual(parseLeader('{"nodeId":"a","address":"b"}'), { nodeId: 'a', address: 'b' });
});
