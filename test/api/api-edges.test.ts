import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ApiDaemon, DROVER } from '../support/api-daemon.ts';

const JSON_BODY = { 'Content-Type': 'application/json' };
let daemon: ApiDaemon;

before(async () => {
  daemon = await ApiDaemon.start({ bridge: 'dvapi0', bip: '10.214.1.1/24' });
});

after(async () => {
  await daemon[Symbol.asyncDispose]();
});

function message(body: string): unknown {
  const parsed: unknown = JSON.parse(body);
  return typeof parsed === 'object' && parsed !== null && 'message' in parsed ? parsed.message : parsed;
}

test('ping says what a client must know before its first call', async () => {
  for (const [method, body] of [
    ['GET', 'OK'],
    ['HEAD', ''],
  ] as const) {
    const answer = await daemon.call(method, '/_ping');
    assert.equal(answer.status, 200);
    assert.equal(answer.body, body);
    assert.equal(answer.headers['api-version'], '1.51');
    assert.equal(answer.headers['ostype'], 'linux');
    assert.equal(answer.headers['docker-experimental'], 'false');
    assert.equal(answer.headers['builder-version'], '2');
  }
});

test('the docker CLI is served', () => {
  const version = daemon.docker('version', '--format', '{{.Server.APIVersion}} {{.Server.MinAPIVersion}}');
  assert.equal(version.stdout, '1.51 1.24\n');
  const info = daemon.docker('info');
  assert.equal(info.status, 0, info.stderr);
  assert.equal(info.stderr, '');
  assert.match(info.stdout, /Storage Driver: overlay2/);
  for (const apiVersion of ['1.24', '1.30', '1.43', '1.50']) {
    const listed = spawnSync('docker', ['-H', `unix://${daemon.socket}`, 'ps', '-a'], {
      encoding: 'utf8',
      env: { ...process.env, DOCKER_API_VERSION: apiVersion },
    });
    assert.equal(listed.status, 0, listed.stderr);
  }
});

test('versions out of range and paths that are not there are refused as Docker does', async () => {
  for (const [path, status, text] of [
    ['/v1.52/info', 400, 'client version 1.52 is too new. Maximum supported API version is 1.51'],
    [
      '/v1.12/info',
      400,
      'client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version',
    ],
    ['/v1.43/nothing', 404, 'page not found'],
    ['/../../etc/passwd', 404, 'page not found'],
    ['/containers/nobody/json', 404, 'No such container: nobody'],
    ['/images/no/body/json', 404, 'No such image: no/body'],
    ['/containers/json?filters=%7B', 400, 'invalid filter: {'],
    ['/containers/json?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D', 400, "invalid filter 'colour'"],
  ] as const) {
    const answer = await daemon.call('GET', path);
    assert.equal(answer.status, status, path);
    assert.equal(message(answer.body), text);
  }
});

test('what is not there yet says so', async () => {
  for (const [method, path] of [
    ['POST', '/plugins/pull'],
    ['GET', '/containers/x/attach/ws'],
  ] as const) {
    const answer = await daemon.call(method, path);
    assert.equal(answer.status, 501, path);
    assert.match(String(message(answer.body)), /is not there yet: /);
  }
});

test('sessions and their calls need a connection that is upgraded', async () => {
  for (const path of ['/session', '/grpc', '/v1.51/grpc']) {
    const answer = await daemon.call('POST', path);
    assert.equal(answer.status, 400, path);
    assert.match(String(message(answer.body)), /upgraded to h2c|has no ID/);
  }
});

test('bodies that are wrong name the field and change nothing', async () => {
  const create = (body: string | Buffer, headers: Record<string, string> = JSON_BODY): Promise<unknown> =>
    daemon
      .call('POST', '/containers/create?name=wrong', { headers, body })
      .then(({ status, body: text }) => [status, message(text)]);
  assert.deepEqual(await create('{"Image": "x", "HostConfig": {"Memory": "much"}}'), [
    400,
    'invalid request body: HostConfig.Memory: expected number, received string',
  ]);
  assert.deepEqual(await create('{"Image": "x", "HostConfig": {"DeviceRequests": [{"Count": -1}]}}'), [
    501,
    'HostConfig.DeviceRequests is not there yet',
  ]);
  const [garbage] = (await create('{"Image')) as [number];
  assert.equal(garbage, 400);
  assert.deepEqual(await create('{}', { 'Content-Type': 'text/plain' }), [
    400,
    "unsupported Content-Type header (text/plain): must be 'application/json'",
  ]);
  const [tooLarge] = (await create(Buffer.alloc(5_000_000, 32))) as [number];
  assert.equal(tooLarge, 413);
  assert.equal((await daemon.call('GET', '/containers/json?all=1')).body, '[]\n');
});

test('heads that are too large, and bytes that are no HTTP', async () => {
  const large = await daemon.raw(`GET /info HTTP/1.1\r\nHost: d\r\nX: ${'a'.repeat(100_000)}\r\n\r\n`);
  assert.match(large, /^HTTP\/1\.1 431 /);
  assert.match(await daemon.raw('POST \0\r\n\r\n'), /^HTTP\/1\.1 400 /);
  assert.match(
    await daemon.raw('POST /containers/nobody/attach HTTP/1.1\r\nHost: d\r\n\r\nstdin'),
    /^HTTP\/1\.1 404 [\s\S]*No such container: nobody/,
  );
  assert.equal((await daemon.call('GET', '/_ping')).status, 200);
});

test('the socket is for root and one group; a second daemon is told who has the data root', () => {
  assert.equal(statSync(daemon.socket).mode & 0o777, 0o660);
  const flags = daemon.flags.map((flag) => flag.replace('d.sock', 'e.sock'));
  const second = spawnSync(DROVER, ['daemon', ...flags], { encoding: 'utf8', timeout: 20_000 });
  assert.equal(second.status, 1);
  assert.match(second.stderr, new RegExp(`in use by a daemon with PID ${daemon.pid}`));
});

test('SIGTERM ends it in order', async () => {
  assert.equal(await daemon.stop(), 0);
  assert.equal(existsSync(daemon.socket), false);
  assert.equal(existsSync(join(daemon.directory, 'exec', 'drover.pid')), false);
  assert.equal(readFileSync(join(daemon.directory, 'data', 'engine-id'), 'utf8').length, 37);
});
