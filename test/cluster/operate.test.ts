import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DROVER } from '../support/api-daemon.ts';
import { BUSYBOX, eventually } from '../support/docker-host.ts';
import { TestCloud } from '../support/test-cloud.ts';

const COMMAND_LIMIT_MS = 60_000;

// managers of several need an etcd: one that was fetched for the tests, where the machine has none
process.env['PATH'] =
  `${join(import.meta.dirname, '../../.cache/peers/usr/bin')}:${process.env['PATH'] ?? ''}`;
const cloud = await TestCloud.up('--nodes', '3', '--managers', '3', '--memory-root');
after(() => cloud[Symbol.asyncDispose]());
const backup = join(cloud.root, 'backup');
const states = new Map<string, string>();

function run(
  node: number,
  argv: string[],
  input = '',
): { status: number | null; stdout: string; stderr: string } {
  const { socket } = cloud.node(node);
  const env = { ...process.env, DOCKER_HOST: `unix://${socket}` };
  return spawnSync(DROVER, argv, { env, input, encoding: 'utf8', timeout: COMMAND_LIMIT_MS });
}

function drover(node: number, ...argv: string[]): string {
  const { status, stdout, stderr } = run(node, argv);
  assert.equal(status, 0, `drover ${argv.join(' ')}: ${stdout}${stderr}`);
  return stdout.trim();
}

interface Status {
  Leader: string | null;
  Store: { Kind: string; Members: { Hostname: string; Problem: string | null }[] };
  Nodes: { Hostname: string; Role: string; State: string }[];
  Waiting: { Name: string; Reason: string }[];
}

function statusOn(node: number): Status {
  const status: Status = JSON.parse(drover(node, 'cluster', 'status', '--format', 'json'));
  return status;
}

function containersOn(node: number): string {
  return cloud.docker(node, 'ps', '-q', '--filter', 'label=com.docker.swarm.service.name=web');
}

cloud.docker(1, 'import', BUSYBOX, 'bb');
cloud.docker(1, 'network', 'create', '-d', 'overlay', 'back');
const web = ['--name', 'web', '--network', 'back', '--constraint', 'node.hostname==node1'];
cloud.docker(1, 'service', 'create', '-q', '--detach', ...web, 'bb', 'sleep', '1000');
const nowhere = ['--name', 'nowhere', '--constraint', 'node.labels.a==b'];
cloud.docker(1, 'service', 'create', '-q', '--detach', ...nowhere, 'bb', 'sleep', '1000');
await eventually(() => containersOn(1) !== '', 'web runs');

test('any manager tells what there is, what waits, and why', async () => {
  await eventually(() => statusOn(2).Waiting.length === 1, 'one task waits');
  const status = statusOn(2);
  assert.equal(status.Store.Kind, 'etcd');
  assert.deepEqual(status.Store.Members.map(({ Hostname }) => Hostname).sort(), ['node1', 'node2', 'node3']);
  assert.match(status.Waiting[0]?.Reason ?? '', /constraints not satisfied on 3 nodes/);
  assert.match(drover(3, 'service', 'explain', 'web'), /web\.1 +running +it is on node1/);
  assert.match(drover(3, 'service', 'explain', 'nowhere'), /would help: label node node\d a=b/);
});

test('every node compares its networks, and mends them', () => {
  assert.match(drover(2, 'network', 'check'), /node3 +as it should be/);
  const why = run(2, ['network', 'why', 'web', 'nowhere']);
  assert.equal(why.status, 1);
  assert.match(why.stdout, /nowhere has no task that runs/);
  assert.match(drover(2, 'network', 'why', 'web.1', 'web'), /Nothing is known/);
});

test('the store is made small on every manager, and is written on', () => {
  const table = drover(2, 'cluster', 'compact');
  for (const node of ['node1', 'node2', 'node3'])
    assert.match(table, new RegExp(`^${node} +[0-9.]+ [kM]B +[0-9.]+ [kM]B$`, 'm'));
  cloud.docker(2, 'node', 'update', '--label-add', 'compacted=yes', 'node2');
});

test('the CA is replaced under running nodes, and a token made before it is another', async () => {
  const before = cloud.docker(1, 'swarm', 'join-token', '-q', 'worker');
  cloud.docker(1, 'swarm', 'ca', '--rotate', '--quiet');
  assert.notEqual(cloud.docker(1, 'swarm', 'join-token', '-q', 'worker'), before);
  const root = cloud.docker(1, 'swarm', 'ca');
  for (const node of ['node1', 'node2', 'node3']) {
    const roots = (): string =>
      cloud.docker(1, 'node', 'inspect', node, '-f', '{{.Description.TLSInfo.TrustRoot}}');
    await eventually(() => roots().trim() === root.trim(), `${node} trusts the new root alone`);
  }
});

test('a backup is a private file, and the managers’ key is not in it', () => {
  const printed = drover(2, 'cluster', 'backup', backup);
  const key = drover(2, 'cluster', 'key');
  assert.ok(printed.includes(key));
  assert.ok(!readFileSync(backup, 'utf8').includes(key.slice('SWMKEY-1-'.length)));
  assert.equal(statSync(backup).mode & 0o777, 0o600);
  states.set('key', key);
});

test('a manager that died is demoted and removed; its member goes', async () => {
  cloud.ok('crash', 'c', 'node3');
  await eventually(() => statusOn(1).Nodes.some(({ State }) => State === 'down'), 'node3 is down');
  cloud.docker(1, 'node', 'demote', 'node3');
  await eventually(() => statusOn(1).Store.Members.length === 2, 'its member is out');
  const manages = (): string => cloud.docker(1, 'node', 'inspect', 'node3', '-f', '{{.ManagerStatus}}');
  await eventually(() => manages() === '<nil>', 'it manages no more');
  cloud.docker(1, 'node', 'rm', 'node3');
});

test('without a quorum one manager goes on alone, and no container is touched', async () => {
  const running = containersOn(1);
  assert.match(run(1, ['cluster', 'recover']).stderr, /nothing to recover/);
  cloud.ok('crash', 'c', 'node2');
  assert.match(drover(1, 'cluster', 'recover'), /the one manager/);
  await eventually(() => statusOn(1).Leader !== null, 'node1 leads');
  assert.deepEqual(
    statusOn(1).Store.Members.map(({ Hostname }) => Hostname),
    ['node1'],
  );
  assert.equal(containersOn(1), running);
  // the one that was lost finds that it is no manager any more
  cloud.ok('start', 'c', 'node2');
  await eventually(
    () => statusOn(1).Nodes.some(({ Hostname, State }) => Hostname === 'node2' && State === 'ready'),
    'node2 is back',
  );
  assert.equal(cloud.docker(2, 'info', '-f', '{{.Swarm.ControlAvailable}}'), 'false');
});

test('a node that was removed says so, and can be what a backup is restored on', async () => {
  cloud.ok('start', 'c', 'node3');
  const refusal = (): string => cloud.docker(3, 'info', '-f', '{{.Swarm.Error}}');
  await eventually(() => refusal().includes('not of this cluster'), 'node3 is refused');
  cloud.docker(3, 'swarm', 'leave', '--force');
  const wrong = run(3, ['cluster', 'restore', backup], `SWMKEY-1-${'A'.repeat(43)}\n`);
  assert.match(wrong.stderr, /the key does not fit/);
  const key = states.get('key') ?? '';
  const restored = run(3, ['cluster', 'restore', backup], `${key}\n`);
  assert.equal(restored.status, 0, restored.stderr);
  assert.match(cloud.docker(3, 'service', 'ls', '--format', '{{.Name}}'), /web/);
  assert.equal(statusOn(3).Store.Kind, 'sqlite');
});
