import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ClusterControl } from '#cluster/control/cluster-control.ts';
import type { FollowedStore } from '#cluster/control/control-fixture.ts';
import { NetworkMembers } from '#cluster/dispatcher/network-members.ts';
import { planOfNode } from '#cluster/dispatcher/plan-of-node.ts';
import { MemoryNetwork } from '#cluster/transport/memory-network.ts';
import { systemClock } from '#control/clock.ts';
import { withoutPrefix } from '#engine/networks/ipv4.ts';
import type { AttachmentRecord } from '#model/attachment.ts';
import { anotherNode, attached, attachingManager, containerId } from './attachment-fixture.ts';
import { ATTACHMENTS_METHOD, type AttachmentKeeper, attachmentsHandler } from './attachment-protocol.ts';
import { type ContainerPlace, NodeAttachments } from './node-attachments.ts';

/** A manager, and a worker `a` whose containers are a list. */
class World {
  readonly store: FollowedStore;
  readonly control: ClusterControl;
  readonly network: MemoryNetwork = new MemoryNetwork({
    clock: systemClock,
    random: { below: () => 0, id: () => '' },
    report: (error) => assert.fail(String(error)),
    delayMs: { least: 0, most: 1 },
  });
  readonly running = new Map<string, ContainerPlace>();
  readonly renewed: string[] = [];
  readonly reported: string[] = [];
  mayRelease: Promise<void> = Promise.resolve();
  releases = 0;
  released = 0;
  /** Addresses that were free while a container had them. */
  readonly lost: string[] = [];
  readonly #members = new NetworkMembers();
  attachments: NodeAttachments = this.#daemon();
  #joined: AsyncDisposable | undefined;

  private constructor(made: { store: FollowedStore; control: ClusterControl }) {
    this.store = made.store;
    this.control = made.control;
    for (const after of this.store.view.all('network'))
      this.#members.observe({ table: 'network', id: after.ID, before: undefined, after });
    this.store.subscribe((changes) => {
      for (const change of changes) {
        this.#members.observe(change);
        if (change.table === 'attachment' && change.after === undefined) this.#gone(change.before);
      }
      // a plan is some time on its way
      setTimeout(() => this.attachments.planApplied(), 1);
    });
  }

  static async make(): Promise<World> {
    const made = await attachingManager();
    await made.store.write(anotherNode('a'), anotherNode('b'));
    const world = new World(made);
    world.comeBack();
    world.begin();
    return world;
  }

  /** The manager's process is there. */
  comeBack(): void {
    const transport = this.network.node('manager', { nodeId: 'm', role: 'manager' });
    transport.serve(
      ATTACHMENTS_METHOD,
      attachmentsHandler(() => this.#keeper(), systemClock),
    );
  }

  #gone(place: AttachmentRecord | undefined): void {
    const { containerId: id, networkId, address } = place ?? {};
    const { address: used } = this.running.get(`${id} ${networkId}`) ?? {};
    if (address !== undefined && withoutPrefix(address) === used) this.lost.push(address);
  }

  /** The manager, which gives places back only when the test says so. */
  #keeper(): AttachmentKeeper {
    const { attachments } = this.control;
    return {
      isReady: true,
      find: (reference) => attachments.find(reference),
      attach: (nodeId, request) => attachments.attach(nodeId, request),
      release: async (nodeId, ids) => {
        this.releases += 1;
        await this.mayRelease;
        await attachments.release(nodeId, ids);
        this.released += 1;
      },
    };
  }

  /** The node's daemon begins anew, and is told its plan. */
  begin(): void {
    this.attachments = this.#daemon();
    const transport = this.network.node('a', { nodeId: 'a', role: 'worker' });
    this.#joined = this.attachments.join({ transport, managers: () => ['manager'] });
    this.attachments.planApplied();
  }

  #daemon(): NodeAttachments {
    return new NodeAttachments({
      containers: {
        places: () => [...this.running.values()],
        renewAddress: async (id, networkId) => {
          this.renewed.push(id);
          this.running.delete(`${id} ${networkId}`);
        },
        takeOff: async (id, networkId) => void this.running.delete(`${id} ${networkId}`),
        isThere: () => true,
      },
      plan: () => planOfNode(this.store.view, 'a', this.#members, ({ sealed }) => sealed),
      clock: systemClock,
      report: (message) => this.reported.push(message),
    });
  }

  /** A container starts, as the engine does it. */
  async run(name: string, address?: string): Promise<string> {
    using place = await this.attachments.attach({
      ...{ network: 'net', containerId: containerId(name), names: [name] },
      ...(address === undefined ? {} : { address }),
    });
    this.becomes(name, place.address, place.networkId);
    return place.address;
  }

  becomes(name: string, address: string, networkId: string = this.net, names: string[] = [name]): void {
    const id = containerId(name);
    this.running.set(`${id} ${networkId}`, { containerId: id, networkId, names, address });
  }

  ends(name: string): void {
    this.running.delete(`${containerId(name)} ${this.net}`);
    this.attachments.look();
  }

  get net(): string {
    return this.control.networks.inspect('net').ID;
  }

  /** Resolves when the managers know of these, and of no others. */
  async knows(...wanted: string[]): Promise<void> {
    const limit = AbortSignal.timeout(5000);
    while (attached(this.store).join() !== wanted.join()) {
      if (limit.aborted) assert.deepEqual(attached(this.store), wanted);
      await delay(1);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#joined?.[Symbol.asyncDispose]();
  }
}

test('a container’s place is there as long as it runs', async () => {
  await using world = await World.make();
  const address = await world.run('one');
  await world.run('two', '10.0.1.9');
  assert.equal(address, '10.0.1.2');
  await world.knows('10.0.1.2 one@a', '10.0.1.9 two@a');
  world.ends('one');
  await world.knows('10.0.1.9 two@a');
});

test('a place that a start did not use is given back, and one between two runs is kept', async () => {
  await using world = await World.make();
  const place = await world.attachments.attach({
    network: 'net',
    containerId: containerId('x'),
    names: ['x'],
  });
  world.attachments.look();
  const address = await world.run('one');
  world.becomes('one', '');
  world.attachments.look();
  await world.knows('10.0.1.2 x@a', '10.0.1.3 one@a');
  place[Symbol.dispose]();
  await world.knows('10.0.1.3 one@a');
  assert.equal(await world.run('one'), address);
});

test('a start that comes while the place of the last run is given back gets one of its own', async () => {
  await using world = await World.make();
  await world.run('one', '10.0.1.9');
  const released = Promise.withResolvers<void>();
  world.mayRelease = released.promise;
  world.ends('one');
  while (world.releases === 0) await delay(1);
  const starts = world.run('one', '10.0.1.9');
  // a start that did not wait would be told of the old place by now
  await world.run('other');
  released.resolve();
  while (world.released === 0) await delay(1);
  assert.equal(await starts, '10.0.1.9');
  await world.knows('10.0.1.2 other@a', '10.0.1.9 one@a');
  assert.equal(world.releases, 1);
  assert.deepEqual(world.lost, []);
});

test('a daemon that begins anew gives back what no container has, and keeps the rest', async () => {
  await using world = await World.make();
  await world.run('one');
  await world.run('two');
  await world.control.attachments.attach('a', {
    ...{ network: 'net', containerId: containerId('never'), names: ['never'] },
  });
  world.running.delete(`${containerId('two')} ${world.net}`);
  world.begin();
  await world.knows('10.0.1.2 one@a');
});

test('what the managers do not know any more is asked for again; what is somebody else’s now is renewed', async () => {
  await using world = await World.make();
  await world.run('one');
  await world.run('two');
  const lost = [...world.store.view.all('attachment')].map(
    ({ ID }) => ({ table: 'attachment', delete: ID }) as const,
  );
  await world.store.write(...lost);
  assert.equal(world.attachments.differences().length, 2);
  await world.control.attachments.attach('b', {
    ...{ network: 'net', containerId: containerId('new'), names: ['new'], address: '10.0.1.3' },
  });
  await world.knows('10.0.1.2 one@a', '10.0.1.3 new@b');
  while (world.renewed.length === 0) await delay(1);
  assert.deepEqual(world.renewed, [containerId('two')]);
});

test('another name is told to everybody', async () => {
  await using world = await World.make();
  const address = await world.run('one');
  world.becomes('one', address, world.net, ['other', 'alias']);
  world.attachments.look();
  await world.knows('10.0.1.2 other@a');
});

test('without a manager a start is refused, what runs stays, and who waits goes on when there is one', async () => {
  await using world = await World.make();
  await world.run('one');
  world.network.crash('manager');
  await assert.rejects(world.run('two'), {
    kind: 'unavailable',
    message: /^Could not attach to network net: no manager answers: /,
  });
  await assert.rejects(world.attachments.find('net'), { message: /no manager answers/ });
  const given = new AbortController();
  const givenUp = world.attachments.ready(given.signal);
  given.abort();
  await assert.rejects(givenUp, { name: 'AbortError' });
  const ready = world.attachments.ready(new AbortController().signal);
  world.comeBack();
  await ready;
  await world.run('two');
  await world.knows('10.0.1.2 one@a', '10.0.1.3 two@a');
});

test('a node that leaves has none of its containers on the networks', async () => {
  await using world = await World.make();
  await world.run('one');
  await world.attachments.leave();
  assert.equal(world.running.size, 0);
  assert.deepEqual(attached(world.store), []);
});
