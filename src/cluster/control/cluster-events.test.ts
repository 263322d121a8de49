import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ViewChange } from '#cluster/state/tables.ts';
import type { ServiceRecord } from '#model/service.ts';
import { clusterEventsOf } from './cluster-events.ts';
import { FIRST_NODE } from './control-fixture.ts';

const SERVICE: ServiceRecord = {
  ID: 's',
  CreatedAt: '',
  UpdatedAt: '',
  Spec: {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'a' } },
    Mode: { Replicated: { Replicas: 1 } },
  },
  revision: 1,
  Endpoint: {},
};

function changed(before: ServiceRecord | undefined, after: ServiceRecord | undefined): ViewChange[] {
  return [{ table: 'service', id: 's', before, after }];
}

test('a service is made, changes, and is gone when its removal begins', () => {
  const scaled: ServiceRecord = {
    ...SERVICE,
    Spec: { ...SERVICE.Spec, Mode: { Replicated: { Replicas: 3 } } },
    UpdateStatus: { State: 'updating', revision: 1 },
  };
  const removing = { ...SERVICE, removing: true };
  const steps: [ServiceRecord | undefined, ServiceRecord | undefined, string | undefined, object][] = [
    [undefined, SERVICE, 'create', { name: 'web' }],
    [SERVICE, SERVICE, 'update', { name: 'web' }],
    [
      SERVICE,
      scaled,
      'update',
      { name: 'web', 'replicas.old': '1', 'replicas.new': '3', 'updatestate.new': 'updating' },
    ],
    [SERVICE, removing, 'remove', { name: 'web' }],
    [removing, removing, undefined, {}],
    [removing, undefined, undefined, {}],
  ];
  for (const [before, after, action, attributes] of steps) {
    const expected = action === undefined ? [] : [{ type: 'service', action, id: 's', attributes }];
    assert.deepEqual(clusterEventsOf(changed(before, after)), expected);
  }
});

test('a node tells what changed of it; tasks tell nothing', () => {
  const down = { ...FIRST_NODE, Status: { ...FIRST_NODE.Status, State: 'down' as const } };
  assert.deepEqual(clusterEventsOf([{ table: 'node', id: FIRST_NODE.ID, before: FIRST_NODE, after: down }]), [
    {
      type: 'node',
      action: 'update',
      id: FIRST_NODE.ID,
      attributes: { name: 'one', 'state.old': 'ready', 'state.new': 'down' },
    },
  ]);
  assert.deepEqual(clusterEventsOf([{ table: 'task', id: 't', before: undefined, after: undefined }]), []);
});
