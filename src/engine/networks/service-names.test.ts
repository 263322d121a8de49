import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlannedEndpoint, PlannedNetwork } from '#model/network-plan.ts';
import { ServiceNames } from './service-names.ts';

const task = (serviceId: string, address: string, ...aliases: string[]): PlannedEndpoint => ({
  taskId: `t${address}`,
  nodeId: 'n',
  serviceId,
  address,
  aliases,
  serving: true,
});
const NET: PlannedNetwork = {
  id: 'net',
  name: 'Net',
  vni: 4097,
  subnet: '10.1.0.0/24',
  internal: false,
  encrypted: false,
  mtu: 0,
  nodeAddress: '',
  peers: [],
  endpoints: [
    task('w', '10.1.0.3', 'web.1.x', 'blue'),
    task('w', '10.1.0.4', 'web.2.y', 'blue'),
    { ...task('w', '10.1.0.5', 'web.3.z'), serving: false },
    { ...task('d', '10.1.0.6', 'db.1.x'), serving: false },
  ],
  services: [
    { serviceId: 'w', name: 'Web', virtualIp: '10.1.0.2', aliases: ['shop'] },
    { serviceId: 'd', name: 'db', virtualIp: '', aliases: [] },
  ],
};

test('names lead to the virtual IP, or to the tasks that serve', () => {
  const names = new ServiceNames(NET);
  const of = (name: string): string[] | undefined => {
    const found = names.addresses(name)?.addresses;
    return found === undefined ? undefined : [...found].sort();
  };
  for (const name of ['web', 'shop', 'web.net', 'shop.net']) assert.deepEqual(of(name), ['10.1.0.2'], name);
  for (const name of ['tasks.web', 'blue', 'tasks.web.net'])
    assert.deepEqual(of(name), ['10.1.0.3', '10.1.0.4']);
  assert.deepEqual(of('web.2.y'), ['10.1.0.4']);
  // A service is known without a task; a task that does not serve is not.
  assert.deepEqual(of('db'), []);
  assert.deepEqual(of('tasks.db'), []);
  assert.equal(of('web.3.z'), undefined);
  assert.equal(of('db.1.x'), undefined);
  assert.equal(of('other'), undefined);
});

test('each address comes first in turn; answers about tasks are not kept for long', () => {
  const names = new ServiceNames(NET);
  const first = [1, 2].map(() => names.addresses('tasks.web')?.addresses[0]);
  assert.deepEqual(first.sort(), ['10.1.0.3', '10.1.0.4']);
  assert.ok((names.addresses('tasks.web')?.ttlSeconds ?? 600) < (names.addresses('web')?.ttlSeconds ?? 0));
});

test('an address has its name', () => {
  const names = new ServiceNames(NET);
  assert.equal(names.nameOf('10.1.0.4'), 'web.2.y.Net');
  assert.equal(names.nameOf('10.1.0.2'), 'Web.Net');
  assert.equal(names.nameOf('10.1.0.5'), undefined);
});

test('an attached container is found by its names, unless they are a service’s or a task’s', () => {
  const container = (address: string, ...aliases: string[]): PlannedEndpoint => ({
    ...task('', address, ...aliases),
    containerId: address,
  });
  const endpoints = [
    container('10.1.0.10', 'plain', 'db', 'WEB', 'tasks.web', 'web.1.x', 'shared'),
    container('10.1.0.11', 'other', 'shared'),
    { ...container('10.1.0.12', 'lost', 'shared'), serving: false },
  ];
  const names = new ServiceNames({ ...NET, endpoints: [...endpoints, ...NET.endpoints] });
  const of = (name: string): string[] => [...(names.addresses(name)?.addresses ?? [])].sort();
  assert.deepEqual(of('plain.net'), ['10.1.0.10']);
  assert.deepEqual(of('shared'), ['10.1.0.10', '10.1.0.11']);
  assert.deepEqual([of('db'), of('web'), of('web.1.x')], [[], ['10.1.0.2'], ['10.1.0.3']]);
  assert.deepEqual(of('tasks.web'), ['10.1.0.3', '10.1.0.4']);
  assert.deepEqual(of('lost'), []);
  assert.equal(names.nameOf('10.1.0.10'), 'plain.Net');
});
