import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { digestOf } from '#engine/blobs/blob-store.ts';
import { DockerHost } from '../support/docker-host.ts';
import { HostileRegistry, type ImageParts, imageOf, serving } from '../support/hostile-registry.ts';
import { RegistryProcess } from '../support/registry-process.ts';

const host = await DockerHost.open();
after(() => host[Symbol.asyncDispose]());
const data = join(host.daemon.directory, 'data');

/** Pulls without blocking this process, which may be the registry. */
async function pull(name: string): Promise<{ status: number | null; text: string }> {
  const command = host.start('pull', name);
  const status = await command.end();
  return { status, text: command.stdout + command.stderr };
}

function assertNothingStored(before: { blobs: number; layers: number }): void {
  assert.deepEqual(stored(), before);
  assert.deepEqual(readdirSync(join(data, 'tmp')), []);
}

function stored(): { blobs: number; layers: number } {
  host.docker('image', 'prune', '-f');
  return {
    blobs: readdirSync(join(data, 'blobs', 'sha256')).length,
    layers: readdirSync(join(data, 'layers')).length,
  };
}

/** Another one each time: what was fetched before is not fetched again. */
function randomArchive(): Buffer {
  writeFileSync(join(host.directory, 'random'), randomBytes(20_000));
  return execFileSync('tar', ['-cf', '-', '-C', host.directory, 'random']);
}

/** The image of a random file. */
function image(change: Parameters<typeof imageOf>[1] = {}): ImageParts {
  return imageOf(randomArchive(), change);
}

test('registries that lie about digests and sizes are found out, and nothing is kept', async () => {
  const before = stored();
  for (const [parts, message] of [
    [image({ size: 5 }), /sends more than the 5 bytes/],
    [image({ digest: `sha256:${'1'.repeat(64)}` }), /not sha256:1{64} as it should be/],
    [image({ configSize: 3 }), /has \d+ bytes, its manifest says 3/],
    [image({ layer: gzipSync('another') }), /the archive|content is|cut off|invalid/],
    [image({ layer: Buffer.from('no archive '.repeat(100)) }), /invalid tar header|content is/],
    [image({ size: 100_000 }), /sent \d+ of 100000 bytes|broke off/],
  ] as const) {
    await using registry = await HostileRegistry.open(serving(parts));
    const done = await pull(`127.0.0.1:${registry.port}/x:1`);
    assert.notEqual(done.status, 0);
    assert.match(done.text, message);
    assertNothingStored(before);
  }
  const parts = image();
  await using registry = await HostileRegistry.open((path, response, request) => {
    response.setHeader('Docker-Content-Digest', `sha256:${'2'.repeat(64)}`);
    serving(parts)(path, response, request);
  });
  assert.match(
    (await pull(`127.0.0.1:${registry.port}/x:1`)).text,
    /the registry says it is sha256:2+, but it is/,
  );
  const byDigest = await pull(`127.0.0.1:${registry.port}/x@sha256:${'3'.repeat(64)}`);
  assert.match(byDigest.text, /not sha256:3{64} as it should be/);
  assertNothingStored(before);
});

test('a zip bomb is given up, and the disk given back', async () => {
  const before = stored();
  const header = Buffer.alloc(512);
  header.write('zeros\0', 0);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write('\u0000'.repeat(12), 124, 'latin1');
  header.writeUInt8(0x80, 124);
  header.writeUInt32BE(3_000_000_000, 132);
  header.write('00000000000\0', 136);
  header.write('        0', 148);
  header.write('ustar\u000000', 257);
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  const zeros = gzipSync(Buffer.alloc(100_000_000), { level: 9 });
  const layer = Buffer.concat([gzipSync(header), ...Array.from({ length: 30 }, () => zeros)]);
  assert.ok(layer.length < 4_000_000);
  await using registry = await HostileRegistry.open(serving(image({ layer })));
  const done = await pull(`127.0.0.1:${registry.port}/bomb:1`);
  assert.notEqual(done.status, 0);
  assert.match(done.text, /expands to more than 250 times/);
  assertNothingStored(before);
});

test('indexes that name themselves, or no image for this machine', async () => {
  const index = (manifests: object[]): Buffer =>
    Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests }),
    );
  const levels: Buffer[] = [index([])];
  for (let depth = 0; depth < 6; depth++) {
    const below = levels[0] ?? Buffer.alloc(0);
    levels.unshift(
      index([
        {
          mediaType: 'application/vnd.oci.image.index.v1+json',
          digest: digestOf(below),
          size: below.length,
          platform: { os: 'linux', architecture: 'amd64' },
        },
      ]),
    );
  }
  await using registry = await HostileRegistry.open((path, response) => {
    response.setHeader('Content-Type', 'application/vnd.oci.image.index.v1+json');
    if (path.endsWith('/manifests/other'))
      response.end(
        index([{ digest: digestOf('x'), size: 1, platform: { os: 'linux', architecture: 's390x' } }]),
      );
    else response.end(levels.find((each) => path.endsWith(digestOf(each))) ?? levels[0]);
  });
  assert.match((await pull(`127.0.0.1:${registry.port}/x:1`)).text, /names indexes without end/);
  assert.match(
    (await pull(`127.0.0.1:${registry.port}/x:other`)).text,
    /no matching manifest for linux\/amd64[\s\S]*linux\/s390x/,
  );
});

test('redirects stay in the kind of network that the registry is in', async () => {
  const parts = image();
  for (const [target, message] of [
    ['http://169.254.169.254/latest', /redirects to the link-local address 169\.254\.169\.254/],
    ['http://10.0.0.1/x', /redirects to the private address 10\.0\.0\.1/],
    ['file:///etc/passwd', /which is not secure/],
  ] as const) {
    await using registry = await HostileRegistry.open(
      serving(parts, (response) => {
        response.writeHead(307, { Location: target }).end();
        return true;
      }),
    );
    assert.match((await pull(`127.0.0.1:${registry.port}/x:1`)).text, message);
  }
  await using storage = await HostileRegistry.open((_path, response, request) => {
    assert.equal(request.headers.authorization, undefined);
    response.end(parts.layer);
  });
  await using registry = await HostileRegistry.open(
    serving(parts, (response) => {
      response.writeHead(307, { Location: `http://127.0.0.1:${storage.port}/blob` }).end();
      return true;
    }),
  );
  assert.equal((await pull(`127.0.0.1:${registry.port}/redirected:1`)).status, 0);
  host.ok('rmi', `127.0.0.1:${registry.port}/redirected:1`);
});

test('a transfer that breaks off goes on where it stopped; one that is refused for now is tried again', async () => {
  const parts = image();
  const ranges: (string | undefined)[] = [];
  await using registry = await HostileRegistry.open(
    serving(parts, (response, request) => {
      ranges.push(request.headers.range);
      if (ranges.length === 1) {
        response.writeHead(200, { 'Content-Length': parts.layer.length });
        response.write(parts.layer.subarray(0, 4000), () => response.destroy());
      } else if (ranges.length === 2) response.writeHead(503, { 'Retry-After': '0' }).end();
      else {
        const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
        response.writeHead(206, {
          'Content-Range': `bytes ${start}-${parts.layer.length - 1}/${parts.layer.length}`,
        });
        response.end(parts.layer.subarray(start));
      }
      return true;
    }),
  );
  const name = `127.0.0.1:${registry.port}/broken:1`;
  const done = await pull(name);
  assert.equal(done.status, 0, done.text);
  assert.equal(ranges[0], undefined);
  assert.match(ranges[2] ?? '', /^bytes=[1-9]\d*-/);
  host.ok('rmi', name);
});

test('rate limits are said to be that', async () => {
  await using registry = await HostileRegistry.open((_path, response) => {
    response.writeHead(429, { 'Retry-After': '3600' });
    response.end('{"errors":[{"code":"TOOMANYREQUESTS","message":"you have reached your limit"}]}');
  });
  assert.match(
    (await pull(`127.0.0.1:${registry.port}/x:1`)).text,
    /toomanyrequests: .*you have reached your limit; the registry asks to wait 3600 s/,
  );
});

test('push and pull: digests stay, layers that are there are not sent, others are mounted', async () => {
  await using registry = await RegistryProcess.start();
  const name = `${registry.host}/team/app:1`;
  host.ok('tag', 'bb', name);
  const pushed = host.ok('push', name);
  const digest = /digest: (sha256:[0-9a-f]{64})/.exec(pushed)?.[1] ?? '';
  assert.match(host.ok('push', name), /Layer already exists/);
  host.ok('tag', 'bb', `${registry.host}/other/app:1`);
  assert.match(host.ok('push', `${registry.host}/other/app:1`), /Mounted/);
  const id = host.ok('image', 'inspect', '-f', '{{.Id}}', name);
  host.ok('save', '-o', join(host.directory, 'saved.tar'), name);
  host.ok('rmi', '-f', id);
  assert.match(host.ok('pull', name), new RegExp(`Digest: ${digest}`));
  assert.equal(
    host.ok('image', 'inspect', '-f', '{{.Id}} {{index .RepoDigests 0}}', name),
    `${id} ${registry.host}/team/app@${digest}`,
  );
  assert.match(host.ok('pull', name), /Image is up to date/);
  assert.equal(host.ok('run', '--rm', name, 'echo', 'ran'), 'ran');
  host.ok('rmi', '-f', id);
  host.ok('load', '-i', join(host.directory, 'saved.tar'));
  host.ok('push', name);
  assert.equal(
    (await registry.call('HEAD', '/v2/team/app/manifests/1')).headers['docker-content-digest'],
    digest,
  );
  host.ok('pull', `${registry.host}/team/app@${digest}`);
  host.ok('pull', '-a', `${registry.host}/other/app`);
  assert.match(host.ok('search', `${registry.host}/team`), /team\/app/);
  host.fails(1, /manifest unknown/, 'pull', `${registry.host}/team/app:nope`);
  host.fails(1, /name unknown|manifest unknown/, 'pull', `${registry.host}/nobody:1`);
  host.fails(1, /does not exist locally with the tag/, 'push', `${registry.host}/never:1`);
  const inspected = await host.call('GET', `/distribution/${registry.host}/team/app:1/json`);
  assert.equal(inspected.status, 200);
  assert.match(JSON.stringify(inspected.body), new RegExp(`"digest":"${digest}".*"architecture":"amd64"`));
  host.ok('tag', `${registry.host}/team/app:1`, 'bb');
});

test('a layer of many files, and one of many megabytes, there and back', async () => {
  await using registry = await RegistryProcess.start();
  const file = join(host.directory, 'large');
  writeFileSync(file, randomBytes(30_000_000));
  const tar = execFileSync('tar', ['-cf', '-', '-C', host.directory, 'large'], { maxBuffer: 1 << 26 });
  host.input(tar, 'import', '-', `${registry.host}/large:1`);
  host.ok('push', `${registry.host}/large:1`);
  host.ok('rmi', `${registry.host}/large:1`);
  host.ok('pull', `${registry.host}/large:1`);
  const layer = host.ok(
    'image',
    'inspect',
    '-f',
    '{{.GraphDriver.Data.UpperDir}}',
    `${registry.host}/large:1`,
  );
  assert.ok(readFileSync(join(layer, 'large')).equals(readFileSync(file)));
  host.ok('rmi', `${registry.host}/large:1`);
});
