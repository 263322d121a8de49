import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { after, test } from 'node:test';
import { RegistryProcess } from '../support/registry-process.ts';

/** The part of S3's protocol that a registry uses, kept in memory. Requests have to be signed; the signature itself is not checked. */
const objects = new Map<string, Buffer>();
const uploads = new Map<string, Map<number, Buffer>>();
const server: Server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://s3');
  const chunks: Buffer[] = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks);
    const key = decodeURIComponent(url.pathname).replace(/^\/images\//, '');
    if (!/^AWS4-HMAC-SHA256 Credential=key\//.test(request.headers.authorization ?? '')) {
      response.writeHead(403).end('<Error><Code>AccessDenied</Code></Error>');
      return;
    }
    const id = url.searchParams.get('uploadId');
    const found = objects.get(key);
    if (request.method === 'POST' && url.searchParams.has('uploads')) {
      uploads.set('u1', new Map());
      response.end('<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>');
    } else if (request.method === 'POST' && id !== null) {
      const parts = [...(uploads.get(id) ?? [])].sort(([a], [b]) => a - b).map(([, data]) => data);
      objects.set(key, Buffer.concat(parts));
      response.end('<CompleteMultipartUploadResult/>');
    } else if (request.method === 'PUT' && id !== null) {
      uploads.get(id)?.set(Number(url.searchParams.get('partNumber')), body);
      response.writeHead(200, { ETag: '"part"' }).end();
    } else if (request.method === 'PUT') {
      objects.set(key, body);
      response.writeHead(200, { ETag: '"whole"' }).end();
    } else if (request.method === 'DELETE') {
      objects.delete(key);
      response.writeHead(204).end();
    } else if (url.searchParams.has('list-type')) {
      const items = [...objects].map(
        ([name, data]) => `<Contents><Key>${name}</Key><Size>${data.length}</Size></Contents>`,
      );
      response.end(`<ListBucketResult>${items.join('')}</ListBucketResult>`);
    } else if (found === undefined) response.writeHead(404).end('<Error><Code>NoSuchKey</Code></Error>');
    else {
      const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '');
      const data = range === null ? found : found.subarray(Number(range[1]), Number(range[2]) + 1);
      response.writeHead(range === null ? 200 : 206, { 'Content-Length': data.length });
      response.end(request.method === 'HEAD' ? undefined : data);
    }
  });
});
server.listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));
after(() => server.close());
const address = server.address();
const port = typeof address === 'object' && address !== null ? address.port : 0;

test('blobs in S3: pushed, in parts where they are large, pulled, in ranges', async () => {
  await using registry = await RegistryProcess.start({
    configuration: `storage: {s3: {endpoint: 'http://127.0.0.1:${port}', bucket: images, prefix: 'r/', accessKeyId: key, secretAccessKey: secret}}`,
  });
  const digest = await registry.pushImage('app', 'v1');
  assert.ok(objects.has(`r/blobs/sha256/${digest.slice(7)}`));
  const large = randomBytes(70 << 20);
  const blob = await registry.pushBlob('app', large);
  assert.ok(objects.get(`r/blobs/sha256/${blob.slice(7)}`)?.equals(large));
  const whole = await registry.call('GET', `/v2/app/blobs/${blob}`);
  assert.ok(whole.body.equals(large));
  const part = await registry.call('GET', `/v2/app/blobs/${blob}`, { headers: { Range: 'bytes=5-9' } });
  assert.deepEqual(part.body, large.subarray(5, 10));
  assert.equal((await registry.call('GET', '/v2/app/manifests/v1')).status, 200);
});

test('S3 that refuses is said to be that, and nothing is taken for stored', async () => {
  await using registry = await RegistryProcess.start({
    configuration: `storage: {s3: {endpoint: 'http://127.0.0.1:${port}', bucket: images, accessKeyId: other, secretAccessKey: secret}}`,
  });
  await assert.rejects(registry.pushBlob('app', 'x'), /503 .*S3 HEAD|503 .*S3/);
  assert.equal((await registry.call('GET', '/v2/app/tags/list')).status, 200);
});
