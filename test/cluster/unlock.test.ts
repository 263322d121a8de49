import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { sealedWith } from '#cluster/ca/sealing.ts';
import { DROVER } from '../support/api-daemon.ts';
import { BUSYBOX, eventually } from '../support/docker-host.ts';
import { TestCloud } from '../support/test-cloud.ts';

const WRONG_KEY = /swarm could not be unlocked: invalid key provided/;

// managers of several need an etcd: one that was fetched for the tests, where the machine has none
process.env['PATH'] =
  `${join(import.meta.dirname, '../../.cache/peers/usr/bin')}:${process.env['PATH'] ?? ''}`;
const cloud = await TestCloud.up('--nodes', '3', '--managers', '3');
after(() => cloud[Symbol.asyncDispose]());

/** What the nodes' unlock keys were, in the order in which they were made. */
const keys: string[] = [];

async function ok(node: number, ...argv: string[]): Promise<string> {
  const { status, stdout, stderr } = await cloud.dockerResult(node, argv);
  assert.equal(status, 0, `docker ${argv.join(' ')} on node ${node}: ${stdout}${stderr}`);
  return stdout.trim();
}

async function fails(node: number, message: RegExp, ...argv: string[]): Promise<void> {
  const { status, stdout, stderr } = await cloud.dockerResult(node, argv);
  assert.notEqual(status, 0, `docker ${argv.join(' ')} succeeded: ${stdout}`);
  assert.match(stderr, message);
}

async function state(node: number): Promise<string> {
  return await ok(node, 'info', '-f', '{{.Swarm.LocalNodeState}}');
}

async function unlock(node: number, key: string): Promise<{ status: number | null; stderr: string }> {
  return await cloud.dockerResult(node, ['swarm', 'unlock'], `${key}\n`);
}

async function unlocks(node: number, key: string): Promise<void> {
  const { status, stderr } = await unlock(node, key);
  assert.equal(status, 0, stderr);
  assert.equal(await state(node), 'active');
}

async function isRefused(node: number, key: string): Promise<void> {
  const { status, stderr } = await unlock(node, key);
  assert.notEqual(status, 0);
  assert.match(stderr, WRONG_KEY);
  assert.equal(await state(node), 'locked');
}

function start(node: number): void {
  cloud.ok('start', 'c', `node${node}`);
}

function stop(node: number): void {
  cloud.ok('stop', 'c', `node${node}`);
}

/** Of one that is started again. */
async function manages(node: number): Promise<void> {
  const asked = async (): Promise<boolean> => (await cloud.dockerResult(node, ['node', 'ls'])).status === 0;
  await eventually(asked, `node ${node} manages`);
}

function clusterDirectory(node: number): string {
  return join(cloud.root, 'lib', 'c', 'data', `node${node}`, 'cluster');
}

/** What lies on a node's disk. */
function keyFile(node: number): string {
  return readFileSync(join(clusterDirectory(node), 'manager.key'), 'utf8').trim();
}

/** The ID of the key that the managers' key is sealed with on a node. */
function sealing(node: number): string {
  const text = keyFile(node);
  return text.startsWith('SWMKEY-') ? 'nothing' : sealedWith(text);
}

/** Two managers' disks are sealed with the same. */
async function sealedAlike(a: number, b: number): Promise<void> {
  await eventually(() => sealing(a) !== 'nothing' && sealing(a) === sealing(b), `node ${b} as node ${a}`);
}

function drover(node: number, argv: readonly string[], input = ''): string {
  const env = { ...process.env, DOCKER_HOST: `unix://${cloud.socket(node)}` };
  const { status, stdout, stderr } = spawnSync(DROVER, argv, {
    env,
    input,
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(status, 0, `drover ${argv.join(' ')}: ${stdout}${stderr}`);
  return stdout.trim();
}

async function post(path: string, body: unknown): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const call = request({ socketPath: cloud.socket(1), method: 'POST', path, agent: false });
  call.setHeader('Content-Type', 'application/json');
  call.on('response', (response) => {
    response.resume();
    resolve(response.statusCode);
  });
  call.on('error', reject);
  call.end(JSON.stringify(body));
  return await promise;
}

test('where nothing is locked there is no key, and none is made', async () => {
  await fails(1, /no unlock key is set/, 'swarm', 'unlock-key');
  await fails(1, /cannot rotate because autolock is not turned on/, 'swarm', 'unlock-key', '--rotate');
  await fails(1, /swarm is not locked/, 'swarm', 'unlock');
  const { Version, Spec } = JSON.parse(await ok(1, 'info', '-f', '{{json .Swarm.Cluster}}'));
  const query = `version=${Version.Index}&rotateManagerUnlockKey=true`;
  assert.equal(await post(`/v1.51/swarm/update?${query}`, Spec), 200);
  await fails(1, /no unlock key is set/, 'swarm', 'unlock-key');
  assert.match(keyFile(2), /^SWMKEY-1-/);
});

test('locking prints a key, and seals every manager’s disk', async () => {
  const said = await ok(1, 'swarm', 'update', '--autolock=true');
  const key = await ok(2, 'swarm', 'unlock-key', '-q');
  assert.match(key, /^SWMKEY-1-[A-Za-z0-9+/]{43}$/);
  assert.ok(said.includes(key));
  assert.ok((await ok(3, 'swarm', 'unlock-key')).includes(key));
  await sealedAlike(1, 2);
  await sealedAlike(1, 3);
  keys.push(key);
});

test('a manager that is away during a rotation is unlocked with the old key, and from then on with the new one', async () => {
  stop(2);
  const said = await ok(1, 'swarm', 'unlock-key', '--rotate');
  assert.match(said, /Successfully rotated manager unlock key/);
  const [old = ''] = keys;
  const key = await ok(1, 'swarm', 'unlock-key', '-q');
  assert.notEqual(key, old);
  assert.ok(said.includes(key));
  keys.unshift(key);
  start(2);
  assert.equal(await state(2), 'locked');
  await fails(2, /Swarm is encrypted and needs to be unlocked before it can be used/, 'node', 'ls');
  await isRefused(2, key);
  await isRefused(2, 'nonsense');
  await unlocks(2, old);
  await sealedAlike(1, 2);
  stop(2);
  start(2);
  await isRefused(2, old);
  await unlocks(2, key);
  await manages(2);
});

test('a manager that was there needs the new key after a restart, and the one before is refused', async () => {
  const [old = ''] = keys;
  const key = await ok(2, 'swarm', 'unlock-key', '-q', '--rotate');
  keys.unshift(key);
  await sealedAlike(2, 3);
  stop(3);
  start(3);
  await isRefused(3, old);
  await unlocks(3, key);
  await manages(3);
  assert.equal(await ok(3, 'swarm', 'unlock-key', '-q'), key);
});

test('what was secret before is there after every rotation', async () => {
  await cloud.dockerResult(1, ['secret', 'create', 's', '-'], 'content');
  cloud.docker(1, 'import', BUSYBOX, 'bb');
  await ok(1, 'swarm', 'unlock-key', '-q', '--rotate');
  const web = ['--name', 'web', '--secret', 's', '--constraint', 'node.hostname==node1'];
  await ok(1, 'service', 'create', '-q', '--detach', ...web, 'bb', 'sleep', '1000');
  const container = async (): Promise<string> => await ok(1, 'ps', '-q', '--filter', 'name=web.1');
  await eventually(async () => (await container()) !== '', 'web runs');
  assert.equal(await ok(1, 'exec', await container(), 'cat', '/run/secrets/s'), 'content');
});

test('a node that is cut off on its way to being a manager goes on with it', async () => {
  const path = join(clusterDirectory(3), 'manager.key');
  await ok(1, 'node', 'demote', 'node3');
  await eventually(() => !existsSync(path), 'node 3 gave the key up');
  const { pid } = cloud.node(3);
  assert.ok(pid !== undefined);
  await ok(1, 'node', 'promote', 'node3');
  await eventually(() => existsSync(path), 'node 3 got the key');
  process.kill(pid, 'SIGKILL');
  assert.notEqual(sealing(3), 'nothing');
  assert.match(readFileSync(join(clusterDirectory(3), 'node.json'), 'utf8'), /"store": "none"/);
  start(3);
  // when it had got its certificate as well, that is what it is locked out of
  if ((await state(3)) === 'locked') await unlocks(3, await ok(1, 'swarm', 'unlock-key', '-q'));
  await manages(3);
  await sealedAlike(1, 3);
});

test('a locked manager leaves by force alone, with all that runs of it; one that comes is locked at once', async () => {
  await ok(
    1,
    'service',
    'create',
    '-q',
    '--detach',
    '--mode',
    'global',
    '--name',
    'each',
    'bb',
    'sleep',
    '1000',
  );
  const running = async (): Promise<string> => await ok(3, 'ps', '-q', '--filter', 'name=each');
  await eventually(async () => (await running()) !== '', 'a task runs on node 3');
  const container = await running();
  stop(3);
  start(3);
  assert.equal(await running(), container, 'a lock ends no container');
  await fails(3, /Swarm is encrypted and locked\. Please unlock it first or use `--force`/, 'swarm', 'leave');
  await ok(3, 'swarm', 'leave', '--force');
  assert.equal(await state(3), 'inactive');
  assert.equal(existsSync(clusterDirectory(3)), false);
  assert.equal(await running(), '');
  const down = async (): Promise<boolean> =>
    (await ok(1, 'node', 'ls', '--filter', 'name=node3', '--format', '{{.Status}}')) === 'Down';
  await eventually(down, 'node 3 is down');
  await ok(1, 'node', 'demote', 'node3');
  const manages3 = async (): Promise<string> =>
    await ok(1, 'node', 'inspect', 'node3', '-f', '{{.ManagerStatus}}');
  await eventually(async () => (await manages3()) === '<nil>', 'node 3 manages no more');
  await ok(1, 'node', 'rm', 'node3');
  const token = await ok(1, 'swarm', 'join-token', '-q', 'manager');
  await ok(3, 'swarm', 'join', '--token', token, `${cloud.node(1).address}:2377`);
  await sealedAlike(1, 3);
  const key = await ok(1, 'swarm', 'unlock-key', '-q');
  stop(3);
  start(3);
  await unlocks(3, key);
  await manages(3);
});

test('unlocking every manager puts the key back, and a key of before is not used again', async () => {
  const before = await ok(1, 'swarm', 'unlock-key', '-q');
  await ok(1, 'swarm', 'update', '--autolock=false');
  for (const node of [1, 2, 3])
    await eventually(() => sealing(node) === 'nothing', `node ${node} is not sealed`);
  await fails(2, /no unlock key is set/, 'swarm', 'unlock-key');
  stop(2);
  start(2);
  await manages(2);
  await ok(1, 'swarm', 'update', '--autolock=true');
  assert.notEqual(await ok(1, 'swarm', 'unlock-key', '-q'), before);
});

test('a swarm can be locked from its beginning on', async () => {
  await ok(3, 'swarm', 'leave', '--force');
  const said = await ok(3, 'swarm', 'init', '--autolock', '--advertise-addr', cloud.node(3).address);
  const key = await ok(3, 'swarm', 'unlock-key', '-q');
  assert.ok(said.includes(key));
  assert.notEqual(sealing(3), 'nothing');
  stop(3);
  start(3);
  await unlocks(3, key);
  await manages(3);
});

test('a backup of a locked swarm is opened with the managers’ key, and locked where it is restored', async () => {
  const file = join(cloud.root, 'backup');
  drover(1, ['cluster', 'backup', '--quiet', file]);
  const managerKey = drover(1, ['cluster', 'key']);
  const unlockKey = await ok(1, 'swarm', 'unlock-key', '-q');
  assert.notEqual(managerKey, unlockKey);
  await ok(3, 'swarm', 'leave', '--force');
  drover(3, ['cluster', 'restore', file], `${managerKey}\n`);
  assert.notEqual(sealing(3), 'nothing');
  stop(3);
  start(3);
  await isRefused(3, managerKey);
  await unlocks(3, unlockKey);
  await manages(3);
});
