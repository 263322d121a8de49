import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NetworkPlan, PlannedEncryption } from '#model/network-plan.ts';
import type { NodeEncryption } from '#model/node.ts';
import { OverlayCluster } from '../networks/overlay-cluster.ts';
import { endpoint, network, planOf } from '../networks/plans.ts';

const tasks = [1, 2].map((node) => endpoint({ node, address: `10.77.0.1${node}`, name: `web.${node}` }));
const SECRET = network({ encrypted: true, endpoints: tasks });
const OPEN = network({
  ...{ id: 'openopenopenopenopenopen1', name: 'open', subnet: '10.79.0.0/24', vni: 4099 },
  endpoints: tasks.map((task) => ({ ...task, address: task.address.replace('.77.', '.79.') })),
});
/** Of the cluster, as a manager makes them. */
const KEYS = [1, 2, 3, 4].map((number) => ({
  id: `key${number}`,
  key: Buffer.alloc(32, number).toString('base64'),
}));

/** Two machines with a task each on both networks, and what a manager does with what they say of themselves. */
class SecureCluster implements AsyncDisposable {
  readonly overlay: OverlayCluster;
  /** Of {@link KEYS}, how many have been forgotten. */
  #oldest = 0;

  private constructor(overlay: OverlayCluster) {
    this.overlay = overlay;
  }

  static async start(bridge: string): Promise<SecureCluster> {
    const cluster = new SecureCluster(await OverlayCluster.start({ bridge, nodes: 2 }));
    await cluster.plan();
    for (const number of [1, 2]) {
      const task = tasks[number - 1];
      assert.ok(task !== undefined);
      const networks = { net: task.address, open: task.address.replace('.77.', '.79.') };
      await cluster.overlay.node(number).ask({ call: 'join', id: `web${number}`, networks });
    }
    return cluster;
  }

  /** What each node has to know, until none of them says anything new. */
  async plan(networks = [SECRET, OPEN]): Promise<void> {
    for (let before = ''; ; ) {
      const salts = await this.salts();
      if (JSON.stringify(salts) === before) return;
      before = JSON.stringify(salts);
      for (const number of [1, 2]) {
        const isEncrypted = networks.some(({ encrypted }) => encrypted);
        const plan: NetworkPlan = {
          ...planOf(number, { networks }),
          ...(isEncrypted ? { encryption: this.encryption(number, salts) } : {}),
        };
        await this.overlay.node(number).ask({ call: 'apply', plan });
      }
    }
  }

  /** The next key is made, and the one before is sent by. */
  async rotate(): Promise<void> {
    this.#oldest += 1;
    await this.plan();
  }

  encryption(number: number, salts: readonly (readonly string[])[]): PlannedEncryption {
    const peer = 3 - number;
    return {
      keys: KEYS.slice(this.#oldest, this.#oldest + 3),
      primary: KEYS[this.#oldest + 1]?.id ?? '',
      salts: salts[number - 1] ?? [],
      peers: [{ nodeId: `n${peer}`, address: `192.0.2.${peer}`, salts: salts[peer - 1] ?? [] }],
    };
  }

  async salts(): Promise<string[][]> {
    const said = await Promise.all(
      this.overlay.nodes.map((node) => node.ask({ call: 'standing' }) as Promise<NodeEncryption>),
    );
    assert.deepEqual(
      said.map(({ problem }) => problem),
      [undefined, undefined],
    );
    return said.map(({ salts }) => salts);
  }

  path(number: number): string {
    return this.overlay.node(number).containerPath(`web${number}`);
  }

  /** Counts packets that reach a machine, as they are on the wire. */
  count(number: number): { read(): { esp: number; plain: number; open: number; cut: number } } {
    const { namespacePath } = this.overlay.node(number);
    this.overlay.ok(
      namespacePath,
      'nft',
      `table netdev wire {
        counter sealed {}
        counter plain {}
        counter open {}
        counter cut {}
        chain ingress {
          type filter hook ingress device "eth0" priority 0;
          ip protocol esp counter name "sealed"
          udp dport 4790 counter name "plain"
          udp dport 4789 counter name "open"
          ip frag-off & 0x3fff != 0 counter name "cut"
        }
      }`,
    );
    const packets = (name: string): number => {
      const text = this.overlay.ok(namespacePath, 'nft', 'list', 'counter', 'netdev', 'wire', name);
      return Number(/packets (\d+)/.exec(text)?.[1]);
    };
    return {
      read: () => ({
        esp: packets('sealed'),
        plain: packets('plain'),
        open: packets('open'),
        cut: packets('cut'),
      }),
    };
  }

  /** The SPI that the first machine sends by. */
  sentBy(): string {
    const out = /src 192\.0\.2\.1 dst 192\.0\.2\.2\s+proto esp spi (0x\w+)/;
    return out.exec(this.kernel(1))?.[1] ?? '';
  }

  kernel(number: number): string {
    const { namespacePath } = this.overlay.node(number);
    return ['state', 'policy'].map((what) => this.overlay.ok(namespacePath, 'ip', 'xfrm', what)).join('');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.overlay.nodes)
      this.overlay.run(node.namespacePath, 'nft', 'delete', 'table', 'netdev', 'wire');
    await this.overlay[Symbol.asyncDispose]();
  }
}

const isSent = (cluster: SecureCluster, from: number, to: string): boolean =>
  cluster.overlay.run(cluster.path(from), 'busybox', 'ping', '-c', '1', '-W', '2', to).status === 0;

test('what containers of an encrypted network say is in ESP, and what is not is dropped', async () => {
  await using cluster = await SecureCluster.start('tse');
  const { overlay } = cluster;
  await overlay.serve(cluster.path(2), 'web2', 80);
  const wire = cluster.count(2);
  assert.match(overlay.connect(cluster.path(1), '10.77.0.12', 80)[0] ?? '', /^web2 /);
  assert.equal(wire.read().plain, 0);
  assert.ok(wire.read().esp >= 4, 'a connection went by in ESP');
  // An open network beside it is what it was.
  const { open } = wire.read();
  assert.match(overlay.connect(cluster.path(1), '10.79.0.12', 80)[0] ?? '', /^web2 /);
  assert.ok(wire.read().open >= open + 4);
  assert.equal(wire.read().plain, 0);
  // The largest packet fits without being cut up.
  const mtu = Number(/mtu (\d+)/.exec(overlay.ok(cluster.path(1), 'ip', 'link', 'show', 'eth0'))?.[1]);
  assert.equal(mtu, 1416);
  overlay.ok(cluster.path(1), 'busybox', 'ping', '-c', '1', '-W', '5', '-s', String(mtu - 28), '10.77.0.12');
  assert.equal(wire.read().cut, 0);

  // Somebody who has the peer's address sends frames of the network in plaintext, to either port.
  const strangers = `table netdev task {
    counter strangers {}
    chain ingress {
      type filter hook ingress device "eth0" priority 0;
      ether saddr 02:42:0a:4d:00:63 counter name "strangers"
    }
  }`;
  overlay.ok(cluster.path(2), 'nft', strangers);
  const before = wire.read();
  for (const port of [4789, 4790]) {
    const program = `
      const { createSocket } = await import('node:dgram');
      const mac = (last) => Buffer.from([2, 0x42, 10, 77, 0, last]);
      const frame = Buffer.concat([mac(12), mac(99), Buffer.from([0x08, 0x00]), Buffer.alloc(46)]);
      const head = Buffer.from([8, 0, 0, 0, 0, ${SECRET.vni >> 8}, ${SECRET.vni & 255}, 0]);
      const socket = createSocket('udp4');
      socket.bind(5000, '192.0.2.100', () =>
        socket.send(Buffer.concat([head, frame]), ${port}, '192.0.2.2', () => socket.close()));`;
    overlay.ok(overlay.client.namespacePath, process.execPath, '--input-type=module', '-e', program);
  }
  assert.equal(wire.read().plain, 1);
  assert.ok(wire.read().open > before.open);
  assert.match(overlay.ok(cluster.path(2), 'nft', 'list', 'counters'), /packets 0 bytes 0/);
  overlay.ok(cluster.path(2), 'nft', 'delete', 'table', 'netdev', 'task');
});

test('each of the two locks holds alone, for what would leave and for what comes', async () => {
  await using cluster = await SecureCluster.start('tsl');
  const { overlay } = cluster;
  const [one, two] = [overlay.node(1).namespacePath, overlay.node(2).namespacePath];
  const wire = cluster.count(2);
  assert.ok(isSent(cluster, 1, '10.77.0.12'));
  // Without policies packets would leave as they are.
  overlay.ok(one, 'ip', 'xfrm', 'policy', 'flush');
  assert.ok(!isSent(cluster, 1, '10.77.0.12'));
  assert.equal(wire.read().plain, 0);
  assert.ok(((await overlay.node(1).ask({ call: 'check', heal: true })) as string[]).length > 0);
  assert.ok(isSent(cluster, 1, '10.77.0.12'));
  // Without rules policies hold, with no association to send by.
  overlay.ok(one, 'nft', 'delete', 'table', 'ip', 'drover_vxlan_docker0');
  const selector = 'src 192.0.2.1/32 dst 192.0.2.2/32 proto udp dport 4790 dir out';
  overlay.ok(one, 'ip', 'xfrm', 'policy', 'delete', ...selector.split(' '));
  assert.ok(!isSent(cluster, 1, '10.77.0.12'));
  assert.equal(wire.read().plain, 0);
  // What comes in plaintext from the peer itself, which has lost both.
  overlay.ok(one, 'ip', 'xfrm', 'policy', 'flush');
  assert.ok(!isSent(cluster, 1, '10.77.0.12'));
  assert.ok(wire.read().plain > 0, 'it came');
  const stat = (): number =>
    Number(
      /XfrmIn(?:TmplMismatch|NoPols)\s+([1-9]\d*)/.exec(overlay.ok(two, 'cat', '/proc/net/xfrm_stat'))?.[1] ??
        0,
    );
  // The rule comes first; without it the policy.
  overlay.ok(two, 'nft', 'delete', 'table', 'ip', 'drover_vxlan_docker0');
  const before = stat();
  assert.ok(!isSent(cluster, 1, '10.77.0.12'));
  assert.ok(stat() > before, 'the policy dropped it');
});

test('keys change under a connection that does not notice, and a restarted daemon goes on where it was', async () => {
  await using cluster = await SecureCluster.start('tsk');
  const { overlay } = cluster;
  await overlay.serve(cluster.path(2), 'web2', 80);
  const open = overlay.hold(cluster.path(1), '10.77.0.12', 80);
  const first = await open.ask();
  const ping = overlay.leave(cluster.path(1), 'busybox', 'ping', '-i', '0.05', '-c', '200', '10.77.0.12');
  let said = '';
  ping.stdout.on('data', (data) => {
    said += String(data);
  });
  const before = cluster.sentBy();
  const salts = await cluster.salts();
  await cluster.rotate();
  await cluster.rotate();
  assert.equal(await open.ask(), first);
  // two rotations later nothing is left of the key that was sent by, and no salt was needed
  assert.ok(before !== '' && !cluster.kernel(1).includes(before));
  assert.deepEqual(await cluster.salts(), salts);
  if (ping.exitCode === null) await new Promise((resolve) => ping.once('exit', resolve));
  assert.match(said, /200 packets transmitted, 200 packets received, 0% packet loss/);

  const kernel = cluster.kernel(1);
  await overlay.node(1).kill();
  assert.ok(isSent(cluster, 1, '10.77.0.12'));
  await overlay.node(1).start();
  // Without a manager nothing is changed, and nothing is known of the keys.
  assert.ok(isSent(cluster, 1, '10.77.0.12'));
  assert.equal(withoutCounters(cluster.kernel(1)), withoutCounters(kernel));
  await cluster.plan();
  assert.equal(withoutCounters(cluster.kernel(1)), withoutCounters(kernel));
  assert.deepEqual(await cluster.salts(), salts);
  assert.equal(await open.ask(), first);
  assert.deepEqual(await overlay.node(1).ask({ call: 'check', heal: false }), []);
});

test('an association that is lost is never made again: another one takes its place', async () => {
  await using cluster = await SecureCluster.start('tsn');
  const { overlay } = cluster;
  const keysOf = (number: number): string[] =>
    [...cluster.kernel(number).matchAll(/rfc4106\S+ (0x\w+)/g)].map(([, key = '']) => key);
  const [lost, used] = [cluster.sentBy(), keysOf(1)];
  overlay.ok(overlay.node(1).namespacePath, 'ip', 'xfrm', 'state', 'flush');
  assert.ok(!isSent(cluster, 1, '10.77.0.12'));
  const [one] = await cluster.salts();
  await overlay.node(1).ask({ call: 'check', heal: true });
  assert.notDeepEqual((await cluster.salts())[0], one);
  await cluster.plan();
  assert.ok(isSent(cluster, 1, '10.77.0.12'));
  assert.ok(lost !== '' && !cluster.kernel(1).includes(lost));
  assert.ok(cluster.kernel(2).includes(cluster.sentBy()), 'its peer receives by it');
  // what is received by is the same, what is sent by another
  const now = keysOf(1);
  assert.deepEqual([used.length, now.length], [4, 4]);
  assert.equal(now.filter((key) => !used.includes(key)).length, 1);
});

test('without encrypted networks nothing is left, and they come back', async () => {
  await using cluster = await SecureCluster.start('tsg');
  const { overlay } = cluster;
  assert.notEqual(cluster.kernel(1), '');
  for (const number of [1, 2]) await overlay.node(number).ask({ call: 'leave', id: `web${number}` });
  await cluster.plan([OPEN]);
  assert.deepEqual([cluster.kernel(1), cluster.kernel(2)], ['', '']);
  await cluster.plan();
  const task = tasks[0];
  assert.ok(task !== undefined);
  for (const number of [1, 2])
    await overlay.node(number).ask({
      ...{ call: 'join', id: `web${number}` },
      networks: { net: `10.77.0.1${number}` },
    });
  assert.ok(isSent(cluster, 1, '10.77.0.12'));
  // A peer that leaves takes its associations with it.
  const plan = planOf(1, {
    networks: [network({ encrypted: true, endpoints: tasks.slice(0, 1), nodes: [1] })],
  });
  const salts = await cluster.salts();
  await overlay.node(1).ask({
    call: 'apply',
    plan: { ...plan, encryption: { ...cluster.encryption(1, salts), peers: [] } },
  });
  assert.doesNotMatch(cluster.kernel(1), /spi 0x/);
  await overlay.node(1).ask({ call: 'teardown' });
  assert.equal(cluster.kernel(1), '');
});

function withoutCounters(text: string): string {
  return text.replace(/seq 0x\w+|oseq 0x\w+|anti-replay[\s\S]*?(?=\n\S|\n\tsel|$)/g, '');
}
