import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { after, test } from 'node:test';
import { digestOf } from '#engine/blobs/blob-store.ts';
import { MANIFEST, type RegistryAnswer, RegistryProcess } from '../support/registry-process.ts';

/** The four workflows of the distribution specification: push, pull, content discovery, content management. */
const registry = await RegistryProcess.start();
after(() => registry[Symbol.asyncDispose]());

const call = registry.call.bind(registry);
const NOTHING = `sha256:${'0'.repeat(64)}`;

function code(answer: RegistryAnswer): string {
  return JSON.parse(String(answer.body)).errors[0].code;
}

test('the base says that the specification is spoken', async () => {
  assert.equal((await call('GET', '/v2/')).status, 200);
  assert.equal((await call('GET', '/v3/')).status, 404);
});

test('a target that is no URL is not found, and what comes after it is answered', async () => {
  assert.equal((await registry.call('GET', '//')).status, 404);
  assert.equal((await registry.call('GET', '/v2/')).status, 200);
});

test('push: a blob by POST then PUT, in one POST, and in one PUT after PATCH', async () => {
  const one = randomBytes(1000);
  const begun = await call('POST', '/v2/push/one/blobs/uploads/');
  assert.equal(begun.status, 202);
  const location = new URL(String(begun.headers.location), `http://${registry.host}`);
  location.searchParams.set('digest', digestOf(one));
  const put = await call('PUT', location.href, { body: one });
  assert.equal(put.status, 201);
  assert.equal(put.headers.location, `/v2/push/one/blobs/${digestOf(one)}`);
  assert.deepEqual((await call('GET', String(put.headers.location))).body, one);
  await registry.pushBlob('push/one', '');
  assert.equal((await call('GET', `/v2/push/one/blobs/${digestOf('')}`)).body.length, 0);
  const two = randomBytes(10);
  await registry.pushBlob('push/one', two);
  assert.deepEqual((await call('GET', `/v2/push/one/blobs/${digestOf(two)}`)).body, two);
  assert.equal((await call('GET', `/v2/push/other/blobs/${digestOf(two)}`)).status, 404);
});

test('push: in chunks, in order, gone on with after a break', async () => {
  const data = randomBytes(3000);
  const begun = await call('POST', '/v2/push/chunks/blobs/uploads/', { headers: { 'Content-Length': '0' } });
  let location = String(begun.headers.location);
  const patch = (start: number, end: number): Promise<RegistryAnswer> =>
    call('PATCH', location, {
      headers: { 'Content-Range': `${start}-${end - 1}`, 'Content-Type': 'application/octet-stream' },
      body: data.subarray(start, end),
    });
  const first = await patch(0, 1000);
  assert.deepEqual([first.status, first.headers.range], [202, '0-999']);
  location = String(first.headers.location);
  const wrong = await patch(2000, 3000);
  assert.equal(wrong.status, 416);
  const state = await call('GET', location);
  assert.deepEqual([state.status, state.headers.range], [204, '0-999']);
  await breakOff(location, data.subarray(1000, 1700), 2000);
  let size = 0;
  // What came before the break is there as soon as the registry has noticed it.
  for (let tries = 0; size !== 1699 && tries < 200; tries++) {
    size = Number(/0-(\d+)/.exec(String((await call('GET', location)).headers.range))?.[1]);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(size, 1699);
  assert.equal((await patch(1700, 3000)).status, 202);
  const done = await call('PUT', `${location}?digest=${digestOf(data)}`);
  assert.equal(done.status, 201);
  assert.deepEqual((await call('GET', `/v2/push/chunks/blobs/${digestOf(data)}`)).body, data);
  assert.equal((await call('GET', location)).status, 404);
});

/** A PATCH whose connection breaks after less than it promised. */
async function breakOff(location: string, data: Buffer, promised: number): Promise<void> {
  const socket = connect(registry.port, '127.0.0.1');
  socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: ${promised}\r\n\r\n`);
  await new Promise<void>((resolve) => socket.write(data, () => resolve()));
  await new Promise((resolve) => setTimeout(resolve, 50));
  socket.destroy();
}

test('push: another digest, an upload that is not there or called off, digests that are none', async () => {
  const begun = await call('POST', '/v2/push/bad/blobs/uploads/');
  const wrong = await call('PUT', `${begun.headers.location}?digest=${NOTHING}`, { body: 'x' });
  assert.deepEqual([wrong.status, code(wrong)], [400, 'DIGEST_INVALID']);
  const none = await call('PUT', `${begun.headers.location}?digest=sha256:x`, { body: 'x' });
  assert.equal(none.status, 404);
  const again = await call('POST', '/v2/push/bad/blobs/uploads/');
  assert.equal((await call('DELETE', String(again.headers.location))).status, 204);
  assert.equal((await call('GET', String(again.headers.location))).status, 404);
  const other = await call('POST', '/v2/push/bad/blobs/uploads/');
  // An upload belongs to its repository.
  const stolen = String(other.headers.location).replace('push/bad', 'push/worse');
  assert.equal((await call('PATCH', stolen, { body: 'x' })).status, 404);
  for (const name of ['Upper/case', 'a//b', '-a', 'a'.repeat(300)])
    assert.equal((await call('POST', `/v2/${name}/blobs/uploads/`)).status >= 400, true, name);
});

test('push: a blob is mounted from another repository, or has to be sent', async () => {
  const data = randomBytes(100);
  const digest = await registry.pushBlob('mount/from', data);
  const mounted = await call('POST', `/v2/mount/to/blobs/uploads/?mount=${digest}&from=mount/from`);
  assert.equal(mounted.status, 201);
  assert.deepEqual((await call('GET', String(mounted.headers.location))).body, data);
  assert.equal(
    (await call('POST', `/v2/mount/to/blobs/uploads/?mount=${NOTHING}&from=mount/from`)).status,
    202,
  );
  assert.equal(
    (await call('POST', `/v2/mount/third/blobs/uploads/?mount=${digest}&from=mount/nope`)).status,
    202,
  );
});

test('push: manifests by tag and digest, with tags beside, with parts that are missing', async () => {
  const digest = await registry.pushImage('push/image', 'v1');
  const { body, headers } = await call('GET', '/v2/push/image/manifests/v1');
  assert.equal(digestOf(body), digest);
  assert.deepEqual([headers['docker-content-digest'], headers['content-type']], [digest, MANIFEST]);
  const tagged = await call('PUT', `/v2/push/image/manifests/${digest}?tag=a&tag=b`, {
    headers: { 'Content-Type': MANIFEST },
    body,
  });
  assert.equal(tagged.status, 201);
  assert.equal(tagged.headers['oci-tag'], 'a, b');
  assert.equal((await call('GET', '/v2/push/image/manifests/b')).status, 200);
  const lying = await call('PUT', `/v2/push/image/manifests/${NOTHING}`, {
    headers: { 'Content-Type': MANIFEST },
    body,
  });
  assert.deepEqual([lying.status, code(lying)], [400, 'DIGEST_INVALID']);
  const missing = String(body).replace(/"layers":\[\{[^}]*"digest":"sha256:[0-9a-f]+"/, (text) =>
    text.replace(/[0-9a-f]{64}/, '1'.repeat(64)),
  );
  assert.equal(code(await registry.pushManifest('push/image', 'x', missing)), 'MANIFEST_BLOB_UNKNOWN');
  assert.equal(code(await registry.pushManifest('push/image', 'x', 'nothing')), 'MANIFEST_INVALID');
  assert.equal((await registry.pushManifest('push/image', '.x', String(body))).status, 400);
  assert.equal((await registry.pushManifest('push/image', 'x', ' '.repeat(48 << 20))).status, 413);
  const empty = {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: {
      mediaType: 'application/vnd.example',
      digest: await registry.pushBlob('push/image', '{}'),
      size: 2,
    },
    layers: [],
  };
  assert.equal((await registry.pushManifest('push/image', 'empty', JSON.stringify(empty))).status, 201);
});

test('pull: HEAD and GET, ranges, what has not changed, what is not there', async () => {
  const data = randomBytes(5000);
  const digest = await registry.pushBlob('pull/it', data);
  const path = `/v2/pull/it/blobs/${digest}`;
  const head = await call('HEAD', path);
  assert.deepEqual([head.status, head.headers['content-length'], head.body.length], [200, '5000', 0]);
  const part = await call('GET', path, { headers: { Range: 'bytes=1000-1999' } });
  assert.deepEqual([part.status, part.headers['content-range']], [206, 'bytes 1000-1999/5000']);
  assert.deepEqual(part.body, data.subarray(1000, 2000));
  assert.deepEqual((await call('GET', path, { headers: { Range: 'bytes=-10' } })).body, data.subarray(4990));
  assert.equal((await call('GET', path, { headers: { Range: 'bytes=5000-' } })).status, 416);
  assert.equal((await call('GET', path, { headers: { 'If-None-Match': `"${digest}"` } })).status, 304);
  const missing = await call('GET', `/v2/pull/it/blobs/${NOTHING}`);
  assert.deepEqual([missing.status, code(missing)], [404, 'BLOB_UNKNOWN']);
  const image = await registry.pushImage('pull/it', 'v1');
  const manifest = await call('HEAD', `/v2/pull/it/manifests/${image}`);
  assert.deepEqual([manifest.status, manifest.headers['docker-content-digest']], [200, image]);
  assert.equal(code(await call('GET', '/v2/pull/it/manifests/nope')), 'MANIFEST_UNKNOWN');
  assert.equal(code(await call('GET', '/v2/pull/nobody/manifests/nope')), 'NAME_UNKNOWN');
});

test('discovery: tags in order and in pages', async () => {
  for (const tag of ['b', 'a', 'c', 'B']) await registry.pushImage('tags/here', tag);
  const tags = async (query: string): Promise<{ tags: string[]; link: string | undefined }> => {
    const answer = await call('GET', `/v2/tags/here/tags/list${query}`);
    return { tags: JSON.parse(String(answer.body)).tags, link: answer.headers['link']?.toString() };
  };
  assert.deepEqual((await tags('')).tags, ['B', 'a', 'b', 'c']);
  const first = await tags('?n=2');
  assert.deepEqual(first.tags, ['B', 'a']);
  assert.match(first.link ?? '', /<\/v2\/tags\/here\/tags\/list\?last=a&n=2>; rel="next"/);
  assert.deepEqual((await tags('?n=2&last=a')).tags, ['b', 'c']);
  assert.deepEqual(await tags('?n=0'), { tags: [], link: undefined });
  assert.deepEqual((await tags('?last=b')).tags, ['c']);
  assert.equal((await call('GET', '/v2/tags/nowhere/tags/list')).status, 404);
  const catalog = JSON.parse(String((await call('GET', '/v2/_catalog?n=1')).body));
  assert.equal(catalog.repositories.length, 1);
});

test('discovery: referrers, by type, with what they say of themselves', async () => {
  const subject = await registry.pushImage('refs/here', 'v1');
  const config = {
    mediaType: 'application/vnd.example.config',
    digest: await registry.pushBlob('refs/here', '{}'),
    size: 2,
  };
  const about = (artifactType: string | undefined, note: string): string =>
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      ...(artifactType === undefined ? {} : { artifactType }),
      config,
      layers: [],
      subject: { mediaType: MANIFEST, digest: subject, size: 1 },
      annotations: { note },
    });
  for (const [type, note] of [
    ['application/vnd.example.sbom', 'one'],
    [undefined, 'two'],
  ] as const) {
    const manifest = about(type, note);
    const pushed = await registry.pushManifest('refs/here', digestOf(manifest), manifest);
    assert.equal(pushed.headers['oci-subject'], subject);
  }
  const answer = await call('GET', `/v2/refs/here/referrers/${subject}`);
  assert.equal(answer.headers['content-type'], 'application/vnd.oci.image.index.v1+json');
  const index = JSON.parse(String(answer.body));
  assert.deepEqual(
    index.manifests
      .map((each: Record<string, unknown>) => [each['artifactType'], each['annotations']])
      .sort(),
    [
      ['application/vnd.example.config', { note: 'two' }],
      ['application/vnd.example.sbom', { note: 'one' }],
    ],
  );
  const filtered = await call(
    'GET',
    `/v2/refs/here/referrers/${subject}?artifactType=application/vnd.example.sbom`,
  );
  assert.equal(filtered.headers['oci-filters-applied'], 'artifactType');
  assert.equal(JSON.parse(String(filtered.body)).manifests.length, 1);
  const none = await call('GET', `/v2/refs/here/referrers/${NOTHING}`);
  assert.deepEqual([none.status, JSON.parse(String(none.body)).manifests], [200, []]);
  assert.equal((await call('GET', '/v2/refs/here/referrers/nope')).status, 400);
  // A subject need not be there yet.
  const early = about('x', 'early').replace(subject, NOTHING);
  assert.equal((await registry.pushManifest('refs/here', digestOf(early), early)).status, 201);
});

test('management: tags, manifests and blobs are deleted', async () => {
  const digest = await registry.pushImage('gone/here', 'v1');
  await call('PUT', `/v2/gone/here/manifests/v2`, {
    headers: { 'Content-Type': MANIFEST },
    body: (await call('GET', '/v2/gone/here/manifests/v1')).body,
  });
  assert.equal((await call('DELETE', '/v2/gone/here/manifests/v1')).status, 202);
  assert.equal((await call('GET', '/v2/gone/here/manifests/v1')).status, 404);
  assert.equal((await call('GET', '/v2/gone/here/manifests/v2')).status, 200);
  assert.equal((await call('DELETE', `/v2/gone/here/manifests/${digest}`)).status, 202);
  assert.equal((await call('GET', '/v2/gone/here/manifests/v2')).status, 404);
  assert.equal((await call('DELETE', `/v2/gone/here/manifests/${digest}`)).status, 404);
  const blob = await registry.pushBlob('gone/here', 'x');
  assert.equal((await call('DELETE', `/v2/gone/here/blobs/${blob}`)).status, 202);
  assert.equal((await call('GET', `/v2/gone/here/blobs/${blob}`)).status, 404);
  assert.equal((await call('DELETE', `/v2/gone/here/blobs/${blob}`)).status, 404);
  assert.equal((await call('PUT', '/v2/')).status, 405);
});

test('the pages list repositories, tags and layers, and escape what they show', async () => {
  await registry.pushImage('pages/app', 'v1');
  assert.match(String((await call('GET', '/')).body), /<a href="\/r\/pages\/app">pages\/app<\/a>/);
  assert.match(String((await call('GET', '/r/pages/app')).body), /<a href="\/r\/pages\/app:v1">v1<\/a>/);
  assert.match(String((await call('GET', '/r/pages/app:v1')).body), /layer 1<\/td><td><code>sha256:/);
  assert.equal((await call('GET', '/r/nope')).status, 404);
  assert.equal((await call('GET', '/r/pages/app:%zz')).status, 400);
  const metrics = String((await call('GET', '/metrics')).body);
  assert.match(metrics, /drover_registry_requests_total\{method="PUT",route="manifest",status="201"\} \d+/);
  assert.match(metrics, /drover_registry_repositories \d+/);
});
