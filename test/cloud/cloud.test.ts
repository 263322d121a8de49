import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { cloudPlace, cloudRoot } from '#cloud/cloud-place.ts';
import { cgroupTreeProcesses } from '#linux/cgroups.ts';
import {
  addAddress,
  attachToNamespace,
  createBridge,
  deleteLink,
  listLinks,
  setLinkUp,
} from '#linux/links.ts';
import { listMounts } from '#linux/mount.ts';
import { createNetworkNamespace, removeNetworkNamespace } from '#linux/network-namespace.ts';
import { processStartTime } from '#linux/process-identity.ts';
import { BUSYBOX, eventually } from '../support/docker-host.ts';
import { TestCloud } from '../support/test-cloud.ts';

const cloud = await TestCloud.up('--nodes', '3', '--memory-root', '--no-swarm');
after(() => cloud[Symbol.asyncDispose]());
for (const number of [1, 2, 3]) cloud.docker(number, 'import', BUSYBOX, 'bb');

const cgroupOf = (each: TestCloud): string => `/${join(each.root, 'run', 'c').slice(1).replaceAll('/', '_')}`;

/** Whether node `from` gets an answer from node `to`, by its host name. */
function reaches(from: number, to: number): boolean {
  const ping = ['busybox', 'ping', '-c', '1', '-W', '1', `node${to}`];
  return cloud.run('exec', 'c', `node${from}`, '--', ...ping).status === 0;
}

test('each node is a machine of its own, and reaches the others by their names', () => {
  const { nodes } = cloud.view();
  assert.deepEqual(
    nodes.map(({ name, role, state }) => [name, role, state]),
    [1, 2, 3].map((number) => [`node${number}`, 'manager', 'running']),
  );
  for (const number of [1, 2, 3]) {
    assert.equal(cloud.docker(number, 'info', '-f', '{{.Name}}'), `node${number}`);
    assert.equal(cloud.docker(number, 'run', '--rm', 'bb', 'echo', 'ran'), 'ran');
    assert.ok(reaches(number, (number % 3) + 1), `from node ${number}`);
  }
  assert.equal(cloud.run('exec', 'c', 'node2', '--', 'sh', '-c', 'exit 7').status, 7);
  assert.equal(cloud.run('exec', 'c', 'node2', 'uname', '-n').stdout, 'node2\n');
  assert.equal(cloud.ok('exec', 'c', 'node3', '--', 'docker', 'info', '-f', '{{.Name}}'), 'node3');
  assert.deepEqual(
    listMounts().filter(({ target }) => target.startsWith(cloud.root) && !target.endsWith('/lib/c/data')),
    [],
    "no node's mount is the host's",
  );
});

test('a shell is told which node to talk to', () => {
  const { socket } = cloud.node(2);
  assert.equal(cloud.ok('env', 'c', 'node2'), `export DOCKER_HOST='unix://${socket}'`);
  assert.equal(cloud.ok('env', '--unset'), 'unset DOCKER_HOST');
  assert.match(cloud.ok('logs', 'c', 'node2'), /API listen on \/run\/drover\.sock/);
  assert.equal(cloud.ok('logs', 'c', 'node2', '-n', '1').split('\n').length, 1);
});

test('a port that a node publishes is reached from the host, and from another node', async () => {
  cloud.docker(
    1,
    'run',
    '-d',
    '--name',
    'web',
    '-p',
    '8080:80',
    'bb',
    'httpd',
    '-f',
    '-p',
    '80',
    '-h',
    '/etc',
  );
  const url = `http://${cloud.node(1).address}:8080/hostname`;
  await eventually(async () => {
    const answer = await fetch(url).catch(() => undefined);
    return answer?.ok === true;
  }, `${url} answers`);
  assert.match(cloud.ok('exec', 'c', 'node3', '--', 'busybox', 'wget', '-qO-', url), /^[0-9a-f]{12}$/);
  cloud.docker(1, 'rm', '-f', 'web');
});

test('a cut lets nothing through, and heals', () => {
  cloud.ok('cut', 'c', 'node1', '--from', 'node2');
  assert.ok(!reaches(1, 2) && !reaches(2, 1), 'the link is cut');
  assert.ok(reaches(1, 3) && reaches(2, 3), 'the others are not');
  cloud.ok('cut', 'c', 'node3');
  assert.ok(!reaches(1, 3) && !reaches(3, 2), 'node3 is alone');
  assert.deepEqual(
    cloud.view().nodes.map(({ cutFrom }) => cutFrom),
    [['node2'], ['node1'], ['*']],
  );
  cloud.ok('heal', 'c', 'node3');
  assert.ok(reaches(1, 3) && !reaches(1, 2), 'one is healed');
  cloud.ok('heal', 'c');
  assert.ok(reaches(1, 2) && reaches(3, 1), 'all are');
});

test('containers outlive their daemon, however it ends', () => {
  const id = cloud.docker(2, 'run', '-d', '--name', 'stays', 'bb', 'sleep', '1000');
  const running = (): string => cloud.docker(2, 'inspect', '-f', '{{.State.Running}} {{.State.Pid}}', id);
  const before = running();
  cloud.ok('kill', 'c', 'node2');
  assert.equal(cloud.node(2).state, 'stopped');
  cloud.ok('start', 'c', 'node2');
  assert.equal(running(), before);
  cloud.ok('stop', 'c', 'node2');
  assert.equal(cloud.node(2).state, 'stopped');
  cloud.ok('start', 'c', 'node2');
  assert.equal(running(), before);
  const daemon = cloud.node(2).pid;
  cloud.ok('upgrade', 'c', 'node2');
  assert.notEqual(cloud.node(2).pid, daemon);
  assert.equal(running(), before);
  cloud.docker(2, 'rm', '-f', 'stays');
});

test('a crash leaves no process of the node, and a cut outlasts it; its data is there when it starts again', () => {
  cloud.docker(3, 'run', '-d', '--name', 'lost', 'bb', 'sleep', '1000');
  cloud.ok('cut', 'c', 'node3', '--from', 'node1');
  const cgroup = join(cgroupOf(cloud), 'node3');
  const pids = cgroupTreeProcesses(cgroup);
  assert.ok(pids.length > 4, 'its init, its daemon, a monitor and a container');
  cloud.ok('crash', 'c', 'node3');
  assert.deepEqual(
    pids.filter((pid) => processStartTime(pid) !== undefined),
    [],
  );
  assert.deepEqual(cgroupTreeProcesses(cgroup), []);
  assert.equal(cloud.node(3).state, 'off');
  assert.equal(cloud.run('exec', 'c', 'node3', '--', 'true').status, 1);
  assert.ok(!existsSync(cloud.node(3).socket));
  cloud.ok('start', 'c', 'node3');
  assert.equal(cloud.docker(3, 'inspect', '-f', '{{.State.Status}}', 'lost'), 'exited');
  assert.ok(!reaches(3, 1) && reaches(3, 2));
  cloud.ok('heal', 'c');
  cloud.docker(3, 'rm', 'lost');
});

test('up finishes what is not there, and refuses to make another cloud of the same name', () => {
  cloud.ok('crash', 'c', 'node1');
  cloud.ok('stop', 'c', 'node2');
  cloud.ok('up', 'c', '--nodes', '3', '--memory-root', '--no-swarm');
  assert.deepEqual(
    cloud.view().nodes.map(({ state }) => state),
    ['running', 'running', 'running'],
  );
  const other = cloud.run('up', 'c', '--nodes', '4', '--memory-root', '--no-swarm');
  assert.match(other.stderr, /there is a cloud c already/);
  assert.match(cloud.run('crash', 'c', 'node4').stderr, /No such node in cloud c: node4/);
});

test('an up and a down that are interrupted are finished by down, which leaves nothing', async () => {
  await using half = new TestCloud();
  const cgroup = cgroupOf(half);
  const isHalfUp = await half.interrupted(
    () => existsSync(join(half.root, 'lib/c/cloud.json')) && cgroupTreeProcesses(cgroup).length > 0,
    ...['up', 'c', '--nodes', '2', '--managers', '1', '--no-swarm'],
  );
  assert.ok(isHalfUp);
  const isHalfDown = await half.interrupted(() => cgroupTreeProcesses(cgroup).length === 0, 'down', 'c');
  // on a busy machine it may be through before it is seen half-way
  if (isHalfDown) half.ok('down', 'c');
  const { bridge } = cloudPlace(cloudRoot(half.root), 'c');
  assert.deepEqual(
    listLinks().filter(({ name }) => name.startsWith(bridge)),
    [],
  );
  assert.deepEqual(cgroupTreeProcesses(cgroup), []);
  assert.deepEqual(readdirSync(join(half.root, 'lib')), []);
  assert.deepEqual(readdirSync(join(half.root, 'run')), ['lock']);
  assert.match(half.run('down', 'c').stderr, /No such cloud: c/);
  half.ok('up', 'c', '--nodes', '1', '--no-swarm');
  rmSync(join(half.root, 'lib'), { recursive: true });
  half.ok('down', 'c');
  assert.deepEqual(cgroupTreeProcesses(cgroup), [], 'also without its record');
});

test('nodes get out by the addresses of this machine, if they are let', async () => {
  await using stack = new AsyncDisposableStack();
  const open = stack.use(await TestCloud.up('--nodes', '1', '--internet', '--no-swarm'));
  // Another network, which knows no way to the nodes.
  const outside = join(open.root, 'outside');
  stack.defer(() => removeNetworkNamespace(outside));
  createNetworkNamespace(outside);
  stack.defer(() => deleteLink('dcoutside'));
  createBridge({ name: 'dcoutside' });
  addAddress({ link: 'dcoutside', address: '198.51.100.1/24' });
  setLinkUp('dcoutside');
  const names = { bridge: 'dcoutside', hostName: 'dcoutside-1', interfaceName: 'eth0' };
  stack.defer(() => deleteLink('dcoutside-1'));
  attachToNamespace({
    ...names,
    namespacePath: outside,
    mac: '02:00:00:00:00:09',
    addresses: ['198.51.100.2/24'],
  });
  const ping = ['node1', '--', 'busybox', 'ping', '-c', '1', '-W', '5', '198.51.100.2'];
  open.ok('exec', 'c', ...ping);
  assert.match(cloud.run('exec', 'c', ...ping).stderr, /Network is unreachable/);
});

test('a daemon that does not start is told by its own words, and data is kept where it is asked to be', async () => {
  await using failing = new TestCloud();
  const data = join(failing.root, 'elsewhere');
  const up = failing.run(
    ...['up', 'c', '--nodes', '1', '--data-root', data, '--no-swarm', '--', '--bip', 'nonsense'],
  );
  assert.equal(up.status, 1);
  assert.match(up.stderr, /bip nonsense is not an IPv4 address/);
  assert.deepEqual(readdirSync(join(data, 'c')), ['node1']);
  failing.ok('down', 'c');
  assert.deepEqual(readdirSync(data), []);
});

test('what cannot be is refused before anything is made', async () => {
  await using none = new TestCloud();
  for (const [message, ...argv] of [
    [/invalid name of a cloud/, 'up', 'A/b'],
    [/a cloud of 2 has 1 to 2/, 'up', 'c', '--nodes', '2', '--managers', '3'],
    [/1 to 100/, 'up', 'c', '--nodes', '0'],
    [/too small/, 'up', 'c', '--nodes', '7', '--subnet', '10.1.2.0/29'],
    [/exclude each other/, 'up', 'c', '--memory-root', '--data-root', '/x'],
  ] as const) {
    const { status, stderr } = none.run(...argv);
    assert.equal(status, 2, stderr);
    assert.match(stderr, message);
  }
  const deep = join(none.root, 'd'.repeat(90));
  const tooLong = spawnSync(process.execPath, ['src/cli/main.ts', 'cloud', '--root', deep, 'up', 'c'], {
    encoding: 'utf8',
  });
  assert.match(tooLong.stderr, /longer than the kernel's 107 bytes/);
  assert.ok(!existsSync(join(none.root, 'lib')));
});
