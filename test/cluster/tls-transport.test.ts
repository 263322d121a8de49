import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { TlsTransport } from '#cluster/transport/tls-transport.ts';
import { BULK_PREFIX, type Channel } from '#cluster/transport/transport.ts';
import type { TransportLimits } from '#cluster/transport/transport-limits.ts';
import { systemClock } from '#control/clock.ts';
import { DroverError } from '#model/errors.ts';
import type { NodeRole } from '#model/node.ts';
import { TestAuthority } from '../support/cluster-certificates.ts';
import { Wire } from '../support/wire.ts';

const authority = await TestAuthority.create();
const never = new AbortController().signal;

async function node(
  name: string,
  role: NodeRole,
  limits: Partial<TransportLimits> = {},
): Promise<TlsTransport> {
  return new TlsTransport({
    credentials: await authority.credentials(name, role),
    isAllowed: () => true,
    clock: systemClock,
    report: (error) => assert.fail(String(error)),
    limits: { pingIntervalMs: 50, missedPings: 20, ...limits },
  });
}

async function read(channel: Channel): Promise<unknown[]> {
  const messages: unknown[] = [];
  for await (const message of channel.messages) messages.push(message);
  return messages;
}

test('a node that closes sends what it has, ends its channels in order, and is not reached any more', async () => {
  await using worker = await node('worker', 'worker');
  const manager = await node('manager', 'manager');
  const sent = Promise.withResolvers<void>();
  manager.serve('tell', async (channel) => {
    for (let i = 0; i < 10; i++) await channel.send(i);
    sent.resolve();
    await once(channel.closed, 'abort');
  });
  const address = `127.0.0.1:${await manager.listen('127.0.0.1', 0)}`;
  const channel = await worker.open(address, 'tell', never);
  await sent.promise;
  await manager[Symbol.asyncDispose]();
  await manager[Symbol.asyncDispose]();
  assert.deepEqual(await read(channel), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await assert.rejects(
    worker.open(address, 'tell', never),
    (error) => error instanceof DroverError && error.kind === 'unavailable',
  );
});

test('an address is called over one connection, which goes when nothing has used it for long', async () => {
  await using manager = await node('manager', 'manager');
  await using worker = await node('worker', 'worker', { idleTicks: 2 });
  manager.serve('echo', async (channel) => {
    for await (const message of channel.messages) await channel.send(message);
  });
  await using wire = await Wire.to(await manager.listen('127.0.0.1', 0));
  const address = `127.0.0.1:${wire.port}`;
  const channels = await Promise.all(Array.from({ length: 20 }, () => worker.open(address, 'echo', never)));
  assert.equal(wire.connections, 1);
  manager.serve(`${BULK_PREFIX}all`, async (channel) => {
    await once(channel.closed, 'abort');
  });
  const bulk = await Promise.all([1, 2].map(() => worker.open(address, `${BULK_PREFIX}all`, never)));
  assert.equal(wire.connections, 2, 'another one for what moves much');
  for (const channel of [...channels, ...bulk]) channel.close();
  await wire.empty();
  (await worker.open(address, 'echo', never)).close();
});

test('a connection lives no longer than the certificates that it was made with', async () => {
  let laterMs = 0;
  await using manager = new TlsTransport({
    credentials: await authority.credentials('manager', 'manager'),
    isAllowed: () => true,
    clock: { ...systemClock, nowMs: () => Date.now() + laterMs },
    report: (error) => assert.fail(String(error)),
    limits: { pingIntervalMs: 50, missedPings: 1000 },
  });
  await using worker = await node('worker', 'worker');
  manager.serve('wait', async (channel) => {
    await once(channel.closed, 'abort');
  });
  const address = `127.0.0.1:${await manager.listen('127.0.0.1', 0)}`;
  const channel = await worker.open(address, 'wait', never);
  laterMs = 2 * 3600 * 1000;
  await assert.rejects(
    read(channel),
    (error) => error instanceof DroverError && error.kind === 'unavailable',
  );
  await assert.rejects(
    worker.open(address, 'wait', never),
    (error) =>
      error instanceof DroverError && error.kind === 'forbidden' && /has expired/.test(error.message),
  );
});
