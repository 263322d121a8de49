import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BUSYBOX, eventually } from '../support/docker-host.ts';
import { TestCloud } from '../support/test-cloud.ts';

const LIMIT_MS = 120_000;

test('a swarm encrypts a network, also after a node lost its power, and leaves nothing', async () => {
  await using cloud = await TestCloud.up('--nodes', '2', '--managers', '1', '--memory-root');
  const onNode = (number: number, ...argv: string[]): string =>
    cloud.ok('exec', 'c', `node${number}`, '--', ...argv);
  const xfrm = (number: number): string =>
    onNode(number, 'ip', 'xfrm', 'state') + onNode(number, 'ip', 'xfrm', 'policy');
  for (const number of [1, 2]) cloud.docker(number, 'import', BUSYBOX, 'bb');
  cloud.docker(1, 'network', 'create', '-d', 'overlay', '--opt', 'encrypted', 'secret');
  const service = ['--name', 'web', '--mode', 'global', '--network', 'secret', '--stop-grace-period', '0s'];
  cloud.docker(1, 'service', 'create', '-d', '--no-resolve-image', ...service, 'bb', 'sleep', '10000');
  const container = (number: number): string => cloud.docker(number, 'ps', '-q', '--filter', 'name=web');
  const isRunning = (): boolean =>
    cloud
      .docker(1, 'service', 'ps', 'web', '--filter', 'desired-state=running', '--format', '{{.CurrentState}}')
      .split('\n')
      .filter((state) => state.startsWith('Running')).length === 2;
  await eventually(isRunning, 'both tasks run', LIMIT_MS);
  const address = '{{(index .NetworkSettings.Networks "secret").IPAddress}}';
  const reaches = async (from: number): Promise<boolean> => {
    const to = cloud.docker(3 - from, 'inspect', '-f', address, container(3 - from));
    const ping = ['exec', container(from), 'ping', '-c', '1', '-W', '2', to];
    return (await cloud.dockerResult(from, ping)).status === 0;
  };
  await eventually(() => reaches(1), 'node 1 reaches node 2', LIMIT_MS);
  const out = /src (\S+) dst (\S+)\n\tproto esp spi (0x\w+)/g;
  const spis = (number: number): string[] => [...xfrm(number).matchAll(out)].map(([, , , spi = '']) => spi);
  const before = spis(2);
  // two keys of the peer, one of its own
  assert.equal(before.length, 3);
  assert.ok(spis(1).filter((spi) => before.includes(spi)).length >= 2, 'they agree');
  assert.doesNotMatch(cloud.docker(1, 'node', 'inspect', 'node1', 'node2'), /salt/i);

  const own = (number: number): string => {
    const ip = onNode(number, 'sh', '-c', "ip -o -4 addr show eth0 | awk '{print $4}'").split('/')[0] ?? '';
    return [...xfrm(number).matchAll(out)].find(([, source]) => source === ip)?.[3] ?? '';
  };

  cloud.ok('kill', 'c', 'node2');
  cloud.ok('start', 'c', 'node2');
  assert.ok(await reaches(1), 'containers have not noticed');
  assert.ok(before.includes(own(2)), 'the daemon goes on with what is there');

  cloud.ok('crash', 'c', 'node2');
  cloud.ok('start', 'c', 'node2');
  await eventually(() => cloud.docker(2, 'ps', '-q', '--filter', 'name=web') !== '', 'it runs', LIMIT_MS);
  await eventually(() => reaches(2), 'node 2 reaches node 1', LIMIT_MS);
  await eventually(() => reaches(1), 'node 1 reaches node 2', LIMIT_MS);
  assert.notEqual(own(2), '');
  assert.ok(!before.includes(own(2)), 'what it sent by before is never sent by again');

  cloud.docker(1, 'service', 'rm', 'web');
  for (const number of [1, 2])
    await eventually(() => xfrm(number) === '', `nothing is left on node ${number}`, LIMIT_MS);
  cloud.docker(1, 'network', 'rm', 'secret');
});
