import assert from 'node:assert/strict';
import { test } from 'node:test';
import { controlOver, oneNodeSwarm } from '#cluster/control/control-fixture.ts';
import type { ViewChange } from '#cluster/state/tables.ts';
import type { TaskRecord } from '#model/task.ts';
import { NetworkReaper } from './network-reaper.ts';

test('a network goes with the last task that was on it', async () => {
  const store = await oneNodeSwarm();
  const { networks, services } = controlOver(store);
  const { ID } = await networks.create({ Name: 'back' });
  const template = { ContainerSpec: { Image: 'bb' }, Networks: [{ Target: 'back' }] };
  const { id } = await services.create({ spec: { Name: 'web', TaskTemplate: template } });
  const task: TaskRecord = {
    ID: 'task',
    CreatedAt: '',
    UpdatedAt: '',
    ServiceID: id,
    Slot: 1,
    attempt: 1,
    NodeID: '',
    DesiredState: 'remove',
    Status: { State: 'running', Timestamp: '', Message: '' },
    revision: 1,
    networks: [{ networkId: ID, address: '10.0.1.2/24', aliases: [] }],
  };
  await store.write({ table: 'task', put: task });
  const reaper = new NetworkReaper();
  const dirty: string[] = [];
  using _seen = store.subscribe((changes: readonly ViewChange[]) => {
    dirty.push(...changes.flatMap((change) => [...reaper.keysOf(change, store.view)]));
  });
  await services.remove('web');
  await networks.remove('back');
  assert.deepEqual(dirty, [ID]);
  assert.deepEqual(reaper.reconcile(store.view, ID).writes, []);
  await store.write({ table: 'task', put: { ...task, Status: { ...task.Status, State: 'shutdown' } } });
  assert.deepEqual(dirty, [ID, ID]);
  assert.deepEqual(reaper.reconcile(store.view, ID).writes, [{ table: 'network', delete: ID }]);
  assert.deepEqual(reaper.reconcile(store.view, networks.inspect('ingress').ID).writes, []);
});
