import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlannedEndpoint } from '#model/network-plan.ts';
import { OverlayCluster } from './overlay-cluster.ts';
import { endpoint, network, planOf, service } from './plans.ts';

const VIP = '10.77.0.2';
const client = endpoint({ node: 1, address: '10.77.0.20', service: 'client' });
const tasks = [1, 2, 2].map((node, index) =>
  endpoint({ node, address: `10.77.0.1${index + 1}`, name: `web.${index + 1}` }),
);

/** Applies a plan with these tasks of the service on both nodes. */
async function apply(cluster: OverlayCluster, endpoints: readonly PlannedEndpoint[]): Promise<void> {
  const services = [service('web', VIP), service('client', '10.77.0.3')];
  const net = network({ endpoints: [client, ...endpoints], services });
  for (const [index, node] of cluster.nodes.entries())
    await node.ask({ call: 'apply', plan: planOf(index + 1, { networks: [net] }) });
}

/** The names of the tasks that answer connections. */
function answers(cluster: OverlayCluster, path: string, times = 1, address: string = VIP): string[] {
  const lines = cluster.connect(path, address, 80, times).map((line) => line.split(' ')[0] ?? '');
  return [...new Set(lines)].sort();
}

test('a virtual IP is balanced over the tasks that serve, and never leads elsewhere', async () => {
  await using cluster = await OverlayCluster.start({ bridge: 'tvi', nodes: 2 });
  const [one, two] = [cluster.node(1), cluster.node(2)];
  await apply(cluster, tasks);
  await one.ask({ call: 'join', id: 'client', networks: { net: client.address } });
  for (const [index, task] of tasks.entries()) {
    const node = task.nodeId === 'n1' ? one : two;
    await node.ask({ call: 'join', id: `web${index + 1}`, networks: { net: task.address } });
    await cluster.serve(node.containerPath(`web${index + 1}`), `web${index + 1}`, 80);
  }
  const path = one.containerPath('client');
  assert.deepEqual(answers(cluster, path, 60), ['web1', 'web2', 'web3']);
  // UDP likewise
  const byUdp = cluster.connect(path, VIP, 80, 60, 'udp').map((line) => line.split(' ')[0]);
  assert.deepEqual([...new Set(byUdp)].sort(), ['web1', 'web2', 'web3']);
  // one that calls its own service gets itself as well
  assert.deepEqual(answers(cluster, one.containerPath('web1'), 60), ['web1', 'web2', 'web3']);

  // An open connection goes on where it is while its task takes no new ones.
  const open = cluster.hold(path, VIP, 80);
  const [held = ''] = (await open.ask()).split(' ');
  const draining = tasks.map((task, index) => ({ ...task, serving: `web${index + 1}` !== held }));
  await apply(cluster, draining);
  assert.ok(!answers(cluster, path, 40).includes(held));
  assert.match(await open.ask(), new RegExp(`^${held} `));

  // no task serves: refused at once, and not hung; the connection that is there goes on all the same
  await apply(
    cluster,
    tasks.map((task) => ({ ...task, serving: false })),
  );
  assert.deepEqual(answers(cluster, path), ['ECONNREFUSED']);
  assert.deepEqual(cluster.connect(path, VIP, 80, 1, 'udp'), ['ECONNREFUSED']);
  assert.match(await open.ask(), new RegExp(`^${held} `));
  await apply(cluster, tasks);
  assert.deepEqual(answers(cluster, path, 60), ['web1', 'web2', 'web3']);

  // A task of this node that is gone is led to no more, before any manager has heard of it.
  await one.ask({ call: 'leave', id: 'web1' });
  assert.deepEqual(answers(cluster, path, 60), ['web2', 'web3']);
});

test('a sender of datagrams is led on when the task that it sends to is gone', async () => {
  await using cluster = await OverlayCluster.start({ bridge: 'tud', nodes: 2 });
  const [one, two] = [cluster.node(1), cluster.node(2)];
  const [near, far] = tasks;
  assert.ok(near !== undefined && far !== undefined);
  await apply(cluster, [far]);
  for (const [node, id, address] of [
    [one, 'client', client.address],
    [one, 'near', near.address],
    [two, 'far', far.address],
  ] as const) {
    await node.ask({ call: 'join', id, networks: { net: address } });
    if (id !== 'client') await cluster.serve(node.containerPath(id), id, 80);
  }
  const sender = cluster.hold(one.containerPath('client'), VIP, 80, 'datagrams');
  assert.match(await sender.ask(), /^far /);
  // One that takes no new senders keeps those that it has.
  await apply(cluster, [near, { ...far, serving: false }]);
  assert.match(await sender.ask(), /^far /);
  await apply(cluster, [near]);
  assert.match(await sender.ask(), /^near /);
  await apply(cluster, [near, far]);
  await one.ask({ call: 'leave', id: 'near' });
  // Resolves when what was begun by the leaving is done, too.
  await apply(cluster, [near, far]);
  assert.match(await sender.ask(), /^far /);
});

/** `near` answers; `far`, which alone is planned yet, does not: its machine is gone, which nobody knows. */
async function startUnanswered(bridge: string): Promise<{
  cluster: OverlayCluster;
  near: PlannedEndpoint;
  far: PlannedEndpoint;
  /** What a connection from that port is answered. */
  ask: (port: number) => string;
}> {
  const cluster = await OverlayCluster.start({ bridge, nodes: 2 });
  const one = cluster.node(1);
  const [near, far] = tasks;
  assert.ok(near !== undefined && far !== undefined);
  await apply(cluster, [far]);
  for (const [id, address] of [
    ['client', client.address],
    ['near', near.address],
  ] as const)
    await one.ask({ call: 'join', id, networks: { net: address } });
  await cluster.serve(one.containerPath('near'), 'near', 80);
  const ask = (port: number): string =>
    cluster.connect(one.containerPath('client'), VIP, 80, port, 'from')[0] ?? '';
  return { cluster, near, far, ask };
}

test('a client that comes again from the same port is not led to a task that is gone and never answered', async () => {
  const { cluster, near, ask } = await startUnanswered('tsy');
  await using _ = cluster;
  assert.equal(ask(40_000), 'ABORT_ERR');
  await apply(cluster, [near]);
  assert.match(ask(40_000), /^near /);
});

test('nor to one that takes no new connections, or to who has the address of one that never answered', async () => {
  const { cluster, near, far, ask } = await startUnanswered('tsr');
  await using _ = cluster;
  assert.equal(ask(40_001), 'ABORT_ERR');
  await apply(cluster, [near, { ...far, serving: false }]);
  assert.match(ask(40_001), /^near /);
  await apply(cluster, [far]);
  assert.equal(ask(40_002), 'ABORT_ERR');
  // another task has its address, and does not listen yet
  await cluster.node(2).ask({ call: 'join', id: 'next', networks: { net: far.address } });
  await apply(cluster, [near, { ...far, taskId: 'next', serving: false }]);
  assert.match(ask(40_002), /^near /);
});
