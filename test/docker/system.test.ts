import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostOfFile, referenceSocket } from '../support/docker-host.ts';

const host = await hostOfFile();

/** A field of an answer's body. */
function field(body: unknown, name: string): unknown {
  assert.ok(typeof body === 'object' && body !== null, `no object: ${String(body)}`);
  return Object.entries(body).find(([key]) => key === name)?.[1];
}

test('_ping answers OK, with or without a version before it', async () => {
  for (const path of ['/_ping', '/v1.24/_ping', '/v1.41/_ping'])
    assert.deepEqual(await host.call('GET', path), { status: 200, body: 'OK' });
  assert.equal((await host.call('HEAD', '/_ping')).status, 200);
});

test('version: the engine, the API and its components, as the CLI shows them', async () => {
  const shown = host.ok('version', '--format', '{{.Server.Version}} {{.Server.APIVersion}} {{.Server.Os}}');
  assert.match(shown, /^\S+ 1\.\d\d linux$/);
  const { body } = await host.call('GET', '/version');
  for (const name of ['Version', 'ApiVersion', 'MinAPIVersion', 'Os', 'Arch', 'KernelVersion', 'Components'])
    assert.notEqual(field(body, name), undefined, name);
});

test('a client may speak any version between the oldest and the newest, and no other', async () => {
  const { body } = await host.call('GET', '/version');
  const newest = String(field(body, 'ApiVersion'));
  for (const version of ['1.25', '1.30', '1.40', newest]) {
    assert.equal((await host.call('GET', `/v${version}/containers/json`)).status, 200, version);
  }
  const late = await host.call('GET', '/v1.99/containers/json');
  assert.equal(late.status, 400);
  assert.match(String(field(late.body, 'message')), /client version 1\.99 is too new/);
  const early = await host.call('GET', '/v1.1/containers/json');
  assert.equal(early.status, 400);
  // as text: such a client knows no JSON errors
  assert.match(JSON.stringify(early.body), /client version 1\.1 is too old/);
});

test('info counts containers and images and describes the host', () => {
  const counts = '{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}}';
  host.runDetached([], 'sleep', '1000');
  const id = host.runDetached([], 'sleep', '1000');
  host.ok('pause', id);
  host.ok('run', 'bb', 'true');
  assert.equal(host.ok('info', '--format', counts), '3 1 1 1');
  const [images, memory, cpus, driver] = host
    .ok('info', '--format', '{{.Images}} {{.MemTotal}} {{.NCPU}} {{.Driver}}')
    .split(' ');
  assert.equal(images, '1');
  assert.ok(Number(memory) > 1 << 28);
  assert.ok(Number(cpus) >= 1);
  assert.equal(driver, 'overlay2');
  assert.match(host.ok('info', '--format', '{{.DockerRootDir}} {{.CgroupVersion}}'), /^\/\S+ [12]$/);
  assert.match(host.ok('info'), /Storage Driver: overlay2/);
});

test('what is not there is 404 with a message', async () => {
  const unknown = await host.call('GET', '/v1.41/nosuch');
  assert.equal(unknown.status, 404);
  assert.match(String(field(unknown.body, 'message')), /page not found/);
  const missing = await host.call('GET', '/v1.41/containers/nosuch/json');
  assert.equal(missing.status, 404);
  assert.equal(field(missing.body, 'message'), 'No such container: nosuch');
});

test('what is not there yet is 501, and says so', { skip: referenceSocket() !== undefined }, async () => {
  for (const [method, path] of [
    ['POST', '/plugins/pull'],
    ['GET', '/containers/x/attach/ws'],
  ] as const) {
    const { status, body } = await host.call(method, `/v1.41${path}`);
    assert.equal(status, 501, path);
    assert.match(String(field(body, 'message')), /not (implemented|supported)|yet/, path);
  }
});

test('outside of a swarm its calls are 503, in the words that clients know', async () => {
  const NO_MANAGER =
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';
  for (const path of [
    '/swarm',
    '/services',
    '/nodes',
    '/tasks',
    '/secrets',
    '/configs',
    '/swarm/unlockkey',
  ]) {
    const { status, body } = await host.call('GET', `/v1.41${path}`);
    assert.deepEqual([status, field(body, 'message')], [503, NO_MANAGER], path);
  }
  const left = await host.call('POST', '/v1.41/swarm/leave');
  assert.deepEqual([left.status, field(left.body, 'message')], [503, 'This node is not part of a swarm']);
  host.fails(1, /This node is not a swarm manager/, 'service', 'create', '--detach', 'bb');
  assert.equal(host.ok('info', '--format', '{{.Swarm.LocalNodeState}}'), 'inactive');
});

test('a body that is wrong is answered with the field’s name', {
  skip: referenceSocket() !== undefined,
}, async () => {
  for (const [wanted, body] of [
    [/Image/, {}],
    [/Cmd/, { Image: 'bb', Cmd: 3 }],
    [/HostConfig\.Memory/, { Image: 'bb', HostConfig: { Memory: 'much' } }],
    [/ExposedPorts|port/, { Image: 'bb', ExposedPorts: { 'x/y': {} } }],
  ] as const) {
    const answer = await host.call('POST', '/v1.41/containers/create', body);
    assert.equal(answer.status, 400, JSON.stringify(body));
    assert.match(String(field(answer.body, 'message')), wanted);
  }
});
