import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVERY_OTHER } from '#linux/neighbours.ts';
import type { NetworkPlan, PlannedNetwork } from '#model/network-plan.ts';
import { NOTHING, overlayChanges, sentenceOf, wantedState } from './overlay-state.ts';

const task = (nodeId: string, address: string): PlannedNetwork['endpoints'][number] => ({
  taskId: `t${address}`,
  nodeId,
  serviceId: 's',
  address,
  aliases: [],
  serving: true,
});
const NET: PlannedNetwork = {
  id: 'net',
  name: 'net',
  vni: 4097,
  subnet: '10.1.0.0/24',
  internal: false,
  encrypted: false,
  mtu: 0,
  nodeAddress: '10.1.0.100/24',
  peers: [{ nodeId: 'b', address: '192.0.2.2', nodeAddress: '10.1.0.101' }],
  endpoints: [task('a', '10.1.0.2'), task('b', '10.1.0.3'), task('unknown', '10.1.0.4')],
  services: [],
};
const PLAN: NetworkPlan = {
  nodeId: 'a',
  dataPathAddress: '192.0.2.1',
  dataPathPort: 4789,
  networks: [NET],
  ports: [],
  ingressNetworkId: undefined,
};
const REMOTE = '02:42:0a:01:00:03 192.0.2.2';

test('what is on other nodes is forwarded and answered for, what is here or nowhere is not', () => {
  const state = wantedState(PLAN, NET, 1500);
  assert.deepEqual(
    [...state.forwarding],
    [`${EVERY_OTHER} 192.0.2.2`, '02:42:0a:01:00:65 192.0.2.2', REMOTE],
  );
  assert.deepEqual([...state.neighbours.keys()], ['10.1.0.101', '10.1.0.3']);
  assert.equal(state.vxlan.mtu, 1450);
  assert.equal(wantedState(PLAN, { ...NET, mtu: 1300 }, 1500).bridge.mtu, 1300);
});

test('an encrypted network has a port of its own, and frames that fit into ESP', () => {
  const { vxlan } = wantedState(PLAN, { ...NET, encrypted: true }, 1500);
  assert.deepEqual([vxlan.port, vxlan.mtu], [4790, 1416]);
  for (let path = 1280; path < 1300; path++) {
    const { mtu } = wantedState(PLAN, { ...NET, encrypted: true }, path).vxlan;
    // Ethernet, VXLAN and UDP around it; ESP fills up to four bytes with its trailer of two, and adds 32; then IPv4
    const packet = (inner: number): number => 20 + 32 + Math.ceil((inner + 14 + 8 + 8 + 2) / 4) * 4;
    assert.ok(packet(mtu) <= path && packet(mtu + 1) > path, `${mtu} on a path of ${path}`);
  }
});

test('what is as wanted is left alone', () => {
  const state = wantedState(PLAN, NET, 1500);
  assert.deepEqual(overlayChanges(state, state), []);
  assert.deepEqual(
    overlayChanges(NOTHING, state).map(({ kind }) => kind),
    ['bridge', 'vxlan', 'forward', 'forward', 'forward', 'neighbour', 'neighbour'],
  );
});

test('a task that moves is one entry replaced, one that goes is removed', () => {
  const state = wantedState(PLAN, NET, 1500);
  const peers = [...NET.peers, { nodeId: 'c', address: '192.0.2.3', nodeAddress: '' }];
  const moved = { ...NET, peers, endpoints: [task('c', '10.1.0.3')] };
  assert.deepEqual(overlayChanges(state, wantedState(PLAN, moved, 1500)), [
    { kind: 'forward', mac: EVERY_OTHER, address: '192.0.2.3' },
    { kind: 'forward', mac: '02:42:0a:01:00:03', address: '192.0.2.3' },
  ]);
  assert.deepEqual(overlayChanges(state, wantedState(PLAN, { ...NET, endpoints: [] }, 1500)), [
    { kind: 'unforward', mac: '02:42:0a:01:00:03', address: '192.0.2.2' },
    { kind: 'forget-neighbour', address: '10.1.0.3', mac: '02:42:0a:01:00:03' },
  ]);
});

test('a device that is made anew gets all of its entries', () => {
  const state = wantedState(PLAN, NET, 1500);
  const elsewhere = wantedState({ ...PLAN, dataPathAddress: '192.0.2.9' }, NET, 1500);
  const changes = overlayChanges(state, elsewhere);
  assert.deepEqual(
    changes.map(({ kind }) => kind),
    ['vxlan', 'forward', 'forward', 'forward', 'neighbour', 'neighbour'],
  );
  assert.match(
    changes.map((change) => sentenceOf(change, NET))[0] ?? '',
    /^network net: its VXLAN device is not VNI 4097 on 192.0.2.9:4789/,
  );
});
