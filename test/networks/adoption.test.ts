import assert from 'node:assert/strict';
import { test } from 'node:test';
import { espProblem } from '#linux/xfrm.ts';
import { OverlayCluster } from './overlay-cluster.ts';
import { endpoint, network, planOf, service } from './plans.ts';

const VIP = '10.77.0.2';
const INGRESS = 'ingressingressingressing1';
const near = endpoint({ node: 1, address: '10.77.0.11', name: 'web.1' });
const far = endpoint({ node: 2, address: '10.77.0.12', name: 'web.2' });
const NET = network({ endpoints: [near, far], services: [service('web', VIP)] });
const MESH = network({
  id: INGRESS,
  name: 'ingress',
  subnet: '10.78.0.0/24',
  vni: 4096,
  nodeAddress: '10.78.0.20N/24',
  endpoints: [near, far].map((each) => ({ ...each, address: each.address.replace('.77.', '.78.') })),
  services: [service('web', '10.78.0.2')],
});
const PLANS = [1, 2].map((node) =>
  planOf(node, {
    networks: [MESH, NET],
    ports: [{ protocol: 'tcp', publishedPort: 8080, targetPort: 80, serviceId: 'id-web' }],
    ingress: INGRESS,
  }),
);

async function start(bridge: string): Promise<OverlayCluster> {
  const cluster = await OverlayCluster.start({ bridge, nodes: 2 });
  for (const [index, node] of cluster.nodes.entries()) {
    const plan = PLANS[index];
    assert.ok(plan !== undefined);
    await node.ask({ call: 'apply', plan });
    const task = index === 0 ? near : far;
    await node.ask({
      call: 'join',
      id: `web${index + 1}`,
      networks: { ingress: task.address.replace('.77.', '.78.'), net: task.address },
      publish: { '80/tcp': '9090' },
    });
    await cluster.serve(node.containerPath(`web${index + 1}`), `web${index + 1}`, 80);
  }
  return cluster;
}

test('a daemon that dies takes nothing with it, and the next one takes everything over', async () => {
  await using cluster = await start('tad');
  const one = cluster.node(1);
  const path = one.containerPath('web1');
  const answers = (): string[] =>
    cluster.names(cluster.connect(path, VIP, 80, 40).map((line) => line.split(' ')[0] ?? ''));
  const open = cluster.hold(path, VIP, 80);
  const first = await open.ask();
  const kernel = (): string[] => [
    cluster.ok(one.namespacePath, 'ip', '-o', 'link').replace(/ qlen \d+/g, ''),
    cluster.ok(one.namespacePath, 'bridge', 'fdb', 'show', 'dynamic'),
    cluster.ok(one.namespacePath, 'nft', '-a', 'list', 'table', 'ip', 'drover_mesh_docker0'),
    cluster.ok(path, 'nft', '-a', 'list', 'ruleset'),
  ];
  const before = kernel();

  await one.kill();
  assert.deepEqual(answers(), ['web1', 'web2']);
  assert.match(cluster.connect(cluster.client.namespacePath, one.address, 8080)[0] ?? '', /^web1 /);
  await one.start();
  // The same links and rules, by their numbers; no manager was asked, and names are answered.
  assert.deepEqual(kernel(), before);
  assert.deepEqual(await one.ask({ call: 'check', heal: false }), []);
  assert.equal(await open.ask(), first);
  const server =
    /nameserver (\S+)/.exec(String(await one.ask({ call: 'resolvConf', id: 'web1' })))?.[1] ?? '';
  assert.deepEqual(cluster.resolve(path, server, 'web', 'a'), [VIP]);
  assert.match(cluster.connect(cluster.client.namespacePath, one.address, 8080)[0] ?? '', /^web1 /);
  // A port of the container's own, not of the mesh, likewise.
  assert.match(cluster.connect(cluster.client.namespacePath, one.address, 9090)[0] ?? '', /^web1 /);
  // What goes on after it is changed by the new daemon.
  await one.ask({ call: 'leave', id: 'web1' });
  assert.match(cluster.connect(cluster.client.namespacePath, one.address, 8080)[0] ?? '', /^web2 /);
});

test('check finds what others changed, says it, and heals it', async () => {
  await using cluster = await start('tch');
  const one = cluster.node(1);
  const host = one.namespacePath;
  const path = one.containerPath('web1');
  assert.deepEqual(await one.ask({ call: 'check', heal: false }), []);
  const vxlan = `vx-${NET.id.slice(0, 12)}`;
  const mac = '02:42:0a:4d:00:0c';
  const damages: [string[], string, RegExp][] = [
    [
      ['bridge', 'fdb', 'del', mac, 'dev', vxlan, 'dst', '192.0.2.2', 'self'],
      host,
      /frames to 02:42:0a:4d:00:0c do not go to node 192.0.2.2/,
    ],
    [
      ['bridge', 'fdb', 'del', '00:00:00:00:00:00', 'dev', vxlan, 'dst', '192.0.2.2', 'self'],
      host,
      /broadcasts do not go to node 192.0.2.2/,
    ],
    [['ip', 'neigh', 'del', far.address, 'dev', vxlan], host, /ARP for 10.77.0.12 is not answered/],
    [
      ['ip', 'neigh', 'add', '10.77.0.99', 'lladdr', mac, 'dev', vxlan],
      host,
      /ARP for 10.77.0.99 is answered, but/,
    ],
    [
      ['ip', 'link', 'set', vxlan, 'mtu', '1300'],
      host,
      /its VXLAN device is not VNI 4097 on 192.0.2.1:4789 with MTU 1450/,
    ],
    [['ip', 'link', 'del', vxlan], host, /its VXLAN device is missing/],
    [
      ['nft', 'delete', 'element', 'ip', 'drover_services', 'balanced', '{', VIP, '}'],
      path,
      /container web1: virtual IP 10.77.0.2 leads to nothing, not to 10.77.0.11, 10.77.0.12/,
    ],
    [
      ['nft', 'flush', 'chain', 'ip', 'drover_services', 'output'],
      path,
      /container web1: the table is missing, or its rules were changed/,
    ],
    [['nft', 'delete', 'table', 'ip', 'drover_services'], path, /container web1: the table is missing/],
    [
      ['nft', 'delete', 'element', 'ip', 'drover_mesh_docker0', 'balanced', '{', 'tcp', '.', '8080', '}'],
      host,
      /published port 8080\/tcp leads to nothing, not to 172/,
    ],
  ];
  for (const [command, where, sentence] of damages) {
    cluster.ok(where, ...command);
    const found = await one.ask({ call: 'check', heal: true });
    assert.ok(Array.isArray(found));
    assert.ok(
      found.some((each) => sentence.test(String(each))),
      `${command.join(' ')}: ${found.join('\n')}`,
    );
    assert.deepEqual(await one.ask({ call: 'check', heal: false }), [], command.join(' '));
  }
  const answered = cluster.connect(path, VIP, 80, 40).map((line) => line.split(' ')[0] ?? '');
  assert.deepEqual(cluster.names(answered), ['web1', 'web2']);
  assert.match(cluster.connect(cluster.client.namespacePath, one.address, 8080)[0] ?? '', /^web1 /);
});

test('without ESP in the kernel an encrypted network is refused by name, and the others are made', async (t) => {
  if (espProblem() === undefined) return t.skip('this kernel has ESP: test/machine has the tests');
  await using cluster = await OverlayCluster.start({ bridge: 'ten', nodes: 1 });
  const one = cluster.node(1);
  const secret = network({ id: 'secretsecretsecretsecret1', name: 'secret', vni: 4099, encrypted: true });
  await assert.rejects(
    one.ask({ call: 'apply', plan: planOf(1, { networks: [secret, NET] }) }),
    /network secret is encrypted, which this node cannot do: its kernel has no /,
  );
  assert.match(String(await one.ask({ call: 'check', heal: true })), /^network secret is encrypted, which/);
  assert.match(cluster.ok(one.namespacePath, 'ip', '-br', 'link'), /vx-netnetnetnet/);
  assert.doesNotMatch(cluster.ok(one.namespacePath, 'ip', '-br', 'link'), /secret/);
});
