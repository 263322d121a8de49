import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TaskRecord } from '#model/task.ts';
import { controlOver, oneNodeSwarm } from './control-fixture.ts';

test('a network gets the lowest subnet and VNI that are free', async () => {
  const { networks } = controlOver(await oneNodeSwarm());
  const ingress = networks.inspect('ingress');
  assert.deepEqual(
    [ingress.vni, ingress.IPAM.Config],
    [4096, [{ Subnet: '10.0.0.0/24', Gateway: '10.0.0.1' }]],
  );
  const one = await networks.create({ Name: 'one' });
  const two = await networks.create({ Name: 'two', Options: { encrypted: '' }, Attachable: true });
  assert.deepEqual([one.vni, two.vni], [4097, 4098]);
  assert.deepEqual([one.EncryptedOption, two.EncryptedOption], [false, true]);
  await networks.remove('one');
  const three = await networks.create({ Name: 'three' });
  assert.deepEqual([three.vni, three.IPAM.Config[0]?.Subnet], [4097, '10.0.1.0/24']);
});

test('what cannot be is refused', async () => {
  const { networks } = controlOver(await oneNodeSwarm());
  await networks.create({ Name: 'one', IPAM: { Config: [{ Subnet: '10.77.0.0/24' }] } });
  const ask = (o: object) => networks.create({ Name: 'x', ...o });
  await assert.rejects(ask({ Name: 'one' }), {
    kind: 'conflict',
    message: 'network with name one already exists',
  });
  await assert.rejects(ask({ Name: 'mine' }), { kind: 'conflict' });
  await assert.rejects(ask({ IPAM: { Config: [{ Subnet: '10.77.0.0/16' }] } }), { kind: 'forbidden' });
  await assert.rejects(ask({ Ingress: true }), /^DroverError: ingress network \(.*\) is already present$/);
  await assert.rejects(ask({ EnableIPv6: true }), { kind: 'not-implemented' });
  const option = 'com.docker.network.driver.overlay.vxlanid_list';
  await assert.rejects(ask({ Options: { [option]: '4096' } }), { kind: 'conflict' });
  await assert.rejects(ask({ Options: { [option]: '9' } }), { kind: 'invalid' });
});

test('one in use stays; tasks of removed services keep it until they have ended', async () => {
  const store = await oneNodeSwarm();
  const { networks, services } = controlOver(store);
  const { ID } = await networks.create({ Name: 'back' });
  const template = { ContainerSpec: { Image: 'nginx' }, Networks: [{ Target: 'back' }] };
  const { id } = await services.create({ spec: { Name: 'web', TaskTemplate: template } });
  await assert.rejects(networks.remove('back'), {
    kind: 'invalid',
    message: `network ${ID} is in use by service ${id}`,
  });
  const task: TaskRecord = {
    ID: 'task',
    CreatedAt: '',
    UpdatedAt: '',
    ServiceID: id,
    Slot: 1,
    attempt: 1,
    NodeID: '',
    DesiredState: 'running',
    Status: { State: 'running', Timestamp: '', Message: '' },
    revision: 1,
    networks: [{ networkId: ID, address: '10.0.1.2/24', aliases: [] }],
  };
  await store.write({ table: 'task', put: task });
  await services.remove('web');
  await networks.remove('back');
  assert.equal(store.view.get('network', ID)?.removing, true);
  assert.throws(() => networks.inspect('back'), { kind: 'not-found' });
  // neither its subnet nor its name is given away while it is there
  const other = await networks.create({ Name: 'other' });
  assert.equal(other.IPAM.Config[0]?.Subnet, '10.0.2.0/24');
  const next = networks.create({ Name: 'back' });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(store.view.named('network', 'back')?.ID, ID);
  await store.write({ table: 'network', delete: ID });
  assert.equal((await next).IPAM.Config[0]?.Subnet, '10.0.1.0/24');
});

test('the next network of a name waits no longer than a while', async () => {
  const store = await oneNodeSwarm();
  const { networks } = controlOver(store, {
    clock: { nowMs: () => (nowMs += 20_000), monotonicMs: () => 0, sleep: async () => undefined },
  });
  let nowMs = 0;
  const network = await networks.create({ Name: 'back' });
  await store.write({ table: 'network', put: { ...network, removing: true } });
  await assert.rejects(networks.create({ Name: 'back' }), {
    kind: 'conflict',
    message: /still being removed/,
  });
});

test('the ingress network goes only when no service is published in it', async () => {
  const { networks, services } = controlOver(await oneNodeSwarm());
  const { id } = await services.create({
    spec: {
      Name: 'web',
      TaskTemplate: { ContainerSpec: { Image: 'nginx' } },
      EndpointSpec: { Ports: [{ TargetPort: 80 }] },
    },
  });
  await assert.rejects(networks.remove('ingress'), {
    message: `ingress network cannot be removed because service ${id} depends on it`,
  });
  await services.remove('web');
  await networks.remove('ingress');
  assert.deepEqual(networks.list(), []);
});
