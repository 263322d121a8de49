import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlannedEndpoint } from '#model/network-plan.ts';
import { OverlayCluster } from './overlay-cluster.ts';
import { endpoint, network, planOf, service } from './plans.ts';

const INGRESS = 'ingressingressingressing1';
const near = endpoint({ node: 1, address: '10.78.0.11' });
const far = endpoint({ node: 2, address: '10.78.0.12' });

async function apply(
  cluster: OverlayCluster,
  endpoints: readonly PlannedEndpoint[],
  protocols: readonly ('tcp' | 'udp')[] = ['tcp', 'udp'],
  more: { localOnly?: boolean } = {},
): Promise<void> {
  const ingress = network({
    id: INGRESS,
    name: 'ingress',
    vni: 4096,
    subnet: '10.78.0.0/24',
    nodeAddress: '10.78.0.20N/24',
    nodes: [1, 2, 3],
    endpoints,
    services: [service('web', '10.78.0.2')],
  });
  const ports = protocols.map((protocol) => ({
    protocol,
    publishedPort: 8080,
    targetPort: 80,
    serviceId: 'id-web',
    ...more,
  }));
  for (const [index, node] of cluster.nodes.entries())
    await node.ask({
      call: 'apply',
      plan: planOf(index + 1, { networks: [ingress], ports, ingress: INGRESS }),
    });
}

test('a published port answers on every node: from a local task with the client’s address, from a remote one through the node', async () => {
  await using cluster = await OverlayCluster.start({ bridge: 'tme', nodes: 3 });
  const [one, two, three] = [cluster.node(1), cluster.node(2), cluster.node(3)];
  await apply(cluster, [near, far]);
  await one.ask({ call: 'join', id: 'near', networks: { ingress: near.address } });
  await two.ask({ call: 'join', id: 'far', networks: { ingress: far.address } });
  await cluster.serve(one.containerPath('near'), 'near', 80);
  await cluster.serve(two.containerPath('far'), 'far', 80);

  const { client } = cluster;
  const ask = (path: string, address: string, mode: 'once' | 'udp' = 'once'): string[] =>
    [...new Set(cluster.connect(path, address, 8080, 10, mode))].sort();
  for (const mode of ['once', 'udp'] as const) {
    assert.deepEqual(ask(client.namespacePath, one.address, mode), [`near ${client.address}`]);
    assert.deepEqual(ask(client.namespacePath, two.address, mode), [`far ${client.address}`]);
    // The third node has none: it asks both, behind its own address on the ingress network.
    assert.deepEqual(cluster.names(cluster.connect(client.namespacePath, three.address, 8080, 40, mode)), [
      'far 10.78.0.203',
      'near 10.78.0.203',
    ]);
    // from the node itself
    assert.match(ask(one.namespacePath, '127.0.0.1', mode)[0] ?? '', /^near /);
    assert.match(ask(one.namespacePath, one.address, mode)[0] ?? '', /^near /);
    assert.deepEqual(cluster.names(cluster.connect(three.namespacePath, '127.0.0.1', 8080, 40, mode)), [
      'far 10.78.0.203',
      'near 10.78.0.203',
    ]);
    // and from its containers, the task itself too
    assert.match(ask(one.containerPath('near'), one.address, mode)[0] ?? '', /^near /);
    assert.match(ask(two.containerPath('far'), two.address, mode)[0] ?? '', /^far /);
  }

  // A service that asks for its clients' own address is answered for by nodes that have a task of it, and by no other.
  await apply(cluster, [near, far], ['tcp'], { localOnly: true });
  assert.deepEqual(ask(client.namespacePath, one.address), [`near ${client.address}`]);
  assert.deepEqual(ask(client.namespacePath, two.address), [`far ${client.address}`]);
  assert.deepEqual(ask(client.namespacePath, three.address), ['ECONNREFUSED']);

  // A local task that does not serve: the node sends its clients to the other one.
  await apply(cluster, [{ ...near, serving: false }, far]);
  assert.deepEqual(ask(client.namespacePath, one.address), ['far 10.78.0.201']);
  // Nobody serves.
  await apply(
    cluster,
    [near, far].map((each) => ({ ...each, serving: false })),
  );
  for (const mode of ['once', 'udp'] as const) {
    // The kernel sends few ICMP messages a second to one machine: one is asked for.
    for (const [path, address] of [
      [client.namespacePath, one.address],
      [one.namespacePath, '127.0.0.1'],
    ] as const)
      assert.deepEqual(cluster.connect(path, address, 8080, 1, mode), ['ECONNREFUSED']);
  }
});

test('a published port is the node’s: nobody else binds it, and one that is taken is left alone', async () => {
  await using cluster = await OverlayCluster.start({ bridge: 'tmp', nodes: 1 });
  const one = cluster.node(1);
  await cluster.serve(one.namespacePath, 'stranger', 8080);
  await apply(cluster, [near], ['tcp']);
  await one.ask({ call: 'join', id: 'near', networks: { ingress: near.address } });
  await cluster.serve(one.containerPath('near'), 'near', 80);
  assert.deepEqual(cluster.connect(cluster.client.namespacePath, one.address, 8080), [
    `stranger ${cluster.client.address}`,
  ]);
  assert.deepEqual(await one.ask({ call: 'check', heal: false }), [
    'published port 8080/tcp is bound by another program on this node',
  ]);
  await cluster.end('stranger');
  await apply(cluster, [near], ['tcp']);
  assert.deepEqual(cluster.connect(cluster.client.namespacePath, one.address, 8080), [
    `near ${cluster.client.address}`,
  ]);
  const { stderr } = cluster.run(one.namespacePath, 'busybox', 'nc', '-l', '-p', '8080');
  assert.match(stderr, /Address already in use/);
  // No port, no table.
  await one.ask({ call: 'leave', id: 'near' });
  await one.ask({ call: 'apply', plan: planOf(1, { networks: [] }) });
  assert.doesNotMatch(cluster.ok(one.namespacePath, 'nft', 'list', 'tables'), /mesh/);
});
