import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { hashSync } from 'bcryptjs';
import { eventually } from '../support/docker-host.ts';
import { MANIFEST, RegistryProcess } from '../support/registry-process.ts';

const directory = mkdtempSync(join(tmpdir(), 'drover-rules-'));
after(() => rmSync(directory, { recursive: true }));
const htpasswd = join(directory, 'htpasswd');
writeFileSync(htpasswd, `alice:${hashSync('wonder', 4)}\nbob:${hashSync('builder', 4)}\n`);

const basic = (user: string, password: string): Record<string, string> => ({
  Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});
const ALICE = basic('alice', 'wonder');
const BOB = basic('bob', 'builder');

const RULES = `
access:
  - {users: [alice], repositories: ['**'], actions: [pull, push, delete]}
  - {users: ['*'], repositories: ['team/*'], actions: [pull, push]}
  - {users: [anonymous], repositories: ['public/**'], actions: [pull]}
`;

test('htpasswd: who logged in may do what the rules say, and nothing else', async () => {
  await using registry = await RegistryProcess.start({
    configuration: `auth: {method: htpasswd, htpasswd: ${htpasswd}}\n${RULES}`,
  });
  const nobody = await registry.call('GET', '/v2/');
  assert.equal(nobody.status, 401);
  assert.match(String(nobody.headers['www-authenticate']), /^Basic realm=/);
  assert.equal((await registry.call('GET', '/v2/', { headers: basic('alice', 'wrong') })).status, 401);
  assert.equal((await registry.call('GET', '/v2/', { headers: basic('mallory', 'x') })).status, 401);
  await registry.pushImage('public/app', 'v1', 'x', ALICE);
  await registry.pushImage('team/app', 'v1', 'x', BOB);
  const status = async (method: string, path: string, headers: Record<string, string>): Promise<number> =>
    (await registry.call(method, path, { headers })).status;
  assert.equal(await status('GET', '/v2/public/app/manifests/v1', {}), 200);
  assert.equal(await status('GET', '/v2/team/app/manifests/v1', {}), 401);
  assert.equal(await status('GET', '/v2/team/app/manifests/v1', BOB), 200);
  assert.equal(await status('POST', '/v2/public/app/blobs/uploads/', BOB), 403);
  assert.equal(await status('POST', '/v2/public/app/blobs/uploads/', {}), 401);
  assert.equal(await status('DELETE', '/v2/team/app/manifests/v1', BOB), 403);
  assert.equal(await status('DELETE', '/v2/team/app/manifests/v1', ALICE), 202);
  // What may not be read there may not be mounted from there either.
  const secret = await registry.pushBlob('private/app', 'secret', ALICE);
  assert.equal(
    await status('POST', `/v2/team/app/blobs/uploads/?mount=${secret}&from=private/app`, BOB),
    202,
  );
  assert.equal(await status('POST', `/v2/team/app/blobs/uploads/?mount=${secret}`, BOB), 202);
  const catalog = await registry.call('GET', '/v2/_catalog', { headers: BOB });
  assert.deepEqual(JSON.parse(String(catalog.body)).repositories, ['team/app']);
});

test('tokens: asked for with a password, good for what was asked and allowed', async () => {
  await using registry = await RegistryProcess.start({
    configuration: `auth: {method: token, htpasswd: ${htpasswd}}\n${RULES}`,
  });
  const nobody = await registry.call('GET', '/v2/team/app/manifests/v1');
  assert.match(
    String(nobody.headers['www-authenticate']),
    /^Bearer realm="http:\/\/127\.0\.0\.1:\d+\/token",service="drover-registry",scope="repository:team\/app:pull"/,
  );
  const token = async (scope: string, headers: Record<string, string>): Promise<Record<string, string>> => {
    const answer = await registry.call('GET', `/token?service=drover-registry&scope=${scope}`, { headers });
    assert.equal(answer.status, 200, String(answer.body));
    return { Authorization: `Bearer ${JSON.parse(String(answer.body)).token}` };
  };
  const pushing = await token('repository:team/app:pull,push', BOB);
  await registry.pushImage('team/app', 'v1', 'x', pushing);
  const elsewhere = await registry.call('POST', '/v2/other/app/blobs/uploads/', { headers: pushing });
  assert.equal(elsewhere.status, 403);
  const asked = await token('repository:private/app:pull,push', BOB);
  assert.equal((await registry.call('GET', '/v2/private/app/tags/list', { headers: asked })).status, 403);
  const [head = '', payload = '', signature = ''] = (pushing['Authorization'] ?? '').split('.');
  const forged = Buffer.from(payload, 'base64url').toString().replace('team/app', 'private/app');
  const answer = await registry.call('GET', '/v2/private/app/tags/list', {
    headers: { Authorization: `${head}.${Buffer.from(forged).toString('base64url')}.${signature}` },
  });
  assert.equal(answer.status, 401);
  assert.equal((await registry.call('GET', '/token', { headers: basic('bob', 'x') })).status, 401);
});

test('quotas, immutable tags, deletes that are switched off', async () => {
  await using registry = await RegistryProcess.start({
    configuration: `
quotas: [{repositories: 'small/*', bytes: 1K}]
immutableTags: ['**:v*']
allowDelete: false
`,
  });
  await registry.pushImage('small/app', 'latest');
  await assert.rejects(registry.pushBlob('small/app', Buffer.alloc(2000)), /403 .*quota exceeded/);
  await registry.pushBlob('large/app', Buffer.alloc(2000));
  await registry.pushImage('app', 'v1', 'one');
  await registry.pushImage('app', 'v1', 'one');
  await assert.rejects(registry.pushImage('app', 'v1', 'two'), /403 .*immutable/);
  await registry.pushImage('app', 'latest', 'one');
  await registry.pushImage('app', 'latest', 'two');
  assert.equal((await registry.call('DELETE', '/v2/app/manifests/latest')).status, 405);
});

test('webhooks are signed, filtered, and tried again', async () => {
  const calls: { body: string; signature: string }[] = [];
  let failures = 1;
  const receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += String(chunk);
    });
    request.on('end', () => {
      failures -= 1;
      if (failures >= 0) response.writeHead(500).end();
      else {
        calls.push({ body, signature: String(request.headers['x-drover-signature']) });
        response.end();
      }
    });
  });
  receiver.listen(0, '127.0.0.1');
  await new Promise((resolve) => receiver.once('listening', resolve));
  const address = receiver.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  try {
    await using registry = await RegistryProcess.start({
      configuration: `webhooks: [{url: 'http://127.0.0.1:${port}/', secret: s, events: [push], repositories: ['team/*']}]`,
    });
    await registry.pushImage('other', 'v1');
    const digest = await registry.pushImage('team/app', 'v1');
    await eventually(() => calls.length === 1, 'the call arrives');
    const [call] = calls;
    const event = JSON.parse(call?.body ?? '').events[0];
    assert.deepEqual(
      [event.action, event.target.repository, event.target.tag, event.target.digest],
      ['push', 'team/app', 'v1', digest],
    );
    assert.equal(
      call?.signature,
      `sha256=${createHmac('sha256', 's')
        .update(call?.body ?? '')
        .digest('hex')}`,
    );
  } finally {
    receiver.close();
  }
});

test('a proxy fetches what it does not have, keeps it, and answers when the other is away', async () => {
  await using upstream = await RegistryProcess.start();
  const layer = Buffer.alloc(300_000, 'layer');
  const digest = await upstream.pushImage('library/app', 'v1');
  const blob = await upstream.pushBlob('library/app', layer);
  await using proxy = await RegistryProcess.start({
    configuration: `proxy: {remote: '${upstream.host}', ttlSeconds: 0}`,
    flags: ['--insecure-registry', '127.0.0.0/8'],
  });
  const get = async (path: string): Promise<{ status: number; body: Buffer }> =>
    await proxy.call('GET', path);
  const manifest = await get('/v2/library/app/manifests/v1');
  assert.equal(manifest.status, 200, String(manifest.body));
  assert.deepEqual(
    (await Promise.all([get(`/v2/library/app/blobs/${blob}`), get(`/v2/library/app/blobs/${blob}`)])).map(
      ({ body }) => body.equals(layer),
    ),
    [true, true],
  );
  assert.equal((await get('/v2/library/app/manifests/nope')).status, 404);
  assert.equal((await proxy.call('POST', '/v2/library/app/blobs/uploads/')).status, 405);
  const moved = await upstream.pushImage('library/app', 'v1', 'moved');
  assert.equal(
    (await proxy.call('HEAD', '/v2/library/app/manifests/v1')).headers['docker-content-digest'],
    moved,
  );
  await upstream.stop();
  assert.equal((await get('/v2/library/app/manifests/v1')).status, 200);
  assert.equal((await get(`/v2/library/app/manifests/${digest}`)).status, 200);
  await eventually(async () => (await get(`/v2/library/app/blobs/${blob}`)).status === 200, 'it is kept');
});

test('what nobody names goes, what is being pushed stays; nothing finished is lost when it is killed', async () => {
  const home = mkdtempSync(join(directory, 'killed-'));
  const first = await RegistryProcess.start({ directory: home });
  const digest = await first.pushImage('app', 'v1');
  const begun = await first.call('POST', '/v2/app/blobs/uploads/');
  const location = String(begun.headers.location);
  await first.call('PATCH', location, { body: 'half of it, ' });
  await first.kill();
  await using second = await RegistryProcess.start({ directory: home });
  assert.equal((await second.call('HEAD', '/v2/app/manifests/v1')).headers['docker-content-digest'], digest);
  const state = await second.call('GET', location);
  assert.deepEqual([state.status, state.headers.range], [204, '0-11']);
  await second.call('PATCH', location, { headers: { 'Content-Range': '12-15' }, body: 'rest' });
  const whole = 'sha256:b6e4ea4c0a1ca8c9a3d1b7c7c3d1e8d6a3b5e9c7e5d7d6d1a9b4a7a2e1c0b2f3';
  assert.equal((await second.call('PUT', `${location}?digest=${whole}`)).status, 400);
  assert.equal((await second.call('GET', location)).status, 404);
  assert.deepEqual(readdirSync(join(home, 'data', 'registry', 'uploads')), []);
  assert.ok(existsSync(join(home, 'data', 'blobs', 'sha256', digest.slice(7))));
  const { body } = await second.call('GET', '/v2/app/manifests/v1', { headers: { Accept: MANIFEST } });
  for (const { digest: layer } of JSON.parse(String(body)).layers)
    assert.equal((await second.call('GET', `/v2/app/blobs/${layer}`)).status, 200);
});
