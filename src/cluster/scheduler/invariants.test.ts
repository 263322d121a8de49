import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Write } from '#cluster/state/tables.ts';
import { isTerminal } from '#model/task.ts';
import { parseConstraints } from './constraint.ts';
import { NodeTable } from './node-table.ts';
import { SimulatedCluster, type SimulatedNode, type SimulatedService } from './simulated-cluster.ts';

const SEED = 20300101;
const ZONES = ['a', 'b', 'c'] as const;
const GPU = (Value: number) => [{ DiscreteResourceSpec: { Kind: 'gpu', Value } }];
const NAMED_GPUS = (count: number) =>
  Array.from({ length: count }, (_, at) => ({ NamedResourceSpec: { Kind: 'gpu', Value: `gpu${at}` } }));

const node: fc.Arbitrary<SimulatedNode> = fc.record({
  cpus: fc.integer({ min: 1, max: 8 }),
  memoryGib: fc.integer({ min: 1, max: 16 }),
  generic: fc.oneof(fc.integer({ min: 1, max: 4 }).map(GPU), fc.integer({ min: 0, max: 4 }).map(NAMED_GPUS)),
  labels: fc.constantFrom(...ZONES).map((zone) => ({ zone })),
  role: fc.constantFrom('worker', 'manager'),
  availability: fc.constantFrom('active', 'active', 'active', 'pause', 'drain'),
  state: fc.constantFrom('ready', 'ready', 'ready', 'down'),
});

const service: fc.Arbitrary<SimulatedService> = fc.record({
  cpus: fc.constantFrom(0, 0.25, 1, 2),
  memoryGib: fc.constantFrom(0, 0.5, 2),
  generic: fc.constantFrom([], [], GPU(1), GPU(2)),
  placement: fc.record({
    Constraints: fc.subarray(['node.labels.zone == a', 'node.labels.zone != c', 'node.role == worker'], {
      maxLength: 2,
    }),
    MaxReplicas: fc.constantFrom(0, 0, 1, 3),
    Preferences: fc.constantFrom([], [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }]),
  }),
  ports: fc.constantFrom([], [], [{ TargetPort: 80, PublishedPort: 80, PublishMode: 'host' as const }]),
});

type Step =
  | { readonly kind: 'node'; readonly id: string; readonly node: SimulatedNode }
  | { readonly kind: 'lose' | 'remove-node'; readonly id: string }
  | {
      readonly kind: 'service';
      readonly id: string;
      readonly service: SimulatedService;
      readonly revision: number;
    }
  | { readonly kind: 'tasks'; readonly id: string; readonly count: number }
  | { readonly kind: 'run' | 'end' | 'fail' | 'remove-task' | 'stop'; readonly pick: number }
  | { readonly kind: 'place'; readonly limit: number; readonly committed: boolean };

const nodeId = fc.constantFrom('n1', 'n2', 'n3', 'n4', 'n5');
const serviceId = fc.constantFrom('s1', 's2', 's3');
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('node' as const), id: nodeId, node }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('lose' as const, 'remove-node' as const), id: nodeId }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('service' as const),
      id: serviceId,
      service,
      revision: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('tasks' as const),
      id: serviceId,
      count: fc.integer({ min: 1, max: 6 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'run' as const,
        'end' as const,
        'fail' as const,
        'remove-task' as const,
        'stop' as const,
      ),
      pick: fc.nat(1000),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('place' as const),
      limit: fc.integer({ min: 1, max: 20 }),
      committed: fc.boolean(),
    }),
  },
);

function take(cluster: SimulatedCluster, step: Step): void {
  switch (step.kind) {
    case 'node':
      cluster.node(step.id, step.node);
      return;
    case 'lose':
      cluster.nodeDown(step.id);
      return;
    case 'remove-node':
      cluster.apply([{ table: 'node', delete: step.id }]);
      return;
    case 'service':
      // a revision never changes
      if (cluster.view.get('revision', `${step.id}.${step.revision}`) === undefined)
        cluster.service(step.id, { ...step.service, revision: step.revision });
      return;
    case 'tasks':
      cluster.tasks(step.id, step.count);
      return;
    case 'place': {
      const writes = cluster.decide(step.limit);
      assert.ok(writes.length <= step.limit);
      checkPlacements(cluster, writes);
      if (step.committed) cluster.apply(writes);
      return;
    }
    default: {
      const tasks = [...cluster.view.all('task')].sort((a, b) => (a.ID < b.ID ? -1 : 1));
      const task = tasks[step.pick % Math.max(1, tasks.length)];
      if (task === undefined) return;
      if (step.kind === 'remove-task') cluster.remove(task.ID);
      else if (step.kind === 'stop') cluster.change(task.ID, { DesiredState: 'shutdown' });
      else if (task.NodeID !== '' && !isTerminal(task.Status.State))
        cluster.report(task.ID, ({ run: 'running', end: 'complete', fail: 'failed' } as const)[step.kind]);
    }
  }
}

/** Every write that places a task goes to a node that can have it, with all that was placed before it. */
function checkPlacements(cluster: SimulatedCluster, writes: readonly Write[]): void {
  const held = new NodeTable();
  for (const table of ['node', 'revision', 'service', 'task'] as const) {
    for (const after of cluster.view.all(table))
      held.observe({ table, id: after.ID, before: undefined, after } as Parameters<NodeTable['observe']>[0]);
  }
  const seen = new Set<string>();
  for (const write of writes) {
    assert.ok(write.table === 'task' && 'put' in write);
    assert.ok(!seen.has(write.put.ID), 'a task is written once');
    seen.add(write.put.ID);
    const before = cluster.task(write.put.ID);
    if (write.put.Status.State === 'pending') {
      assert.notEqual(write.put.waiting?.reason, before.waiting?.reason, 'nothing is written for nothing');
      continue;
    }
    const { NodeID, ServiceID, revision } = write.put;
    const record = cluster.view.get('node', NodeID);
    const need = held.requirements(`${ServiceID}.${revision}`);
    const load = held.node(NodeID);
    assert.ok(record !== undefined && need !== undefined && load !== undefined);
    assert.deepEqual([record.Status.State, record.Spec.Availability], ['ready', 'active']);
    const template = cluster.view.get('revision', `${ServiceID}.${revision}`)?.template;
    for (const constraint of parseConstraints(template?.Placement?.Constraints ?? []))
      assert.ok(constraint.holds(record), constraint.text);
    for (const port of need.hostPorts) assert.ok(!load.hostPorts.has(port), 'the port is free');
    const freeGpus = load.generic.free('gpu');
    held.observe({ table: 'task', id: write.put.ID, before, after: write.put });
    const capacity = record.Description?.Resources;
    if (need.nanoCpus > 0) assert.ok(load.reservedNanoCpus <= (capacity?.NanoCPUs ?? 0), 'processors');
    if (need.memoryBytes > 0) assert.ok(load.reservedMemoryBytes <= (capacity?.MemoryBytes ?? 0), 'memory');
    const gpus = need.generic.reduce((sum, { amount }) => sum + amount, 0);
    assert.ok(gpus <= freeGpus && freeGpus - load.generic.free('gpu') === gpus, 'generic resources');
    for (const users of load.generic.used.names.get('gpu')?.values() ?? []) assert.ok(users >= 1);
    if (need.maxReplicas > 0) assert.ok((held.tasksOf(ServiceID).get(load) ?? 0) <= need.maxReplicas);
  }
}

/** All that a table says, for comparing. */
function contentsOf(cluster: SimulatedCluster, table: NodeTable): unknown {
  const services = ['s1', 's2', 's3'];
  return ['n1', 'n2', 'n3', 'n4', 'n5'].map((id) => {
    const load = table.node(id);
    if (load === undefined) return undefined;
    const { available, reservedNanoCpus, reservedMemoryBytes, held, tasks, hostPorts, generic } = load;
    return {
      ...{ id, available, reservedNanoCpus, reservedMemoryBytes, held, tasks },
      listed: table.nodes.has(load) === (cluster.view.get('node', id) !== undefined),
      ports: Object.fromEntries(hostPorts),
      used: JSON.stringify([
        [...generic.used.numbers],
        [...generic.used.names].map(([kind, names]) => [kind, [...names].sort()]),
      ]),
      services: services.map((service) => table.tasksOf(service).get(load) ?? 0),
    };
  });
}

test('whatever happens: no node over its capacity, no filter passed over, and bookkeeping as if made anew', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
      const cluster = new SimulatedCluster();
      for (const step of steps) take(cluster, step);
      const anew = new NodeTable();
      // tasks before their revisions and nodes: the order does not matter
      for (const table of ['task', 'service', 'node', 'revision'] as const) {
        for (const after of cluster.view.all(table))
          anew.observe({ table, id: after.ID, before: undefined, after } as Parameters<
            NodeTable['observe']
          >[0]);
      }
      assert.deepEqual(contentsOf(cluster, cluster.scheduler.table), contentsOf(cluster, anew));
    }),
    { seed: SEED, numRuns: 120 },
  );
});

test('who waits is refused by every node, also after any changes; a scheduler made anew could place no more', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
      const cluster = new SimulatedCluster();
      for (const step of steps) take(cluster, step);
      cluster.settle();
      const { scheduler } = new SimulatedCluster();
      for (const table of ['node', 'revision', 'service', 'task'] as const) {
        for (const after of cluster.view.all(table))
          scheduler.observe({ table, id: after.ID, before: undefined, after } as Parameters<
            NodeTable['observe']
          >[0]);
      }
      const { writes } = scheduler.decide(cluster.view, {
        nowMs: cluster.nowMs,
        limit: 1000,
        strategy: 'spread',
      });
      const placed = writes.filter(
        (write) => 'put' in write && write.table === 'task' && write.put.NodeID !== '',
      );
      assert.deepEqual(placed, []);
    }),
    { seed: SEED, numRuns: 120 },
  );
});

test('the same changes give the same decisions', () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 5, maxLength: 40 }),
      fc.constantFrom('spread', 'binpack'),
      (steps, strategy) => {
        const [first, second] = [new SimulatedCluster(), new SimulatedCluster()];
        for (const step of steps) {
          take(first, step);
          take(second, step);
        }
        assert.deepEqual(first.decide(1000, strategy), second.decide(1000, strategy));
      },
    ),
    { seed: SEED, numRuns: 100 },
  );
});

test('without constraints a service is balanced within one task, also after nodes were lost and came', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 30 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 50 }),
      (nodes, waves, limit) => {
        const cluster = new SimulatedCluster();
        for (let at = 0; at < nodes; at += 1) cluster.node(`n${at}`);
        cluster.service('web');
        cluster.service('noise');
        for (const count of waves) {
          cluster.tasks('noise', 3);
          cluster.tasks('web', count);
          cluster.settle('spread', limit);
          const counts = Object.values(cluster.spreadOf('web'));
          const least = counts.length < nodes ? 0 : Math.min(...counts);
          assert.ok(Math.max(...counts) - least <= 1, `${counts}`);
        }
      },
    ),
    { seed: SEED, numRuns: 100 },
  );
});

test('tasks placed together go where they would go one by one', () => {
  fc.assert(
    fc.property(
      fc.array(node, { minLength: 1, maxLength: 12 }),
      fc.array(fc.tuple(service, fc.integer({ min: 1, max: 25 })), { minLength: 1, maxLength: 4 }),
      fc.constantFrom('spread', 'binpack'),
      (nodes, services, strategy) => {
        const [one, all] = [new SimulatedCluster(), new SimulatedCluster()];
        for (const cluster of [one, all]) {
          for (const [at, made] of nodes.entries()) cluster.node(`n${at}`, made);
          for (const [at, [made, count]] of services.entries()) {
            cluster.service(`s${at}`, made);
            cluster.tasks(`s${at}`, count);
          }
        }
        one.settle(strategy, 1);
        all.settle(strategy, 1000);
        const places = (cluster: SimulatedCluster) =>
          [...cluster.view.all('task')].map(({ ID, NodeID, waiting }) => [ID, NodeID, waiting]).sort();
        assert.deepEqual(places(one), places(all));
      },
    ),
    { seed: SEED, numRuns: 100 },
  );
});
