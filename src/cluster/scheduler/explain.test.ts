import assert from 'node:assert/strict';
import { test } from 'node:test';
import { network } from '#cluster/controllers/scene.ts';
import type { PlacementStrategy } from './candidate.ts';
import type { PlacementExplanation } from './explain.ts';
import { NodeTable } from './node-table.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

function explain(
  cluster: SimulatedCluster,
  id: string,
  strategy: PlacementStrategy = 'spread',
): PlacementExplanation {
  return cluster.scheduler.explain(cluster.view, id, { nowMs: cluster.nowMs, strategy });
}

test('a task that no node takes is explained node by node with the figures, and what would help', () => {
  const cluster = new SimulatedCluster();
  cluster.node('n1', { memoryGib: 1, labels: { zone: 'a' } });
  cluster.node('n2', { labels: { zone: 'b' } });
  cluster.node('n3', { labels: { zone: 'a' }, availability: 'drain' });
  cluster.node('n4', { labels: { zone: 'a' } });
  cluster.service('filler', { memoryGib: 7.5, placement: { Constraints: ['node.id == n4'] } });
  cluster.tasks('filler');
  cluster.service('web', { memoryGib: 1.5, placement: { Constraints: ['node.labels.zone == a'] } });
  const [id = ''] = cluster.tasks('web');
  cluster.settle();
  const explanation = explain(cluster, id);
  assert.equal(explanation.nodeId, undefined);
  assert.equal(
    explanation.summary,
    'no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks; scheduling constraints not satisfied on 1 node)',
  );
  assert.equal(explanation.summary, cluster.task(id).waiting?.reason);
  const reasons = Object.fromEntries(
    explanation.nodes.map(({ nodeId, refusals }) => [nodeId, refusals.map(({ reason }) => reason)]),
  );
  assert.deepEqual(reasons, {
    n1: ['1.5 GiB asked for, 1 GiB of 1 GiB free'],
    n2: ['node.labels.zone == a does not hold'],
    n3: ['the node is drained'],
    n4: ['1.5 GiB asked for, 512 MiB of 8 GiB free'],
  });
  assert.deepEqual(explanation.remedies, [
    'reserve at most the 1 GiB that host-n1 has',
    'label node host-n2 zone=a',
    'activate node host-n3',
    'free 1 GiB on host-n4',
  ]);
});

test('other refusals name their figures and remedies', () => {
  const port = { TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' } as const;
  const gpu = (Value: number) => [{ DiscreteResourceSpec: { Kind: 'gpu', Value } }];
  for (const [service, reason, remedy] of [
    [{ ports: [port] }, 'host-mode port 8080/tcp is in use', 'free port 8080/tcp on host-n1'],
    [
      { placement: { MaxReplicas: 1 } },
      'the node has 1 of at most 1 task of the service',
      'allow more than 1 replica a node',
    ],
    [{ generic: gpu(2) }, '2 gpu asked for, 1 of 3 gpu are free', 'free 2 gpu on host-n1'],
    [{ cpus: 3 }, '3 CPUs asked for, 1 CPU of 4 CPUs free', 'free 2 CPUs on host-n1'],
  ] as const) {
    const cluster = new SimulatedCluster();
    cluster.node('n1', { generic: gpu(3) });
    cluster.service('web', structuredClone(service) as Parameters<SimulatedCluster['service']>[1]);
    const [, second = ''] = cluster.tasks('web', 2);
    cluster.settle();
    const { nodes, remedies } = explain(cluster, second);
    assert.deepEqual(
      nodes[0]?.refusals.map((refusal) => refusal.reason),
      [reason],
    );
    assert.deepEqual(remedies, [remedy]);
  }
  for (const [constraint, remedy] of [
    ['node.role == manager', 'promote node host-n1'],
    ['node.labels.zone != a', 'take label zone from node host-n1'],
    ['node.hostname == x', 'drop the constraint node.hostname == x'],
  ] as const) {
    const cluster = new SimulatedCluster();
    cluster.node('n1', { labels: { zone: 'a' } });
    cluster.service('web', { placement: { Constraints: [constraint] } });
    const [id = ''] = cluster.tasks('web');
    assert.deepEqual(explain(cluster, id).remedies, [remedy]);
  }
});

test('a placed task is explained by what put its node before the best other one', () => {
  const cluster = new SimulatedCluster();
  cluster.node('n1', { labels: { zone: 'a' } });
  cluster.node('n2', { labels: { zone: 'b' } });
  cluster.service('web');
  const [first = '', second = ''] = cluster.tasks('web', 2);
  cluster.settle();
  assert.equal(
    explain(cluster, first).summary,
    'it is on host-n1 before host-n2: 0 other tasks of the service there, not 1',
  );
  cluster.service('batch');
  const [batch = ''] = cluster.tasks('batch');
  cluster.settle();
  assert.equal(
    explain(cluster, batch).summary,
    'it is on host-n1 before host-n2: they are equal, and its ID comes first',
  );
  cluster.remove(second);
  assert.equal(
    explain(cluster, batch).summary,
    'it is on host-n1; now host-n2 would be preferred: 0 other tasks there, not 1',
  );
  cluster.service('zoned', {
    placement: { Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }] },
  });
  const [, zoned = ''] = cluster.tasks('zoned', 2);
  cluster.settle();
  assert.equal(
    explain(cluster, zoned).summary,
    'it is on host-n2 before host-n1: node.labels.zone b has 0 other tasks of the service, a has 1 other task of the service',
  );
  cluster.node('n1', { availability: 'pause' });
  assert.equal(explain(cluster, zoned).summary, 'it is on host-n2, the only node that can have it');
  cluster.node('n2', { availability: 'drain' });
  assert.equal(explain(cluster, zoned).summary, 'it is on host-n2, which would not be given it now');
});

test('explaining says where the next task goes, and changes nothing', () => {
  const cluster = new SimulatedCluster();
  for (const [at, zone] of ['a', 'a', 'b', 'b', 'b', 'c'].entries())
    cluster.node(`n${at}`, { labels: { zone } });
  cluster.service('web', {
    cpus: 1,
    placement: { Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }] },
  });
  for (let count = 0; count < 24; count += 1) {
    const [id = ''] = cluster.tasks('web');
    const [best] = explain(cluster, id).nodes;
    cluster.settle();
    assert.equal(cluster.task(id).NodeID, best?.score === undefined ? '' : best.nodeId);
    explain(cluster, id);
  }
  const anew = new NodeTable();
  for (const table of ['node', 'revision', 'task'] as const) {
    for (const after of cluster.view.all(table))
      anew.observe({ table, id: after.ID, before: undefined, after } as Parameters<NodeTable['observe']>[0]);
  }
  for (const node of cluster.scheduler.table.nodes) {
    assert.equal(node.reservedNanoCpus, anew.node(node.id)?.reservedNanoCpus);
    assert.equal(node.tasks, anew.node(node.id)?.tasks);
  }
});

test('a global service’s task is explained by its own node alone; what is not there is not found', () => {
  const cluster = new SimulatedCluster();
  cluster.node('n1');
  cluster.node('n2', { availability: 'pause' });
  cluster.service('agent', { mode: { Global: {} } });
  const [id = ''] = cluster.tasks('agent', 1, { NodeID: 'n2', Slot: 0 });
  const { summary, nodes } = explain(cluster, id);
  assert.equal(summary, 'no suitable node (1 node not available for new tasks)');
  assert.deepEqual(
    nodes.map(({ refusals }) => refusals.map(({ reason }) => reason)),
    [['the node is paused']],
  );
  assert.throws(() => explain(cluster, 'nowhere'), { kind: 'not-found' });
});

test('tasks on an encrypted network go to nodes that can encrypt, and others say why not', () => {
  const cluster = new SimulatedCluster();
  cluster.apply([network('secret', { EncryptedOption: true }), network('open')]);
  cluster.node('old');
  cluster.node('without', { encryption: { problem: 'its kernel has no ESP', salts: [] } });
  cluster.service('web', { networks: ['secret'] });
  cluster.service('other', { networks: ['open'] });
  const [id = ''] = cluster.tasks('web');
  const [other = ''] = cluster.tasks('other');
  cluster.settle();
  assert.notEqual(cluster.task(other).NodeID, '');
  const { summary, nodes, remedies } = explain(cluster, id);
  assert.equal(summary, 'no suitable node (encrypted networks not supported on 2 nodes)');
  assert.deepEqual(
    nodes.map(({ nodeId, refusals }) => [nodeId, refusals[0]?.reason]),
    [
      ['old', 'a network of the task is encrypted, which the node cannot do: it does not say that it can'],
      ['without', 'a network of the task is encrypted, which the node cannot do: its kernel has no ESP'],
    ],
  );
  assert.match(remedies[1] ?? '', /^give node host-without a kernel with IPsec/);
  cluster.node('without', { encryption: { salts: [] } });
  cluster.settle();
  assert.equal(cluster.task(id).NodeID, 'without');
});
