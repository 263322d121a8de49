import assert from 'node:assert/strict';
import { test } from 'node:test';
import { controlOver, oneNodeSwarm } from '#cluster/control/control-fixture.ts';
import { needsAddresses, networksOf } from './service-networks.ts';

test('a network that every node has of its own needs nothing from the allocator', async () => {
  const store = await oneNodeSwarm();
  const { services, networks } = controlOver(store);
  const { ID } = await networks.create({ Name: 'back' });
  const on = (Target: string) => ({ ContainerSpec: { Image: 'bb' }, Networks: [{ Target }] });
  await services.create({ spec: { Name: 'near', TaskTemplate: on('host') } });
  await services.create({ spec: { Name: 'far', TaskTemplate: on('back') } });
  const near = services.inspect('near').record;
  const far = services.inspect('far').record;
  assert.deepEqual([needsAddresses(store.view, near), needsAddresses(store.view, far)], [false, true]);
  assert.deepEqual(networksOf(store.view, near, 1, 'ingress'), []);
  assert.deepEqual(networksOf(store.view, far, 1, 'ingress'), [{ Target: ID }]);
});
