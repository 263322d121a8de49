import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Write } from '#cluster/state/tables.ts';
import type { PortConfig } from '#model/service.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

const PORT: PortConfig = { TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' };

function clusterOf(...nodes: string[]): SimulatedCluster {
  const cluster = new SimulatedCluster();
  for (const id of nodes) cluster.node(id);
  return cluster;
}

function reasons(writes: readonly Write[]): (string | undefined)[] {
  return writes.map((write) =>
    write.table === 'task' && 'put' in write ? write.put.waiting?.reason : undefined,
  );
}

test('a pending task is assigned to a node', () => {
  const cluster = clusterOf('n1');
  cluster.service('web');
  const [id = ''] = cluster.tasks('web');
  cluster.settle();
  const { NodeID, Status, waiting } = cluster.task(id);
  assert.deepEqual(
    [NodeID, Status.State, Status.Message, waiting],
    ['n1', 'assigned', 'scheduler assigned task to node', undefined],
  );
});

test('only wanted, pending tasks are placed', () => {
  const cluster = clusterOf('n1');
  cluster.service('web');
  const Status = { Timestamp: cluster.now, State: 'new', Message: '' } as const;
  const [fresh = ''] = cluster.tasks('web', 1, { Status });
  const [ended = ''] = cluster.tasks('web', 1, { DesiredState: 'shutdown' });
  const [ready = ''] = cluster.tasks('web', 1, { DesiredState: 'ready' });
  const [job = ''] = cluster.tasks('web', 1, { DesiredState: 'complete' });
  cluster.settle();
  assert.deepEqual(cluster.nodesOf([fresh, ended, ready, job]), ['', '', 'n1', 'n1']);
});

test('a global service’s task is checked on its node, and confirmed there when it fits', () => {
  const cluster = clusterOf('n1', 'n2');
  cluster.service('agent', { mode: { Global: {} }, memoryGib: 6 });
  cluster.service('big', { memoryGib: 6 });
  const [big = ''] = cluster.tasks('big');
  cluster.settle();
  const there = cluster.task(big).NodeID;
  const [on1 = ''] = cluster.tasks('agent', 1, { NodeID: 'n1', Slot: 0 });
  const [on2 = ''] = cluster.tasks('agent', 1, { NodeID: 'n2', Slot: 0 });
  cluster.settle();
  const [waits, runs] = there === 'n1' ? [on1, on2] : [on2, on1];
  assert.equal(cluster.task(runs).Status.State, 'assigned');
  assert.equal(cluster.task(runs).Status.Message, 'scheduler confirmed task can run on preassigned node');
  assert.equal(cluster.task(waits).Status.State, 'pending');
  assert.equal(cluster.task(waits).waiting?.reason, 'no suitable node (insufficient resources on 1 node)');
  cluster.report(big, 'complete');
  cluster.settle();
  assert.deepEqual([cluster.task(waits).Status.State, cluster.task(waits).NodeID], ['assigned', there]);
});

test('a task that names its node waits for node and revision, whichever comes last', () => {
  const cluster = new SimulatedCluster();
  const [id = ''] = cluster.tasks('agent', 1, { NodeID: 'n1', Slot: 0 });
  assert.equal(cluster.settle(), 0);
  cluster.node('n1');
  assert.equal(cluster.settle(), 0);
  cluster.service('agent', { mode: { Global: {} } });
  cluster.settle();
  assert.equal(cluster.task(id).Status.State, 'assigned');
});

test('each filter refuses in its own words', () => {
  for (const [sentence, make] of [
    ['no suitable node', () => new SimulatedCluster()],
    [
      'no suitable node (2 nodes not available for new tasks; insufficient resources on 1 node)',
      (): SimulatedCluster => {
        const cluster = clusterOf('n1', 'n2', 'n3');
        cluster.node('n2', { availability: 'drain' });
        cluster.nodeDown('n3');
        return cluster;
      },
    ],
    ['no suitable node (insufficient resources on 1 node)', () => clusterOf('n1')],
  ] as const) {
    const cluster = make();
    cluster.service('web', { memoryGib: 100 });
    cluster.tasks('web');
    assert.deepEqual(reasons(cluster.decide()), [sentence]);
  }
  for (const [sentence, service] of [
    [
      'scheduling constraints not satisfied on 2 nodes',
      { placement: { Constraints: ['node.role==manager'] } },
    ],
    ['unsupported platform on 2 nodes', { placement: { Platforms: [{ Architecture: 'arm64' }] } }],
    ['insufficient resources on 2 nodes', { cpus: 8 }],
    ['insufficient resources on 2 nodes', { generic: [{ DiscreteResourceSpec: { Kind: 'gpu', Value: 1 } }] }],
  ] as const) {
    const cluster = clusterOf('n1', 'n2');
    cluster.service('web', structuredClone(service) as Parameters<SimulatedCluster['service']>[1]);
    cluster.tasks('web');
    assert.deepEqual(reasons(cluster.decide()), [`no suitable node (${sentence})`]);
  }
});

test('platforms go by any of their names', () => {
  const cluster = clusterOf('n1');
  cluster.service('web', {
    placement: { Platforms: [{ Architecture: 'arm64' }, { Architecture: 'amd64', OS: 'linux' }] },
  });
  cluster.tasks('web');
  cluster.settle();
  assert.deepEqual(cluster.spreadOf('web'), { n1: 1 });
});

test('host-mode ports are taken once a node, by protocol; given ones do not collide', () => {
  const cluster = clusterOf('n1', 'n2');
  cluster.service('web', { ports: [PORT] });
  cluster.service('dns', { ports: [{ ...PORT, Protocol: 'udp' }] });
  cluster.service('any', { ports: [{ ...PORT, PublishedPort: 0 }] });
  const ids = cluster.tasks('web', 3);
  cluster.tasks('dns', 2);
  cluster.tasks('any', 4);
  cluster.settle();
  assert.deepEqual(cluster.spreadOf('web'), { n1: 1, n2: 1 });
  assert.deepEqual(cluster.spreadOf('dns'), { n1: 1, n2: 1 });
  assert.deepEqual(cluster.spreadOf('any'), { n1: 2, n2: 2 });
  const waiting = ids.find((id) => cluster.task(id).NodeID === '') ?? '';
  const sentence = 'no suitable node (host-mode port already in use on 2 nodes)';
  assert.equal(cluster.task(waiting).waiting?.reason, sentence);
});

test('no more than MaxReplicas of a service are on one node; those being ended do not count', () => {
  const cluster = clusterOf('n1', 'n2');
  cluster.service('web', { placement: { MaxReplicas: 2 } });
  const ids = cluster.tasks('web', 5);
  cluster.settle();
  assert.deepEqual(cluster.spreadOf('web'), { n1: 2, n2: 2 });
  const waiting = ids.find((id) => cluster.task(id).NodeID === '') ?? '';
  const sentence = 'no suitable node (max replicas per node limit exceed)';
  assert.equal(cluster.task(waiting).waiting?.reason, sentence);
  const ended = ids.find((id) => cluster.task(id).NodeID === 'n2') ?? '';
  cluster.change(ended, { DesiredState: 'shutdown' });
  cluster.settle();
  assert.equal(cluster.task(waiting).NodeID, 'n2');
});

test('a task holds its resources until it is over, also while it is being shut down', () => {
  const cluster = clusterOf('n1');
  cluster.service('db', { memoryGib: 6 });
  const [first = ''] = cluster.tasks('db');
  cluster.settle();
  cluster.report(first, 'running');
  cluster.change(first, { DesiredState: 'shutdown' });
  const [second = ''] = cluster.tasks('db');
  cluster.settle();
  assert.equal(cluster.task(second).NodeID, '');
  cluster.report(first, 'shutdown');
  cluster.settle();
  assert.equal(cluster.task(second).NodeID, 'n1');
});

test('discrete and named generic resources are given out once', () => {
  const cluster = new SimulatedCluster();
  const named = (Value: string) => ({ NamedResourceSpec: { Kind: 'gpu', Value } });
  cluster.node('n1', { generic: [named('uuid-1'), named('uuid-2'), named('uuid-3')] });
  cluster.node('n2', { generic: [{ DiscreteResourceSpec: { Kind: 'gpu', Value: 2 } }] });
  cluster.service('train', { generic: [{ DiscreteResourceSpec: { Kind: 'gpu', Value: 2 } }] });
  const ids = cluster.tasks('train', 3);
  cluster.settle();
  const given = ids.map((id) => [cluster.task(id).NodeID, cluster.task(id).AssignedGenericResources]);
  assert.deepEqual(given, [
    ['n1', [named('uuid-1'), named('uuid-2')]],
    ['n2', [{ DiscreteResourceSpec: { Kind: 'gpu', Value: 2 } }]],
    ['', undefined],
  ]);
  cluster.report(ids[0] ?? '', 'failed');
  cluster.settle();
  assert.deepEqual(cluster.task(ids[2] ?? '').AssignedGenericResources, [named('uuid-1'), named('uuid-2')]);
});

test('a waiting task is written once, and again only when the reason is another; since when it waits stays', () => {
  const cluster = clusterOf('n1');
  cluster.service('web', { memoryGib: 100 });
  const [id = ''] = cluster.tasks('web');
  const since = cluster.now;
  assert.equal(cluster.settle(), 1);
  cluster.nowMs += 60_000;
  assert.equal(cluster.decide().length, 0);
  cluster.node('n1', { labels: { rack: 'r1' } });
  assert.equal(cluster.decide().length, 0, 'a node that changed in what does not matter');
  cluster.node('n2');
  assert.equal(cluster.settle(), 1);
  const reason = 'no suitable node (insufficient resources on 2 nodes)';
  assert.deepEqual(cluster.task(id).waiting, { reason, since });
  cluster.node('n3', { memoryGib: 128 });
  cluster.settle();
  assert.deepEqual([cluster.task(id).NodeID, cluster.task(id).waiting], ['n3', undefined]);
});

test('what makes room for tasks that wait gets them placed', () => {
  for (const [what, make] of [
    ['a node', (cluster: SimulatedCluster) => cluster.node('n2', { labels: { zone: 'a' } })],
    ['a label', (cluster: SimulatedCluster) => cluster.node('n1', { labels: { zone: 'a' } })],
  ] as const) {
    const cluster = clusterOf('n1');
    cluster.service('web', { placement: { Constraints: ['node.labels.zone == a'] } });
    const ids = cluster.tasks('web', 2);
    cluster.settle();
    assert.deepEqual(cluster.nodesOf(ids), ['', '']);
    make(cluster);
    cluster.settle();
    assert.ok(!cluster.nodesOf(ids).includes(''), what);
  }
});

test('tasks that join a group that waits wait with it, and are told why', () => {
  const cluster = clusterOf('n1');
  cluster.service('web', { memoryGib: 5 });
  cluster.tasks('web', 2);
  cluster.settle();
  const [late = ''] = cluster.tasks('web');
  assert.equal(cluster.settle(), 1);
  assert.equal(cluster.task(late).waiting?.reason, 'no suitable node (insufficient resources on 1 node)');
});

test('a decision that is not committed is made again', () => {
  const cluster = clusterOf('n1');
  cluster.service('big', { memoryGib: 6 });
  cluster.service('other', { memoryGib: 6 });
  const [big = ''] = cluster.tasks('big');
  const [other = ''] = cluster.tasks('other');
  const first = cluster.decide();
  assert.equal(first.length, 2);
  assert.deepEqual(cluster.decide(), first);
  // meanwhile somebody ended the first: the other one was only refused because of it
  cluster.change(big, { DesiredState: 'shutdown' });
  cluster.settle();
  assert.equal(cluster.task(other).NodeID, 'n1');
  assert.equal(cluster.task(other).waiting, undefined);
});

test('no more is written than there is room for, and what is left comes next', () => {
  const cluster = clusterOf('n1', 'n2');
  cluster.service('web');
  cluster.service('huge', { memoryGib: 100 });
  cluster.tasks('web', 5);
  cluster.tasks('huge', 3);
  const o = { nowMs: cluster.nowMs, limit: 3, strategy: 'spread' } as const;
  const sizes: [number, boolean][] = [];
  for (;;) {
    const { writes, more } = cluster.scheduler.decide(cluster.view, o);
    sizes.push([writes.length, more]);
    if (writes.length === 0) break;
    cluster.apply(writes);
  }
  assert.deepEqual(sizes, [
    [3, true],
    [3, true],
    [2, false],
    [0, false],
  ]);
  assert.deepEqual(cluster.spreadOf('web'), { n1: 3, n2: 2 });
});

test('tasks wait for their revision', () => {
  const cluster = clusterOf('n1');
  const [id = ''] = cluster.tasks('web');
  assert.equal(cluster.settle(), 0);
  cluster.service('web');
  cluster.settle();
  assert.equal(cluster.task(id).NodeID, 'n1');
});

test('as a controller it is dirty while a task waits, and writes by its own strategy', () => {
  const cluster = clusterOf('n1');
  cluster.service('web');
  const { scheduler, view, nowMs } = cluster;
  const random = { below: () => 0, id: () => 'x' };
  const keys = (id: string): string[] => {
    const before = view.get('task', id);
    return before === undefined ? [] : [...scheduler.keysOf({ table: 'task', id, before, after: before })];
  };
  const [id = ''] = cluster.tasks('web');
  assert.deepEqual(keys(id), ['tasks']);
  const { writes } = scheduler.reconcile(view, 'tasks', { nowMs, random, limit: 10 });
  assert.equal(writes.length, 1);
  cluster.apply(writes);
  assert.deepEqual(keys(id), []);
});
