import assert from 'node:assert/strict';
import { once } from 'node:events';
import { suite, test } from 'node:test';
import { type Channel, JOIN_METHOD } from '#cluster/transport/transport.ts';
import { DroverError, type ErrorKind, forbidden, notFound } from '#model/errors.ts';
import { MANAGER, memoryWorld, tlsWorld, WORKER, type World } from './transport-worlds.ts';

/** What every Transport does. */
for (const [name, create] of [
  ['memory', memoryWorld],
  ['tls', tlsWorld],
] as const)
  suite(name, () => contractOf(create));

const never = new AbortController().signal;

function contractOf(create: () => Promise<World>): void {
  test('messages arrive in the order of the calls, both ways', async () => {
    await using world = await create();
    world.manager.serve('echo', echo);
    const channel = await world.worker.open(world.managerAddress, 'echo', never);
    const sent = Array.from({ length: 1000 }, (_, i) => ({ i, text: 'ä\n'.repeat(i % 50) }));
    const sending = Promise.all(sent.map((message) => channel.send(message)));
    assert.deepEqual(await take(channel, sent.length), sent);
    await sending;
    channel.close();
  });

  test('channels do not hold each other up', async () => {
    await using world = await create();
    const release = Promise.withResolvers<void>();
    world.manager.serve('echo', echo);
    world.manager.serve('slow', () => release.promise);
    const slow = await world.worker.open(world.managerAddress, 'slow', never);
    const sending = sendMany(slow, 200);
    const quick = await world.worker.open(world.managerAddress, 'echo', never);
    for (let i = 0; i < 20; i++) await roundTrip(quick, i);
    slow.close();
    await sending.done;
    release.resolve();
  });

  test('a sender waits for a reader that does not read, and goes on with it', async () => {
    await using world = await create();
    const read = Promise.withResolvers<void>();
    const all = Promise.withResolvers<number>();
    world.manager.serve('echo', echo);
    world.manager.serve('slow', async (channel) => {
      await read.promise;
      let next = 0;
      for await (const message of channel.messages)
        if (typeof message === 'object' && message !== null && 'i' in message && message.i === next) next++;
      all.resolve(next);
    });
    const slow = await world.worker.open(world.managerAddress, 'slow', never);
    const total = 400;
    const sending = sendMany(slow, total);
    // another channel's round trips stand for time
    const other = await world.worker.open(world.managerAddress, 'echo', never);
    for (let i = 0; i < 100; i++) await roundTrip(other, i);
    assert.ok(sending.count() < 100, `${sending.count()} were sent and nobody read`);
    read.resolve();
    await sending.done;
    slow.close();
    assert.equal(await all.promise, total);
  });

  test('who serves ends the channel: the rest is read, then it is over without an error', async () => {
    await using world = await create();
    world.manager.serve('count', async (channel) => {
      for (let i = 0; i < 20; i++) await channel.send(i);
    });
    const channel = await world.worker.open(world.managerAddress, 'count', never);
    await aborted(channel.closed);
    assert.equal((await all(channel)).length, 20);
    await rejects('unavailable', channel.send('late'));
    channel.close();
  });

  test('who called ends the channel: the handler reads the rest, and hears of it even when it does not read', async () => {
    await using world = await create();
    const read = Promise.withResolvers<unknown[]>();
    const heard = Promise.withResolvers<void>();
    world.manager.serve('collect', async (channel) => read.resolve(await all(channel)));
    world.manager.serve('watch', async (channel) => {
      await aborted(channel.closed);
      await rejects('unavailable', channel.send('late'));
      heard.resolve();
    });
    const collect = await world.worker.open(world.managerAddress, 'collect', never);
    for (let i = 0; i < 10; i++) await collect.send(i);
    collect.close();
    collect.close();
    assert.equal(collect.closed.aborted, true);
    assert.deepEqual(await all(collect), []);
    assert.deepEqual(await read.promise, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    (await world.worker.open(world.managerAddress, 'watch', never)).close();
    await heard.promise;
  });

  test('errors of handlers reach the caller after what was sent; what nobody foresaw does not', async () => {
    await using world = await create();
    const hint = 'ask again';
    world.manager.serve('fail', async (channel) => {
      await channel.send('first');
      throw notFound('No such thing: x', { hint });
    });
    world.manager.serve('crash', async () => {
      throw new TypeError('password is hunter2');
    });
    const failing = await world.worker.open(world.managerAddress, 'fail', never);
    const [got, error] = await readToError(failing);
    assert.deepEqual(got, ['first']);
    assert.ok(error instanceof DroverError);
    assert.deepEqual([error.kind, error.message, error.hint], ['not-found', 'No such thing: x', hint]);
    assert.equal(failing.closed.aborted, true);
    const crashing = await world.worker.open(world.managerAddress, 'crash', never);
    const [, hidden] = await readToError(crashing);
    assert.ok(hidden instanceof DroverError && hidden.kind === 'internal');
    assert.doesNotMatch(hidden.message, /hunter2/);
    assert.equal(world.reported.length, 1);
    assert.match(String(world.reported[0]), /hunter2/);
  });

  test('what is no message is refused, and the channel goes on', async () => {
    await using world = await create();
    world.manager.serve('echo', echo);
    const channel = await world.worker.open(world.managerAddress, 'echo', never);
    const circle: { self?: unknown } = {};
    circle.self = circle;
    for (const wrong of [undefined, () => 1, 1n, circle]) await rejects('invalid', channel.send(wrong));
    const largest = 16 * 1024 * 1024 - 2;
    await rejects('invalid', channel.send('x'.repeat(largest + 1)));
    await rejects('invalid', channel.send('ä'.repeat(largest / 2 + 1)));
    const sending = channel.send('x'.repeat(largest));
    const [back] = await take(channel, 1);
    await sending;
    assert.ok(typeof back === 'string' && back.length === largest);
    for (const value of [null, 0, '', false, [], { a: [{ b: null }] }]) await roundTrip(channel, value);
    channel.close();
  });

  test('bytes arrive as bytes, in order with everything else', async () => {
    await using world = await create();
    world.manager.serve('echo', echo);
    const channel = await world.worker.open(world.managerAddress, 'echo', never);
    const large = Buffer.alloc(3 * 1024 * 1024, 'a\nb');
    const sent = [1, Buffer.alloc(0), new Uint8Array([0, 10, 255]), 'text', large, null];
    const sending = Promise.all(sent.map((message) => channel.send(message)));
    const got = await take(channel, sent.length);
    await sending;
    assert.deepEqual(
      got,
      sent.map((message) => (message instanceof Uint8Array ? Buffer.from(message) : message)),
    );
    await rejects('invalid', channel.send(Buffer.alloc(16 * 1024 * 1024 + 1)));
    await roundTrip(channel, 'still there');
    channel.close();
  });

  test('a sender of bytes waits for a reader too, and what moves much goes beside the rest', async () => {
    await using world = await create();
    const read = Promise.withResolvers<void>();
    const total = 400;
    const all = Promise.withResolvers<number>();
    world.manager.serve('echo', echo);
    world.manager.serve('bulk/slow', async (channel) => {
      await read.promise;
      let bytes = 0;
      for await (const message of channel.messages)
        if (message instanceof Uint8Array) bytes += message.length;
      all.resolve(bytes);
    });
    const slow = await world.worker.open(world.managerAddress, 'bulk/slow', never);
    let sent = 0;
    const sending = (async (): Promise<void> => {
      for (; sent < total; sent++) await slow.send(Buffer.alloc(64 * 1024, sent));
    })();
    const other = await world.worker.open(world.managerAddress, 'echo', never);
    for (let i = 0; i < 100; i++) await roundTrip(other, i);
    assert.ok(sent < 100, `${sent} were sent and nobody read`);
    read.resolve();
    await sending;
    slow.close();
    assert.equal(await all.promise, total * 64 * 1024);
  });

  test('a message is the receiver’s own', async () => {
    await using world = await create();
    const got = Promise.withResolvers<unknown>();
    const go = Promise.withResolvers<void>();
    world.manager.serve('keep', async (channel) => {
      await go.promise;
      got.resolve((await take(channel, 1))[0]);
    });
    const channel = await world.worker.open(world.managerAddress, 'keep', never);
    const message = { list: [1] };
    await channel.send(message);
    message.list.push(2);
    go.resolve();
    assert.deepEqual(await got.promise, { list: [1] });
    channel.close();
  });

  test('a reader that breaks off its loop goes on with the next one', async () => {
    await using world = await create();
    world.manager.serve('count', async (channel) => {
      for (let i = 0; i < 5; i++) await channel.send(i);
    });
    const channel = await world.worker.open(world.managerAddress, 'count', never);
    assert.deepEqual(await take(channel, 2), [0, 1]);
    assert.deepEqual(await all(channel), [2, 3, 4]);
  });

  test('a connection that breaks is seen at both ends, and the next call makes another one', async () => {
    await using world = await create();
    const atServer = Promise.withResolvers<unknown>();
    world.manager.serve('wait', async (channel) => {
      await channel.send('here');
      atServer.resolve((await readToError(channel))[1]);
    });
    world.manager.serve('echo', echo);
    const channel = await world.worker.open(world.managerAddress, 'wait', never);
    assert.deepEqual(await take(channel, 1), ['here']);
    const sending = sendMany(channel, 1000);
    world.break();
    isKind('unavailable', (await readToError(channel))[1]);
    isKind('unavailable', await atServer.promise);
    isKind('unavailable', await sending.done);
    assert.equal(channel.closed.aborted, true);
    await rejects('unavailable', channel.send('late'));
    const next = await world.worker.open(world.managerAddress, 'echo', never);
    await roundTrip(next, 'again');
    next.close();
  });

  test('a line that goes silent ends its channels at both ends', async () => {
    await using world = await create();
    const atServer = Promise.withResolvers<unknown>();
    world.manager.serve('wait', async (channel) => {
      await channel.send('here');
      atServer.resolve((await readToError(channel))[1]);
    });
    const channel = await world.worker.open(world.managerAddress, 'wait', never);
    assert.deepEqual(await take(channel, 1), ['here']);
    world.silence();
    isKind('unavailable', (await readToError(channel))[1]);
    isKind('unavailable', await atServer.promise);
  });

  test('a method that is not served, and an address where nobody is', async () => {
    await using world = await create();
    await rejects('not-found', world.worker.open(world.managerAddress, 'nothing', never));
    await rejects('unavailable', world.worker.open('127.0.0.1:1', 'nothing', never));
  });

  test('an opening is cancelled, before and while it is underway', async () => {
    await using world = await create();
    world.manager.serve('echo', echo);
    await rejects('cancelled', world.worker.open(world.managerAddress, 'echo', AbortSignal.abort()));
    (await world.worker.open(world.managerAddress, 'echo', never)).close();
    world.silence();
    const cancel = new AbortController();
    const opening = world.worker.open(world.managerAddress, 'echo', cancel.signal);
    cancel.abort();
    await rejects('cancelled', opening);
  });

  test('a channel is cancelled by the signal that it was opened with', async () => {
    await using world = await create();
    const atServer = Promise.withResolvers<unknown>();
    world.manager.serve('wait', async (channel) => {
      atServer.resolve((await readToError(channel))[1]);
    });
    const cancel = new AbortController();
    const channel = await world.worker.open(world.managerAddress, 'wait', cancel.signal);
    cancel.abort();
    isKind('cancelled', (await readToError(channel))[1]);
    isKind('unavailable', await atServer.promise);
    assert.equal(channel.closed.aborted, true);
  });

  test('both ends know who the other one is', async () => {
    await using world = await create();
    const seen = Promise.withResolvers<unknown>();
    world.manager.serve('who', async (channel, peer) => seen.resolve([peer, channel.peer]));
    const channel = await world.worker.open(world.managerAddress, 'who', never);
    const worker = { nodeId: WORKER, role: 'worker' };
    assert.deepEqual(await seen.promise, [worker, worker]);
    assert.deepEqual(channel.peer, { nodeId: MANAGER, role: 'manager' });
    assert.notEqual(channel.remote, undefined);
  });

  test('nobody stands in for the node that is meant', async () => {
    await using world = await create();
    let calls = 0;
    for (const node of [world.manager, world.worker])
      node.serve('echo', async (channel) => {
        calls++;
        await echo(channel);
      });
    await rejects('forbidden', world.worker.open(world.managerAddress, 'echo', never, WORKER));
    await rejects('forbidden', world.manager.open(world.workerAddress, 'echo', never));
    assert.equal(calls, 0);
    const channel = await world.manager.open(world.workerAddress, 'echo', never, WORKER);
    await roundTrip(channel, 'hello');
    channel.close();
  });

  test('a node that was removed is refused, and may act as no more than its record says', async () => {
    await using world = await create();
    const roles: unknown[] = [];
    world.worker.serve('echo', echo);
    world.manager.serve('who', async (_channel, peer) => {
      roles.push(peer?.role);
      if (peer?.role !== 'manager') throw forbidden('managers only');
    });
    isKind('forbidden', (await readToError(await world.worker.open(world.managerAddress, 'who', never)))[1]);
    assert.deepEqual(roles, ['worker']);
    world.refused.add(`${WORKER} worker`);
    await assert.rejects(
      async () => {
        // the connection there is may still be on its way out
        for (;;) (await world.worker.open(world.managerAddress, 'who', never)).close();
      },
      isOfKind('forbidden', 'unavailable'),
    );
    await rejects('forbidden', world.worker.open(world.managerAddress, JOIN_METHOD, never));
  });
}

async function echo(channel: Channel): Promise<void> {
  for await (const message of channel.messages) await channel.send(message);
}

/** Sends numbered messages of 64 KiB, waiting for each; `done` resolves to the error that ended it, if one did. */
function sendMany(channel: Channel, total: number): { count(): number; readonly done: Promise<unknown> } {
  let sent = 0;
  const run = async (): Promise<unknown> => {
    try {
      for (; sent < total; sent++) await channel.send({ i: sent, text: 'x'.repeat(64 * 1024) });
      return undefined;
    } catch (error) {
      return error;
    }
  };
  return { count: () => sent, done: run() };
}

async function take(channel: Channel, count: number): Promise<unknown[]> {
  const messages: unknown[] = [];
  for await (const message of channel.messages) {
    messages.push(message);
    if (messages.length === count) break;
  }
  return messages;
}

async function all(channel: Channel): Promise<unknown[]> {
  return take(channel, Number.POSITIVE_INFINITY);
}

async function readToError(channel: Channel): Promise<[unknown[], unknown]> {
  const messages: unknown[] = [];
  try {
    for await (const message of channel.messages) messages.push(message);
  } catch (error) {
    return [messages, error];
  }
  return [messages, undefined];
}

async function roundTrip(channel: Channel, message: unknown): Promise<void> {
  const sending = channel.send(message);
  assert.deepEqual(await take(channel, 1), [message]);
  await sending;
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}

function isOfKind(...kinds: ErrorKind[]): (error: unknown) => boolean {
  return (error) => error instanceof DroverError && kinds.includes(error.kind);
}

function isKind(kind: ErrorKind, error: unknown): void {
  assert.ok(isOfKind(kind)(error), `${kind} expected, not ${String(error)}`);
}

async function rejects(kind: ErrorKind, promise: Promise<unknown>): Promise<void> {
  isKind(
    kind,
    await promise.then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
}
