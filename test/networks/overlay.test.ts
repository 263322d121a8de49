import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../support/docker-host.ts';
import { OverlayCluster } from './overlay-cluster.ts';
import { endpoint, network, planOf, service } from './plans.ts';

const A = endpoint({ node: 1, address: '10.77.0.11', name: 'web.1' });
const B = endpoint({ node: 2, address: '10.77.0.12', name: 'web.2' });
const NET = network({ endpoints: [A, B], services: [service('web', '10.77.0.2', 'shop')] });

test('containers of two nodes reach each other, and the way out', async () => {
  await using cluster = await OverlayCluster.start({ bridge: 'tov', nodes: 2 });
  const [one, two] = [cluster.node(1), cluster.node(2)];
  for (const [index, node] of [one, two].entries())
    await node.ask({ call: 'apply', plan: planOf(index + 1, { networks: [NET] }) });
  await one.ask({ call: 'join', id: 'a', networks: { net: A.address } });
  await two.ask({ call: 'join', id: 'b', networks: { net: B.address } });

  const a = one.containerPath('a');
  const ping = (address: string, ...argv: string[]): string =>
    cluster.ok(a, 'busybox', 'ping', '-c1', '-W5', ...argv, address);
  ping(B.address);
  // what the path carries, less VXLAN's 50 bytes, in one piece
  assert.match(cluster.ok(a, 'ip', '-o', 'link', 'show', 'eth0'), / mtu 1450 /);
  ping(B.address, '-s', String(1450 - 28));
  const ip = cluster.ok(one.namespacePath, 'nstat', '-asz', 'IpFragCreates');
  assert.match(ip, /IpFragCreates +0 /);
  ping(cluster.client.address);

  const resolvConf = String(await one.ask({ call: 'resolvConf', id: 'a' }));
  const server = /nameserver (\S+)/.exec(resolvConf)?.[1] ?? '';
  const lookUp = (name: string): string[] => cluster.resolve(a, server, name, 'a');
  assert.deepEqual(lookUp('web'), ['10.77.0.2']);
  assert.deepEqual(lookUp('shop.net'), ['10.77.0.2']);
  assert.deepEqual(lookUp('tasks.web'), [A.address, B.address]);
  assert.deepEqual(lookUp('web.2'), [B.address]);
  // A node that is given an address on the network later is reached there, and reaches others.
  const withAddress = { ...NET, nodeAddress: '10.77.0.20N/24' };
  for (const [index, node] of [one, two].entries())
    await node.ask({ call: 'apply', plan: planOf(index + 1, { networks: [withAddress] }) });
  cluster.ok(one.namespacePath, 'busybox', 'ping', '-c1', '-W5', B.address);
  assert.deepEqual(await one.ask({ call: 'check', heal: false }), []);
  await one.ask({ call: 'leave', id: 'a' });
  await two.ask({ call: 'leave', id: 'b' });
  // while the namespace is kept by anybody, the links in it answer for their addresses
  const cables = (): string => cluster.ok(one.namespacePath, 'ip', '-br', 'link', 'show', 'type', 'veth');
  await eventually(() => !/^va/m.test(cables()), 'the links of a container go with it');
  // Left, or torn down: nothing is in the kernel.
  await one.ask({ call: 'apply', plan: planOf(1, { networks: [] }) });
  assert.doesNotMatch(cluster.ok(one.namespacePath, 'ip', '-br', 'link'), /ov-|vx-/);
  for (const node of [one, two]) await node.ask({ call: 'teardown' });
  for (const node of [one, two]) {
    assert.equal(cluster.ok(node.namespacePath, 'nft', 'list', 'ruleset'), '');
    assert.doesNotMatch(cluster.ok(node.namespacePath, 'ip', '-br', 'link'), /ov-|vx-|br-|docker/);
  }
});

test('frames come from the nodes of a network only', async () => {
  await using cluster = await OverlayCluster.start({ bridge: 'tst', nodes: 2 });
  const one = cluster.node(1);
  await one.ask({ call: 'apply', plan: planOf(1, { networks: [NET] }) });
  await one.ask({ call: 'join', id: 'a', networks: { net: A.address } });
  // A machine that is no node makes the same device, as if it had a task there.
  const stranger = cluster.client.namespacePath;
  const vxlan = ['id', '4097', 'dstport', '4789', 'local', cluster.client.address, 'remote', one.address];
  cluster.ok(stranger, 'ip', 'link', 'add', 'vx', 'type', 'vxlan', ...vxlan);
  cluster.ok(stranger, 'ip', 'address', 'add', `${B.address}/24`, 'dev', 'vx');
  cluster.ok(stranger, 'ip', 'link', 'set', 'vx', 'address', '02:42:0a:4d:00:0c', 'mtu', '1450', 'up');
  const a = one.containerPath('a');
  const received = (): number =>
    Number(/icmpInEchos +(\d+)/i.exec(cluster.ok(a, 'nstat', '-asz', 'IcmpInEchos'))?.[1]);
  const send = (): void => {
    cluster.ok(stranger, 'ip', 'neigh', 'replace', A.address, 'lladdr', '02:42:0a:4d:00:0b', 'dev', 'vx');
    cluster.run(stranger, 'busybox', 'ping', '-c1', '-W1', A.address);
  };
  send();
  assert.equal(received(), 0);
  // It is the filter that keeps it out, which check misses and puts back.
  cluster.ok(one.namespacePath, 'nft', 'delete', 'table', 'ip', 'drover_vxlan_docker0');
  send();
  assert.equal(received(), 1);
  assert.deepEqual(await one.ask({ call: 'check', heal: true }), [
    'VXLAN packets are not filtered by the nodes that they may come from',
  ]);
  send();
  assert.equal(received(), 1);
});
