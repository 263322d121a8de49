import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeRecord } from '#model/node.ts';
import { controlOver, FIRST_NODE, oneNodeSwarm } from './control-fixture.ts';

const SECOND: NodeRecord = {
  ...FIRST_NODE,
  ID: 'node2'.padEnd(25, '0'),
  Spec: { Role: 'worker', Availability: 'active', Labels: { zone: 'b' } },
  Description: { ...(FIRST_NODE.Description ?? assert.fail()), Hostname: 'two' },
};
delete SECOND.ManagerStatus;

async function twoNodes() {
  const store = await oneNodeSwarm();
  await store.write({ table: 'node', put: SECOND });
  return { store, ...controlOver(store) };
}

test('a node is found by ID, host name, the beginning of an ID, and as self', async () => {
  const { nodes } = await twoNodes();
  for (const reference of [SECOND.ID, 'two', 'node2'])
    assert.equal(nodes.inspect(reference).record.ID, SECOND.ID);
  assert.deepEqual([nodes.inspect('self').record.ID, nodes.inspect('self').isLeader], [FIRST_NODE.ID, true]);
  assert.throws(() => nodes.inspect('three'), { kind: 'not-found', message: 'node three not found' });
  assert.throws(() => nodes.inspect('node'), { kind: 'invalid', message: /ambiguous \(2 matches found\)/ });
});

test('the last manager stays one', async () => {
  const { nodes, store } = await twoNodes();
  const { revision, record } = nodes.inspect('one');
  const worker = { ...record.Spec, Role: 'worker' as const };
  await assert.rejects(nodes.update('one', { version: revision, spec: worker }), {
    kind: 'invalid',
    message: 'attempting to demote the last manager of the swarm',
  });
  // one that is to be a manager and is none yet could not go on without it
  await store.write({ table: 'node', put: { ...SECOND, Spec: { ...SECOND.Spec, Role: 'manager' } } });
  await assert.rejects(nodes.update('one', { version: revision, spec: worker }), /the last manager/);
  await store.write({ table: 'node', put: SECOND });
  const second = nodes.inspect('two');
  const manager = { ...second.record.Spec, Role: 'manager' as const };
  await assert.rejects(nodes.update('two', { version: second.revision + 1, spec: manager }), {
    message: 'update out of sequence',
  });
  await nodes.update('two', { version: second.revision, spec: manager });
  const promoted = nodes.inspect('two').record;
  await store.write({ table: 'node', put: { ...promoted, ManagerStatus: { Addr: 'two:2377' } } });
  await nodes.update('one', { version: nodes.inspect('one').revision, spec: worker });
  assert.deepEqual(nodes.count(), { nodes: 2, managers: 1 });
});

test('a manager is not removed, nor a node that is up, unless that is forced', async () => {
  const { nodes, store } = await twoNodes();
  await assert.rejects(nodes.remove('one', { force: true }), /must be demoted to worker before removal$/);
  await assert.rejects(nodes.remove('two', { force: false }), {
    kind: 'invalid',
    message: `node ${SECOND.ID} is not down and can't be removed`,
  });
  await store.write({ table: 'node', put: { ...SECOND, Status: { State: 'down', Addr: '', since: '' } } });
  await nodes.remove('two', { force: false });
  assert.deepEqual(nodes.count(), { nodes: 1, managers: 1 });
});

test('nodes are listed by role, label of the engine, label of the node, name', async () => {
  const { nodes } = await twoNodes();
  const names = (filters: Record<string, string[]>): (string | undefined)[] =>
    nodes.list(filters).map(({ record }) => record.Description?.Hostname);
  assert.deepEqual(names({}), ['one', 'two']);
  assert.deepEqual(names({ role: ['worker'] }), ['two']);
  assert.deepEqual(names({ 'node.label': ['zone=b'] }), ['two']);
  assert.deepEqual(names({ label: ['disk=ssd'] }), ['one', 'two']);
  assert.deepEqual(names({ name: ['tw'] }), ['two']);
  assert.deepEqual(names({ membership: ['pending'] }), []);
  assert.throws(() => names({ role: ['odd'] }), { message: "Invalid role filter: 'odd'" });
});
