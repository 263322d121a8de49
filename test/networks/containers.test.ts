import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { OverlayNetworks } from '#engine/networks/overlay-networks.ts';
import { EngineFixture } from '../containers/engine-fixture.ts';
import { endpoint, network, planOf, service } from './plans.ts';

const VIP = '10.81.0.2';
const tasks = [11, 12].map((last) =>
  endpoint({ node: 1, address: `10.81.0.${last}`, name: `web.${last - 10}` }),
);
const NET = network({
  id: 'tasktasktasktasktasktask1',
  vni: 4110,
  subnet: '10.81.0.0/24',
  nodes: [1],
  endpoints: tasks,
  services: [service('web', VIP)],
});
/** This node's only address is the loopback's, which does for one that has no peers. */
const PLAN = { ...planOf(1, { networks: [NET] }), dataPathAddress: '127.0.0.1', dataPathPort: 4790 };

function overlaysOf(engine: EngineFixture): OverlayNetworks {
  const { records, networks, roots } = engine;
  const overlays = new OverlayNetworks({
    records,
    networks,
    bridge: roots.bridge,
    log: pino({ level: 'silent' }),
  });
  overlays.start();
  return overlays;
}

test('containers of tasks find their service, and a new daemon takes them over', async () => {
  await using stack = new AsyncDisposableStack();
  let engine = await EngineFixture.make('dvc5');
  let overlays = overlaysOf(engine);
  stack.defer(async () => {
    const left = engine.containers.list({ all: true, limit: 0, filters: {} });
    for (const { id } of left)
      await engine.containers.remove(id, { force: true, volumes: true, link: false });
    overlays.teardown();
    await overlays[Symbol.asyncDispose]();
    await engine[Symbol.asyncDispose]();
  });
  await overlays.apply(PLAN);
  const ids: string[] = [];
  for (const [index, { address }] of tasks.entries()) {
    const { id } = await engine.containers.create({
      name: `web.${index + 1}`,
      config: {
        Image: 'busybox',
        Cmd: ['nc', '-ll', '-p', '80', '-e', 'echo', `web.${index + 1}`],
        Labels: { 'com.docker.swarm.task': '' },
      },
      hostConfig: { NetworkMode: 'net' },
      endpoints: { net: { IPAMConfig: { IPv4Address: address } } },
    });
    await engine.containers.startContainer(id);
    ids.push(id);
  }
  const [first = '', second = ''] = ids;
  // The static busybox of the tests resolves names in nslookup only.
  const addressOf = async (name: string): Promise<string> => {
    const { stdout } = await engine.runExec(first, ['nslookup', '-type=a', name]);
    return /^Name:.*\nAddress: (\S+)$/m.exec(stdout)?.[1] ?? '';
  };
  const asked = async (name: string): Promise<string> =>
    (await engine.runExec(first, ['nc', '-w', '5', await addressOf(name), '80'])).stdout.trim();
  // started is not yet listening
  for (const name of ['web.1', 'web.2']) while ((await asked(name)) !== name);
  const answers = new Set<string>();
  while (answers.size < 2) answers.add(await asked('web'));
  assert.deepEqual([...answers].sort(), ['web.1', 'web.2']);

  await overlays[Symbol.asyncDispose]();
  engine = await EngineFixture.takeOver(await engine.die());
  overlays = overlaysOf(engine);
  assert.deepEqual(await overlays.check({ heal: false }), []);
  assert.equal(await asked('web.2.net'), 'web.2');
  // A task that ends is answered for no more, by name or by virtual IP.
  await engine.containers.stopContainer(second, { timeoutSeconds: 0 });
  for (let count = 0; count < 10; count++) assert.equal(await asked('web'), 'web.1');
  assert.equal(await addressOf('web.2'), '');
  assert.equal(engine.networks.resolve('net').Driver, 'overlay');
  assert.throws(() => engine.networks.remove('net'), /network net is the cluster's/);
});
