import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { hostOfFile } from '../support/docker-host.ts';

const host = await hostOfFile();

const CLIMBING = ['../climbed', 'a/../../climbed', '..', '/etc', 'a\u0000b', '-rf', `${'x'.repeat(300)}`];

test('names are names, not paths', async () => {
  const before = readdirSync(join(host.daemon.directory, 'data')).sort();
  for (const name of CLIMBING) {
    const query = encodeURIComponent(name);
    const create = await host.call('POST', `/v1.45/containers/create?name=${query}`, {
      Image: 'bb',
      Cmd: ['true'],
    });
    // Docker's clients may put a slash before a container's name.
    assert.equal(create.status, name === '/etc' ? 201 : 400, `container ${name}`);
    const volume = await host.call('POST', '/v1.45/volumes/create', { Name: name });
    assert.equal(volume.status, 400, `volume ${name}`);
    const network = await host.call('POST', '/v1.45/networks/create', { Name: name });
    assert.equal(network.status, 400, `network ${name}`);
    const tag = await host.call('POST', `/v1.45/images/bb/tag?repo=${query}`);
    assert.equal(tag.status, 400, `image ${name}`);
  }
  assert.deepEqual(readdirSync(join(host.daemon.directory, 'data')).sort(), before);
  assert.equal(host.ok('ps', '-a', '--format', '{{.Names}}'), 'etc');
});

test('a path in place of an ID finds nothing', async () => {
  for (const id of ['..%2f..%2fetc', '%2e%2e%2f%2e%2e', '..', '%00', '*', 'a%2fb']) {
    for (const path of [`/containers/${id}/json`, `/volumes/${id}`, `/networks/${id}`, `/exec/${id}/json`]) {
      const { status } = await host.call('GET', `/v1.45${path}`);
      assert.ok(status === 404 || status === 400, `${path}: ${status}`);
    }
  }
});

test('mounts cannot be put outside of the container, and the engine’s own places are not given away', () => {
  for (const target of ['..', '../../x', ''])
    host.fails(
      125,
      /invalid|must be absolute|mount path/i,
      'run',
      '--rm',
      '-v',
      `vol:${target}`,
      'bb',
      'true',
    );
  host.fails(125, /invalid|cannot|not supported/i, 'run', '--rm', '-v', 'vol:/', 'bb', 'true');
  host.fails(125, /invalid/i, 'run', '--rm', '-w', 'relative/../..', 'bb', 'true');
});

test('a flood of connections that say nothing does not keep the others from being served', async () => {
  const silent = Array.from({ length: 200 }, () => connect({ path: host.socket }));
  for (const socket of silent) socket.on('error', () => undefined);
  assert.equal(host.ok('ps', '-q'), '');
  for (const socket of silent) socket.destroy();
});

test('a body without end is refused at its limit', async () => {
  const body = { Image: 'bb', Cmd: ['true'], Env: [`A=${'x'.repeat(20 << 20)}`] };
  const { status } = await host.call('POST', '/v1.45/containers/create', body).catch(() => ({ status: 413 }));
  assert.ok([400, 413].includes(status), String(status));
  assert.equal(host.ok('ps', '-aq'), '');
});
