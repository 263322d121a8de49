import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TaskMount } from '#model/task-spec.ts';
import { FAILURE_WINDOW_MS } from './failure-log.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

const spreadOver = (...keys: string[]) => ({
  Preferences: keys.map((SpreadDescriptor) => ({ Spread: { SpreadDescriptor } })),
});
const DATA: TaskMount = { Type: 'volume', Source: 'data', Target: '/data' };

test('tasks go where the fewest of their service are, then where the fewest are at all, then by ID', () => {
  const cluster = new SimulatedCluster();
  for (const id of ['n3', 'n1', 'n2']) cluster.node(id);
  cluster.service('web');
  const ids = cluster.tasks('web', 4);
  cluster.settle();
  assert.deepEqual(cluster.nodesOf(ids), ['n1', 'n2', 'n3', 'n1']);
  cluster.service('api');
  cluster.tasks('api', 2);
  cluster.settle();
  assert.deepEqual(cluster.spreadOf('api'), { n2: 1, n3: 1 });
});

test('packed, they go to the fullest node that takes them', () => {
  const cluster = new SimulatedCluster();
  cluster.node('large', { cpus: 16, memoryGib: 64 });
  cluster.node('small', { cpus: 2, memoryGib: 4 });
  const ids = ['a', 'b', 'c'].flatMap((id) => {
    cluster.service(id, { cpus: 1, memoryGib: 2 });
    return cluster.tasks(id);
  });
  cluster.settle('binpack');
  // both are empty at first: the ID decides
  assert.deepEqual(cluster.nodesOf(ids), ['large', 'large', 'large']);
  const other = new SimulatedCluster();
  other.node('large', { cpus: 16, memoryGib: 64 });
  other.node('small', { cpus: 2, memoryGib: 4 });
  other.service('first', { cpus: 1, memoryGib: 1, placement: { Constraints: ['node.id == small'] } });
  other.tasks('first');
  other.service('a', { cpus: 1, memoryGib: 2 });
  other.service('b', { cpus: 1, memoryGib: 2 });
  const later = [...other.tasks('a'), ...other.tasks('b')];
  other.settle('binpack');
  assert.deepEqual(other.nodesOf(later), ['small', 'large']);
});

test('a preference balances between values, however many nodes have each', () => {
  const cluster = new SimulatedCluster();
  cluster.node('a1', { labels: { zone: 'a' } });
  for (const id of ['b1', 'b2', 'b3']) cluster.node(id, { labels: { zone: 'b' } });
  cluster.service('web', { placement: spreadOver('node.labels.zone') });
  cluster.tasks('web', 6);
  cluster.settle();
  assert.deepEqual(cluster.spreadOf('web'), { a1: 3, b1: 1, b2: 1, b3: 1 });
});

test('preferences are nested: zones first, in each of them racks, nodes without the label are one value', () => {
  const cluster = new SimulatedCluster();
  cluster.node('a-r1', { labels: { zone: 'a' }, engineLabels: { rack: '1' } });
  cluster.node('a-r2x', { labels: { zone: 'a' }, engineLabels: { rack: '2' } });
  cluster.node('a-r2y', { labels: { zone: 'a' }, engineLabels: { rack: '2' } });
  cluster.node('b', { labels: { zone: 'b' } });
  cluster.node('bare');
  cluster.service('web', { placement: spreadOver('node.labels.zone', 'engine.labels.rack') });
  cluster.tasks('web', 12);
  cluster.settle();
  assert.deepEqual(cluster.spreadOf('web'), { 'a-r1': 2, 'a-r2x': 1, 'a-r2y': 1, b: 4, bare: 4 });
});

test('what a value has on nodes that take no more counts for the balance, and others go on when one is full', () => {
  const cluster = new SimulatedCluster();
  cluster.node('a1', { labels: { zone: 'a' } });
  cluster.node('b1', { labels: { zone: 'b' } });
  cluster.service('web', { placement: spreadOver('node.labels.zone') });
  cluster.tasks('web', 4);
  cluster.settle();
  cluster.node('a2', { labels: { zone: 'a' } });
  cluster.node('a1', { labels: { zone: 'a' }, availability: 'pause' });
  cluster.tasks('web', 2);
  cluster.settle();
  assert.deepEqual(cluster.spreadOf('web'), { a1: 2, a2: 1, b1: 3 });
  cluster.service('big', { memoryGib: 4, placement: spreadOver('node.labels.zone') });
  cluster.node('b2', { labels: { zone: 'b' }, memoryGib: 64 });
  cluster.tasks('big', 10);
  cluster.settle();
  assert.deepEqual(cluster.spreadOf('big'), { a2: 2, b1: 2, b2: 6 });
});

test('a node where the revision failed five times lately is the last choice, until that is forgotten', () => {
  const cluster = new SimulatedCluster();
  cluster.node('n1');
  cluster.service('web');
  const fail = (): void => {
    const [id = ''] = cluster.tasks('web');
    cluster.settle();
    cluster.report(id, 'running');
    cluster.report(id, 'failed');
  };
  for (let i = 0; i < 4; i += 1) fail();
  cluster.node('n2');
  cluster.tasks('web', 2);
  cluster.settle();
  assert.deepEqual(cluster.spreadOf('web')['n2'], 1, 'four are none');
  cluster.node('n2', { availability: 'pause' });
  fail();
  cluster.node('n2');
  const [moved = ''] = cluster.tasks('web');
  cluster.settle();
  assert.equal(cluster.task(moved).NodeID, 'n2');
  const [again = ''] = cluster.tasks('web');
  cluster.settle();
  assert.equal(cluster.task(again).NodeID, 'n2', 'though it has more');
  cluster.service('web', { revision: 2 });
  const [next = ''] = cluster.tasks('web');
  cluster.settle();
  assert.equal(cluster.task(next).NodeID, 'n1', 'another revision begins anew');
  cluster.nowMs += FAILURE_WINDOW_MS + 1;
  const [old = ''] = cluster.tasks('web', 1, { revision: 1 });
  cluster.settle();
  assert.equal(cluster.task(old).NodeID, 'n1', 'forgotten');
});

test('of equal nodes the one that has the volume, then the one that has the image is taken', () => {
  const cluster = new SimulatedCluster();
  cluster.node('n1');
  cluster.node('n2', { images: ['web:latest'] });
  cluster.node('n3', { volumes: ['data'] });
  cluster.service('web', { mode: { Replicated: { Replicas: 3 } }, mounts: [DATA] });
  const ids = cluster.tasks('web', 4);
  cluster.settle();
  assert.deepEqual(cluster.nodesOf(ids), ['n3', 'n2', 'n1', 'n3']);
});

test('a single writer goes to its data, whatever else is better', () => {
  const cluster = new SimulatedCluster();
  cluster.node('n1', { volumes: ['data'] });
  cluster.node('n2');
  cluster.service('other');
  cluster.tasks('other', 1);
  cluster.settle();
  cluster.service('db', { mounts: [DATA] });
  const [first = ''] = cluster.tasks('db', 1, { Slot: 1 });
  cluster.settle();
  assert.equal(cluster.task(first).NodeID, 'n1', 'a node has the volume');
});

test('one that was let run before its service was a single writer waits until that is looked at again', () => {
  const cluster = new SimulatedCluster();
  cluster.node('n1');
  cluster.service('db', { mounts: [DATA] });
  const [id = ''] = cluster.tasks('db', 1, { Slot: 1 });
  const { fenced: _, ...put } = cluster.task(id);
  cluster.apply([{ table: 'task', put }]);
  cluster.settle();
  assert.equal(cluster.task(id).NodeID, '');
  cluster.apply([{ table: 'task', put: { ...cluster.task(id), fenced: true } }]);
  cluster.settle();
  assert.equal(cluster.task(id).NodeID, 'n1');
});

test('a single writer that ran elsewhere goes back there before other nodes that have a volume of that name', () => {
  const cluster = new SimulatedCluster();
  for (const id of ['n1', 'n3']) cluster.node(id, { volumes: ['data'] });
  cluster.node('n2');
  cluster.service('db', { mounts: [DATA] });
  const ended = (node: string, startedAt: string): string => {
    const [id = ''] = cluster.tasks('db', 1, { Slot: 1, NodeID: node, DesiredState: 'shutdown' });
    cluster.report(id, 'shutdown', { startedAt });
    return id;
  };
  ended('n1', '2030-01-01T00:00:00Z');
  ended('n2', '2030-01-03T00:00:00Z');
  ended('n3', '2030-01-02T00:00:00Z');
  const [back = ''] = cluster.tasks('db', 1, { Slot: 1 });
  cluster.settle();
  assert.equal(cluster.task(back).NodeID, 'n2');
  cluster.report(back, 'failed');
  cluster.node('n2', { availability: 'drain' });
  const [away = ''] = cluster.tasks('db', 1, { Slot: 1 });
  cluster.settle();
  assert.equal(cluster.task(away).NodeID, 'n1', 'it is a preference only');
});

test('slots that write volumes of their own go back to what they replace', () => {
  const cluster = new SimulatedCluster();
  for (const id of ['n1', 'n2', 'n3']) cluster.node(id);
  cluster.service('kv', {
    mode: { Replicated: { Replicas: 3 } },
    labels: { 'drover.single-writer': 'true' },
    mounts: [{ ...DATA, Source: 'data-{{.Task.Slot}}' }],
  });
  const ids = cluster.tasks('kv', 3);
  cluster.settle();
  const [replaces = ''] = ids.filter((id) => cluster.task(id).NodeID === 'n3');
  cluster.report(replaces, 'running', { startedAt: cluster.now });
  cluster.report(replaces, 'failed');
  cluster.service('noise', { placement: { Constraints: ['node.id == n3'] } });
  cluster.tasks('noise', 9);
  cluster.settle();
  for (const id of ids.filter((id) => id !== replaces)) cluster.remove(id);
  const [back = ''] = cluster.tasks('kv', 1, { Slot: cluster.task(replaces).Slot, replaces });
  cluster.settle();
  assert.equal(cluster.task(back).NodeID, 'n3');
});
