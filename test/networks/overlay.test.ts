import assert from 'node:assert/strict';
import { test } from 'node:test';
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
  await one.ask({ call: 'leave', id: 'a' });
  await two.ask({ call: 'leave', id: 'b' });
  // Left, or torn down: nothing is in the kernel.
  await one.ask({ call: 'apply', plan: planOf(1, { networks: [] }) });
  assert.doesNotMatch(cluster.ok(one.namespacePath, 'ip', '-br', 'link'), /ov-|vx-/);
  for (const node of [one, two]) await node.ask({ call: 'teardown' });
  for (const node of [one, two]) {
    assert.equal(cluster.ok(node.namespacePath, 'nft', 'list', 'ruleset'), '');
    assert.doesNotMatch(cluster.ok(node.namespacePath, 'ip', '-br', 'link'), /ov-|vx-|br-|docker/);
  }
});
