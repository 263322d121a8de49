import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NetworkPlan, PlannedEndpoint, PlannedNetwork } from '#model/network-plan.ts';
import { type ReachabilityFacts, whyUnreachable } from './reachability.ts';

const task = (
  o: Partial<PlannedEndpoint> & { name: string; node: string; address: string },
): PlannedEndpoint => {
  const { name, node, ...rest } = o;
  return {
    taskId: `id-${name}`,
    nodeId: node,
    serviceId: name.split('.')[0] ?? '',
    aliases: [name],
    serving: true,
    ...rest,
  };
};
const net = (name: string, endpoints: PlannedEndpoint[]): PlannedNetwork => ({
  id: name,
  name,
  vni: 4097,
  subnet: '10.1.0.0/24',
  internal: false,
  encrypted: false,
  mtu: 0,
  nodeAddress: '',
  peers: [{ nodeId: 'b', address: '192.0.2.2', nodeAddress: '' }],
  endpoints,
  services: [...new Set(endpoints.map(({ serviceId }) => serviceId))].map((serviceId) => ({
    serviceId,
    name: serviceId,
    virtualIp: `10.1.0.${serviceId.length}`,
    aliases: [],
  })),
});
const plan = (...networks: PlannedNetwork[]): NetworkPlan => ({
  nodeId: 'a',
  dataPathAddress: '192.0.2.1',
  dataPathPort: 4789,
  networks,
  ports: [],
  ingressNetworkId: undefined,
});
const FACTS: ReachabilityFacts = { downNodes: new Set(), differences: [] };
const web = task({ name: 'web.1', node: 'a', address: '10.1.0.10' });
const api = task({ name: 'api4.1', node: 'b', address: '10.1.0.11' });

test('nothing is known that keeps one from the other', () => {
  for (const to of ['api4', 'api4.1', 'id-api4.1', '10.1.0.11', '10.1.0.4'])
    assert.deepEqual(whyUnreachable(plan(net('n', [web, api])), FACTS, 'web.1', to), [], to);
});

const cases: [string, NetworkPlan, Partial<ReachabilityFacts>, RegExp][] = [
  ['no such thing', plan(net('n', [web])), {}, /^api4 is no task or service on a network of this node/],
  [
    'no network shared',
    plan(net('n', [web]), net('m', [api])),
    {},
    /^web.1 is on n and api4 on m: they share no network/,
  ],
  [
    'nobody serves',
    plan(net('n', [web, { ...api, serving: false }])),
    {},
    /^none of the 1 tasks of service api4 serves on network n/,
  ],
  [
    'no peer',
    plan(net('n', [web, { ...api, nodeId: 'c' }])),
    {},
    /^node c, where api4.1 \(10.1.0.11\) runs, is no peer of network n/,
  ],
  [
    'node down',
    plan(net('n', [web, api])),
    { downNodes: new Set(['b']) },
    /^node b, where api4.1 \(10.1.0.11\) runs, is down/,
  ],
  [
    'own node down',
    plan(net('n', [web, api])),
    { downNodes: new Set(['a']) },
    /^the node that web.1 runs on is down/,
  ],
  [
    'encrypted',
    plan({ ...net('n', [web, api]), encrypted: true }),
    { encryptionProblem: 'no ESP' },
    /^network n is encrypted/,
  ],
  [
    'kernel',
    plan(net('n', [web, api])),
    { differences: ['network n: broadcasts do not go to node 192.0.2.2'] },
    /broadcasts do not go/,
  ],
  [
    'virtual IP',
    plan(net('n', [web, api])),
    { differences: ['container x: virtual IP 10.1.0.4 leads to nothing, not to 10.1.0.11'] },
    /leads to nothing/,
  ],
];
for (const [name, from, facts, expected] of cases) {
  test(`why not: ${name}`, () => {
    assert.match(whyUnreachable(from, { ...FACTS, ...facts }, 'web.1', 'api4').join('\n'), expected);
  });
}

test('what is wrong elsewhere is not told, and one network without a reason is a way', () => {
  const differences = [
    'network m: its bridge is missing',
    'container x: virtual IP 10.9.9.9 leads to nothing, not to 10.1.0.110',
  ];
  assert.deepEqual(
    whyUnreachable(plan(net('n', [web, api])), { ...FACTS, differences }, 'web.1', 'api4'),
    [],
  );
  const both = plan(net('n', [web, { ...api, serving: false }]), net('m', [web, api]));
  assert.deepEqual(whyUnreachable(both, FACTS, 'web.1', 'api4'), []);
  assert.match(whyUnreachable(both, FACTS, 'web.1', 'api4.2').join(), /^api4.2 is no task/);
});
