import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryNetwork } from '#cluster/transport/memory-network.ts';
import type { Channel } from '#cluster/transport/transport.ts';
import type { Clock } from '#control/clock.ts';
import { idOf, type Random } from '#control/random.ts';
import { DroverError } from '#model/errors.ts';
import { idFor } from '../support/cluster-certificates.ts';

/** Time that goes on when nothing else does. */
class SimulatedClock implements Clock {
  #nowMs = 0;
  #sequence = 0;
  #sleepers: { atMs: number; sequence: number; wake: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (signal.aborted) {
      reject(signal.reason);
      return promise;
    }
    const sleeper = { atMs: this.#nowMs + ms, sequence: this.#sequence++, wake: resolve };
    this.#sleepers.push(sleeper);
    signal.addEventListener(
      'abort',
      () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal.reason);
      },
      { once: true },
    );
    return promise;
  }

  /** Wakes sleepers one after the other until `work` is done. Throws when nothing can happen any more. */
  async run<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const done = (): void => {
      isDone = true;
    };
    work.then(done, done);
    for (;;) {
      // more turns than any chain of promises here has
      for (let turn = 0; turn < 100 && !isDone; turn++) await Promise.resolve();
      if (isDone) return work;
      const [next] = this.#sleepers.sort((a, b) => a.atMs - b.atMs || a.sequence - b.sequence);
      if (next === undefined) throw new Error('everything waits for something else');
      this.#sleepers.shift();
      this.#nowMs = next.atMs;
      next.wake();
    }
  }
}

function seeded(seed: number): Random {
  let state = seed;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  return { below, id: () => idOf(Uint8Array.from({ length: 16 }, () => below(256))) };
}

const never = new AbortController().signal;

function networkOf(seed: number): { clock: SimulatedClock; network: MemoryNetwork } {
  const clock = new SimulatedClock();
  const report = (error: unknown): void => assert.fail(String(error));
  const delayMs = { least: 1, most: 50 };
  return { clock, network: new MemoryNetwork({ clock, random: seeded(seed), report, delayMs }) };
}

function manager(network: MemoryNetwork, name: string): ReturnType<MemoryNetwork['node']> {
  return network.node(name, { nodeId: idFor(name), role: 'manager' });
}

/** What arrives at `a`, and when, from five channels of `b` at once. */
async function story(seed: number): Promise<string[]> {
  const { clock, network } = networkOf(seed);
  const a = manager(network, 'a');
  const b = manager(network, 'b');
  const told: string[] = [];
  a.serve('tell', async (channel) => {
    for await (const message of channel.messages) told.push(`${clock.nowMs()} ${String(message)}`);
  });
  const tell = async (name: string): Promise<void> => {
    const channel = await b.open('a', 'tell', never);
    for (let i = 0; i < 20; i++) await channel.send(`${name}${i}`);
    channel.close();
  };
  const names = ['v', 'w', 'x', 'y', 'z'];
  await clock.run(Promise.all(names.map(tell)));
  await clock.run(until(clock, () => told.length === 100));
  for (const name of names)
    assert.deepEqual(
      told.map((line) => line.split(' ')[1] ?? '').filter((word) => word.startsWith(name)),
      Array.from({ length: 20 }, (_, i) => `${name}${i}`),
    );
  return told;
}

async function until(clock: Clock, isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await clock.sleep(1, never);
}

async function endOf(channel: Channel): Promise<unknown> {
  try {
    for await (const _ of channel.messages);
  } catch (error) {
    return error;
  }
  return undefined;
}

function isUnavailable(error: unknown): boolean {
  return error instanceof DroverError && error.kind === 'unavailable';
}

test('a seed tells one story, in order within a channel and across channels in any', async () => {
  const first = await story(1);
  assert.deepEqual(await story(1), first);
  assert.notDeepEqual(await story(2), first);
  const order = first.map((line) => (line.split(' ')[1] ?? '').slice(0, 1)).join('');
  assert.doesNotMatch(order, /^(v+w+x+y+z+)$/);
});

test('what is underway when a link is cut arrives when it is healed in time', async () => {
  const { clock, network } = networkOf(3);
  const a = manager(network, 'a');
  const b = manager(network, 'b');
  const got: unknown[] = [];
  a.serve('tell', async (channel) => {
    for await (const message of channel.messages) got.push(message);
  });
  const channel = await clock.run(b.open('a', 'tell', never));
  network.cut('b', 'a');
  await clock.run(channel.send('late'));
  await clock.run(clock.sleep(3000, never));
  assert.deepEqual(got, []);
  network.heal('b', 'a');
  await clock.run(until(clock, () => got.length === 1));
  await clock.run(clock.sleep(20_000, never));
  assert.equal(channel.closed.aborted, false);
});

test('a link that is cut one way ends its channels at both ends, and others live on', async () => {
  const { clock, network } = networkOf(4);
  const [a, b, c] = ['a', 'b', 'c'].map((name) => manager(network, name));
  assert.ok(a && b && c);
  const ends: unknown[] = [];
  a.serve('wait', async (channel) => {
    ends.push(await endOf(channel));
  });
  const channel = await clock.run(b.open('a', 'wait', never));
  const other = await clock.run(c.open('a', 'wait', never));
  network.cut('a', 'b');
  assert.ok(isUnavailable(await clock.run(endOf(channel))));
  await clock.run(until(clock, () => ends.length === 1));
  assert.ok(isUnavailable(ends[0]));
  assert.ok(clock.nowMs() < 10_000);
  assert.equal(other.closed.aborted, false);
  const failed = clock.run(b.open('a', 'wait', never));
  await assert.rejects(failed, isUnavailable);
  network.healAll();
  (await clock.run(b.open('a', 'wait', never))).close();
});

for (const silently of [false, true])
  test(`a crash breaks every channel at its node at once, at the others ${silently ? 'when they notice' : 'soon'}`, async () => {
    const { clock, network } = networkOf(5);
    const a = manager(network, 'a');
    const b = manager(network, 'b');
    const ends: unknown[] = [];
    a.serve('wait', async (channel) => {
      ends.push(await endOf(channel));
    });
    const channel = await clock.run(b.open('a', 'wait', never));
    const beforeMs = clock.nowMs();
    network.crash('a', { silently });
    await clock.run(until(clock, () => ends.length === 1));
    assert.ok(isUnavailable(ends[0]));
    assert.ok(isUnavailable(await clock.run(endOf(channel))));
    assert.equal(clock.nowMs() - beforeMs > 1000, silently);
    await assert.rejects(clock.run(a.open('b', 'wait', never)), isUnavailable);
    await assert.rejects(clock.run(b.open('a', 'wait', never)), isUnavailable);
    const again = manager(network, 'a');
    again.serve('wait', async (other) => {
      await endOf(other);
    });
    (await clock.run(b.open('a', 'wait', never))).close();
  });

test('who has no certificate may only join', async () => {
  const { clock, network } = networkOf(6);
  const a = manager(network, 'a');
  const stranger = network.node('s', undefined);
  const seen: unknown[] = [];
  for (const method of ['join', 'other'])
    a.serve(method, async (_channel, peer) => {
      seen.push([method, peer]);
    });
  await assert.rejects(
    clock.run(stranger.open('a', 'other', never)),
    (error) => error instanceof DroverError && error.kind === 'forbidden',
  );
  await clock.run(stranger.open('a', 'join', never));
  assert.deepEqual(seen, [['join', undefined]]);
});
