import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NetworkPlan, PlannedEndpoint } from '#model/network-plan.ts';
import { meshPorts, meshTable } from './routing-mesh.ts';
import { virtualIps } from './virtual-ips.ts';

const task = (nodeId: string, address: string, serving = true): PlannedEndpoint => ({
  taskId: `t${address}`,
  nodeId,
  serviceId: 'web',
  address,
  aliases: [],
  serving,
});
const plan = (endpoints: PlannedEndpoint[], ingressNetworkId: string | undefined = 'net'): NetworkPlan => ({
  nodeId: 'a',
  dataPathAddress: '192.0.2.1',
  dataPathPort: 4789,
  networks: [
    {
      id: 'net',
      name: 'net',
      vni: 4096,
      subnet: '10.1.0.0/24',
      internal: false,
      encrypted: false,
      mtu: 0,
      nodeAddress: '10.1.0.100/24',
      peers: [],
      endpoints,
      services: [{ serviceId: 'web', name: 'web', virtualIp: '10.1.0.2', aliases: [] }],
    },
  ],
  ports: [{ protocol: 'tcp', publishedPort: 8080, targetPort: 80, serviceId: 'web' }],
  ingressNetworkId,
});
const LOCAL = new Map([['10.1.0.3', '172.18.0.2']]);
const portsOf = (...endpoints: PlannedEndpoint[]): [string, readonly string[]][] => [
  ...meshPorts(plan(endpoints), ({ address }) => LOCAL.get(address)),
];

test('local tasks come first, at the address by which the host reaches them', () => {
  assert.deepEqual(portsOf(task('a', '10.1.0.3'), task('b', '10.1.0.4')), [
    ['tcp . 8080', ['172.18.0.2 . 80']],
  ]);
});

test('without a local task that serves, the others are reached on the ingress network', () => {
  const others = [['tcp . 8080', ['10.1.0.4 . 80', '10.1.0.5 . 80']]];
  const remote = [task('b', '10.1.0.4'), task('c', '10.1.0.5')];
  assert.deepEqual(portsOf(task('a', '10.1.0.3', false), ...remote), others);
  // one whose container is not there
  assert.deepEqual(portsOf(task('a', '10.1.0.9'), ...remote), others);
  assert.deepEqual(portsOf(task('b', '10.1.0.4', false)), [['tcp . 8080', []]]);
});

test('a port for local tasks only leads to no other’s', () => {
  const both = plan([task('a', '10.1.0.3'), task('b', '10.1.0.4')]);
  const ports = both.ports.map((port) => ({ ...port, localOnly: true }));
  const led = (endpoints: PlannedEndpoint[]): unknown =>
    meshPorts({ ...plan(endpoints), ports }, ({ address }) => LOCAL.get(address)).get('tcp . 8080');
  assert.deepEqual(led([task('a', '10.1.0.3'), task('b', '10.1.0.4')]), ['172.18.0.2 . 80']);
  assert.deepEqual(led([task('b', '10.1.0.4')]), []);
});

test('a port’s rule asks for its protocol', () => {
  assert.equal(meshTable('t', 'ov-net').guard('udp . 53'), 'meta l4proto udp');
});

test('virtual IPs lead to the tasks that serve; the ingress network has none to call', () => {
  const endpoints = [task('a', '10.1.0.3'), task('b', '10.1.0.4', false)];
  assert.deepEqual([...virtualIps(plan(endpoints, 'other'), ['net'])], [['10.1.0.2', ['10.1.0.3']]]);
  assert.deepEqual([...virtualIps(plan([], 'other'), ['net'])], [['10.1.0.2', []]]);
  assert.deepEqual([...virtualIps(plan(endpoints, 'other'), ['another'])], []);
  assert.deepEqual([...virtualIps(plan(endpoints), ['net'])], []);
});
