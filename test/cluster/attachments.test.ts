import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { DROVER } from '../support/api-daemon.ts';
import { BUSYBOX, eventually, type Result } from '../support/docker-host.ts';
import { TestCloud } from '../support/test-cloud.ts';

const cloud = await TestCloud.up('--nodes', '3', '--managers', '1', '--memory-root');
after(() => cloud[Symbol.asyncDispose]());

for (const node of [1, 2, 3]) cloud.docker(node, 'import', BUSYBOX, 'bb');
cloud.docker(1, 'network', 'create', '-d', 'overlay', '--attachable', 'net');
cloud.docker(1, 'network', 'create', '-d', 'overlay', 'closed');
const page = 'mkdir -p /w; echo hello > /w/index.html; exec httpd -f -p 80 -h /w';
cloud.docker(
  1,
  ...['service', 'create', '-q', '--detach', '--no-resolve-image', '--name', 'web', '--network', 'net'],
  ...['--constraint', 'node.hostname==node3', '--stop-grace-period', '0s', 'bb', 'sh', '-c', page],
);
const task = (): string => cloud.docker(3, 'ps', '-q', '--filter', 'label=com.docker.swarm.service.name=web');
await eventually(() => task() !== '', 'web runs');

beforeEach(() => {
  for (const node of [1, 2, 3]) {
    const left = cloud.docker(node, 'ps', '-aq', '--filter', 'is-task=false').split('\n').filter(Boolean);
    if (left.length > 0) cloud.docker(node, 'rm', '-f', ...left);
  }
});

function docker(node: number, ...argv: string[]): Result {
  return spawnSync('docker', ['-H', `unix://${cloud.socket(node)}`, ...argv], {
    encoding: 'utf8',
    timeout: 60_000,
  });
}

function drover(node: number, ...argv: string[]): string {
  const done = spawnSync(DROVER, ['-H', `unix://${cloud.socket(node)}`, ...argv], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return done.stdout + done.stderr;
}

/** A container that stays, on `net`. */
function run(node: number, name: string, ...flags: string[]): void {
  cloud.docker(node, 'run', '-d', '--name', name, '--stop-timeout', '0', ...flags, 'bb', 'sleep', '1000');
}

function addressOf(node: number, name: string, network = 'net'): string {
  return cloud.docker(
    node,
    'inspect',
    name,
    '--format',
    `{{.NetworkSettings.Networks.${network}.IPAddress}}`,
  );
}

/** Whether a container reaches another by a name, which may take a moment to be known everywhere. */
async function reaches(node: number, container: string, name: string): Promise<void> {
  await eventually(
    () => docker(node, 'exec', container, 'ping', '-c', '1', '-W', '1', name).status === 0,
    `${container} on node ${node} reaches ${name}`,
  );
}

test('containers of workers and tasks of other nodes find each other by their names', async () => {
  run(2, 'plain', '--network', 'net', '--network-alias', 'ali');
  run(1, 'other', '--network', 'net');
  assert.equal(cloud.docker(2, 'exec', 'plain', 'wget', '-qO-', 'http://web/'), 'hello');
  for (const name of ['plain', 'ali', 'plain.net', cloud.docker(2, 'ps', '-q', '--filter', 'name=plain')])
    await reaches(3, task(), name);
  await reaches(1, 'other', 'ali');
  await reaches(2, 'plain', 'other');
  await reaches(2, 'plain', `tasks.web`);
  cloud.docker(2, 'rename', 'plain', 'fancy');
  await reaches(3, task(), 'fancy');
  await eventually(
    () => docker(3, 'exec', task(), 'nslookup', 'plain').status !== 0,
    'the old name leads nowhere',
  );
});

test('a container cannot take the name of a service', async () => {
  run(2, 'web', '--network', 'net');
  run(1, 'other', '--network', 'net', '--network-alias', 'TASKS.web');
  const address = addressOf(2, 'web');
  await reaches(3, task(), address);
  const answer = cloud.docker(3, 'exec', task(), 'nslookup', 'web');
  assert.ok(!answer.includes(address), answer);
  const tasks = cloud.docker(3, 'exec', task(), 'nslookup', 'tasks.web');
  assert.ok(!tasks.includes(addressOf(1, 'other')), tasks);
});

test('what is not attachable, or not there, is refused in Docker’s words', () => {
  const refused =
    'Could not attach to network closed: rpc error: code = PermissionDenied desc = network closed not manually attachable';
  run(2, 'plain');
  for (const node of [1, 2]) {
    const { status, stderr } = docker(node, 'run', '--rm', '--network', 'closed', 'bb', 'true');
    assert.equal(status, 125);
    assert.ok(stderr.includes(refused), stderr);
    assert.match(
      docker(node, 'run', '--rm', '--network', 'nope', 'bb', 'true').stderr,
      /network nope not found/,
    );
  }
  assert.ok(docker(2, 'network', 'connect', 'closed', 'plain').stderr.includes(refused));
  assert.match(docker(2, 'network', 'inspect', 'closed').stderr, /network closed not found/);
});

test('an address that is asked for is given, is nobody else’s, and is free when its container has ended', async () => {
  run(2, 'plain', '--network', 'net', '--ip', '10.0.1.77');
  assert.equal(addressOf(2, 'plain'), '10.0.1.77');
  const again = ['run', '--rm', '--network', 'net', '--ip', '10.0.1.77', 'bb', 'true'];
  assert.match(docker(3, ...again).stderr, /Address already in use/);
  const vip = JSON.parse(
    cloud.docker(1, 'service', 'inspect', 'web', '--format', '{{json .Endpoint.VirtualIPs}}'),
  );
  const taken = vip[0].Addr.split('/')[0];
  assert.match(
    docker(2, 'run', '--rm', '--network', 'net', '--ip', taken, 'bb', 'true').stderr,
    /Address already in use/,
  );
  assert.match(
    docker(2, 'run', '--rm', '--network', 'net', '--ip', '10.99.1.1', 'bb', 'true').stderr,
    /no configured subnet or ip-range contain the IP address 10\.99\.1\.1/,
  );
  cloud.docker(2, 'stop', 'plain');
  await eventually(() => docker(3, ...again).status === 0, 'the address is free');
  await eventually(() => docker(2, 'start', 'plain').status === 0, 'it is free again');
  assert.equal(addressOf(2, 'plain'), '10.0.1.77');
});

test('a container is put on the network and taken off while it runs, or for its next start', async () => {
  run(2, 'plain', '-p', '127.0.0.1:8077:80');
  cloud.docker(2, 'network', 'connect', '--alias', 'late', 'net', 'plain');
  assert.match(docker(2, 'network', 'connect', 'net', 'plain').stderr, /already exists in network net/);
  assert.equal(cloud.docker(2, 'exec', 'plain', 'wget', '-qO-', 'http://web/'), 'hello');
  await reaches(3, task(), 'late');
  const containers = cloud.docker(2, 'network', 'inspect', 'net', '--format', '{{json .Containers}}');
  assert.ok(containers.includes('"plain"'), containers);
  const shown = '{{.Name}} {{.Scope}} {{.Driver}} {{.Attachable}}';
  assert.equal(cloud.docker(2, 'network', 'inspect', 'net', '--format', shown), 'net swarm overlay true');
  assert.match(cloud.docker(2, 'network', 'ls', '--format', '{{.Name}} {{.Scope}}'), /^net swarm$/m);
  cloud.docker(2, 'network', 'disconnect', 'net', 'plain');
  await eventually(
    () => docker(3, 'exec', task(), 'nslookup', 'late').status !== 0,
    'its name leads nowhere any more',
  );
  assert.equal(docker(2, 'exec', 'plain', 'ping', '-c', '1', '-W', '1', 'web').status, 1);
  await eventually(
    () => !cloud.docker(2, 'network', 'ls', '--format', '{{.Name}}').includes('net'),
    'the worker has no part of the network any more',
  );
  cloud.docker(2, 'stop', 'plain');
  cloud.docker(2, 'network', 'connect', 'net', 'plain');
  cloud.docker(2, 'start', 'plain');
  assert.equal(cloud.docker(2, 'exec', 'plain', 'wget', '-qO-', 'http://web/'), 'hello');
});

test('off one of several networks, a container still gets out, and off all it has none', async () => {
  cloud.docker(1, 'network', 'create', '-d', 'overlay', '--attachable', 'second');
  run(2, 'plain', '--network', 'net');
  cloud.docker(2, 'network', 'connect', 'second', 'plain');
  cloud.docker(2, 'network', 'disconnect', 'net', 'plain');
  const route = (): string => cloud.docker(2, 'exec', 'plain', 'ip', 'route');
  assert.match(route(), /default via 172\./);
  cloud.docker(2, 'network', 'disconnect', 'second', 'plain');
  assert.equal(route(), '');
  cloud.docker(2, 'network', 'connect', 'net', 'plain');
  assert.match(route(), /default via 172\./);
  assert.equal(cloud.docker(2, 'exec', 'plain', 'wget', '-qO-', 'http://web/'), 'hello');
  await eventually(() => docker(1, 'network', 'rm', 'second').status === 0, 'nobody is on the second one');
});

test('a network with a container on it is not removed, and one that the container has left is', async () => {
  cloud.docker(1, 'network', 'create', '-d', 'overlay', '--attachable', 'short');
  run(2, 'plain', '--network', 'short');
  assert.match(docker(1, 'network', 'rm', 'short').stderr, /network \S+ is in use by task \S+/);
  cloud.docker(1, 'network', 'prune', '-f');
  cloud.docker(1, 'network', 'inspect', 'short');
  cloud.docker(2, 'rm', '-f', 'plain');
  await eventually(() => docker(1, 'network', 'rm', 'short').status === 0, 'the network can be removed');
});

test('a container that is on the network alone publishes ports of its node', async () => {
  cloud.docker(
    2,
    ...['run', '-d', '--name', 'plain', '--network', 'net', '-p', '8078:80', '--stop-timeout', '0'],
    ...['bb', 'sh', '-c', page],
  );
  const { address } = cloud.node(2);
  const answer = (): string =>
    docker(1, ...['run', '--rm', 'bb', 'wget', '-qO-', `http://${address}:8078/`]).stdout;
  await eventually(() => answer() === 'hello\n', 'the port answers');
  cloud.ok('kill', 'c', 'node2');
  cloud.ok('start', 'c', 'node2');
  await eventually(() => answer() === 'hello\n', 'and after a restart of the daemon too');
});

test('an internal network names its containers and leads nowhere else', async () => {
  cloud.docker(1, 'network', 'create', '-d', 'overlay', '--attachable', '--internal', 'inner');
  run(2, 'plain', '--network', 'inner');
  run(3, 'other', '--network', 'inner');
  await reaches(2, 'plain', 'other');
  assert.doesNotMatch(cloud.docker(2, 'exec', 'plain', 'ip', 'route'), /default/);
  cloud.docker(2, 'rm', '-f', 'plain');
  cloud.docker(3, 'rm', '-f', 'other');
  await eventually(() => docker(1, 'network', 'rm', 'inner').status === 0, 'the network can be removed');
});

test('a daemon that was killed finds its containers where they were', async () => {
  run(2, 'plain', '--network', 'net');
  run(2, 'ending', '--network', 'net', '--ip', '10.0.1.88');
  const address = addressOf(2, 'plain');
  const ending = cloud.docker(2, 'inspect', 'ending', '--format', '{{.State.Pid}}');
  cloud.ok('kill', 'c', 'node2');
  // nobody sees this end, and the address has to come back all the same
  cloud.ok('exec', 'c', 'node2', '--', 'kill', '-9', ending);
  await reaches(3, task(), 'plain');
  cloud.ok('start', 'c', 'node2');
  assert.equal(addressOf(2, 'plain'), address);
  await reaches(2, 'plain', 'web');
  await reaches(3, task(), 'plain');
  const again = ['run', '--rm', '--network', 'net', '--ip', '10.0.1.88', 'bb', 'true'];
  await eventually(() => docker(3, ...again).status === 0, 'what ended unseen has given its address back');
  assert.match(drover(1, 'network', 'check'), /node2\s+as it should be/);
});

test('without a manager nothing is attached, what runs goes on, and what restarts waits for one', async () => {
  run(2, 'plain', '--network', 'net');
  run(3, 'always', '--network', 'net', '--restart', 'always');
  await reaches(2, 'plain', 'always');
  cloud.ok('kill', 'c', 'node1');
  const { stderr } = docker(2, 'run', '--rm', '--network', 'net', 'bb', 'true');
  assert.match(stderr, /Could not attach to network net: no manager answers/);
  await reaches(2, 'plain', 'always');
  cloud.ok('crash', 'c', 'node3');
  cloud.ok('start', 'c', 'node3');
  const state = (): string => cloud.docker(3, 'inspect', 'always', '--format', '{{.State.Status}}');
  assert.equal(state(), 'restarting');
  cloud.ok('start', 'c', 'node1');
  await eventually(() => state() === 'running', 'the container runs again');
  await reaches(2, 'plain', 'always');
  await eventually(() => task() !== '', 'web runs again');
});

test('operators are told of attached containers', async () => {
  run(2, 'plain', '--network', 'net');
  await reaches(3, task(), 'plain');
  assert.match(drover(1, 'network', 'check'), /node2\s+as it should be/);
  assert.match(drover(1, 'network', 'why', 'plain', 'web'), /^Nothing is known that keeps/);
  assert.match(drover(1, 'network', 'why', 'web', 'plain'), /^Nothing is known that keeps/);
  run(2, 'apart');
  cloud.docker(1, 'network', 'create', '-d', 'overlay', '--attachable', 'elsewhere');
  cloud.docker(2, 'network', 'connect', 'elsewhere', 'apart');
  assert.match(drover(1, 'network', 'why', 'plain', 'apart'), /share no network/);
  cloud.docker(2, 'rm', '-f', 'apart');
  await eventually(() => docker(1, 'network', 'rm', 'elsewhere').status === 0, 'nobody is on it');
});

test('a project of one machine is on a network of the cluster, on a worker too', async () => {
  const directory = join(cloud.root, 'project');
  mkdirSync(directory);
  const file = join(directory, 'compose.yaml');
  writeFileSync(
    file,
    [
      'services: { app: { image: bb, command: sleep 1000, stop_grace_period: 0s, networks: [shared] } }',
      'networks: { shared: { external: true, name: net } }',
    ].join('\n'),
  );
  drover(2, 'up', '-d', '-f', file);
  await reaches(3, task(), 'app');
  assert.equal(cloud.docker(2, 'exec', 'project-app-1', 'wget', '-qO-', 'http://web/'), 'hello');
  drover(2, 'down', '-f', file);
});

test('after a restore, containers newer than the backup keep their addresses, or get others where these are taken', async () => {
  const backup = join(cloud.root, 'backup');
  drover(1, 'cluster', 'backup', backup);
  const key = drover(1, 'cluster', 'key');
  run(2, 'kept', '--network', 'net');
  run(2, 'moved', '--network', 'net');
  const [kept, moved] = [addressOf(2, 'kept'), addressOf(2, 'moved')];
  cloud.ok('stop', 'c', 'node2');
  cloud.docker(1, 'swarm', 'leave', '--force');
  const restore = [DROVER, '-H', `unix://${cloud.socket(1)}`, 'cluster', 'restore', backup] as const;
  const restored = spawnSync(restore[0], restore.slice(1), { input: `${key}\n`, encoding: 'utf8' });
  assert.equal(restored.status, 0, restored.stderr);
  const taking = ['run', '-d', '--name', 'taker', '--network', 'net', '--ip', moved, 'bb', 'sleep', '1000'];
  await eventually(() => {
    docker(3, 'rm', '-f', 'taker');
    return docker(3, ...taking).status === 0;
  }, 'another container has the address');
  cloud.ok('start', 'c', 'node2');
  await eventually(() => !['', moved].includes(addressOf(2, 'moved')), 'it has another address');
  assert.equal(addressOf(2, 'kept'), kept);
  for (const name of ['kept', 'moved']) await reaches(3, task(), name);
  await reaches(2, 'moved', 'web');
  await eventually(() => /node2\s+as it should be/.test(drover(1, 'network', 'check')), 'all is in order');
});

test('a node that leaves, or is removed, gives back what its containers had', async () => {
  run(2, 'plain', '--network', 'net', '--ip', '10.0.1.99');
  cloud.docker(2, 'swarm', 'leave');
  assert.doesNotMatch(cloud.docker(2, 'exec', 'plain', 'ip', 'addr'), /10\.0\.1\.99/);
  const again = ['run', '--rm', '--network', 'net', '--ip', '10.0.1.99', 'bb', 'true'];
  await eventually(() => docker(3, ...again).status === 0, 'the address is free');
  run(3, 'last', '--network', 'net', '--ip', '10.0.1.98');
  cloud.ok('stop', 'c', 'node3');
  const id = cloud.docker(1, 'node', 'ls', '--filter', 'name=node3', '-q');
  cloud.docker(1, 'node', 'rm', '--force', id);
  const freed = ['run', '--rm', '--network', 'net', '--ip', '10.0.1.98', 'bb', 'true'];
  await eventually(() => docker(1, ...freed).status === 0, 'the address of the removed node’s is free');
});
