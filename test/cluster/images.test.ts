import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { CertificateFiles, checkCredentials } from '#cluster/ca/certificate-files.ts';
import { IMAGE_METHOD } from '#cluster/images/image-protocol.ts';
import { TlsTransport } from '#cluster/transport/tls-transport.ts';
import { systemClock } from '#control/clock.ts';
import { kindOf } from '#model/errors.ts';
import { BUSYBOX, eventually } from '../support/docker-host.ts';
import { TestCloud } from '../support/test-cloud.ts';
import { archiveOf } from './image-exchange-fixture.ts';

const MIB = 1024 * 1024;
const cloud = await TestCloud.up('--nodes', '3', '--managers', '1');
after(() => cloud[Symbol.asyncDispose]());
const home = mkdtempSync(join(tmpdir(), 'drover-images-'));
after(() => rmSync(home, { recursive: true }));

interface Served {
  image: string;
  layers: number;
  bytes: number;
}

/** What a node's daemon says that it served of an image. */
function servedBy(node: number, image: string): Served[] {
  return cloud
    .ok('logs', 'c', `node${node}`)
    .split('\n')
    .filter((line) => line.includes('a node read an image'))
    .map((line): Served => JSON.parse(line))
    .filter((each) => each.image.startsWith(image));
}

function dataRoot(node: number): string {
  return join(cloud.root, 'lib/c/data', `node${node}`);
}

/** Archives of layers that are on their way to a node, with their sizes. */
function arriving(node: number): { path: string; bytes: number }[] {
  const tmp = join(dataRoot(node), 'tmp');
  return readdirSync(tmp).flatMap((name) => {
    const path = join(tmp, name, 'layer');
    const stats = statSync(path, { throwIfNoEntry: false });
    return stats?.isFile() === true ? [{ path, bytes: stats.size }] : [];
  });
}

const ps = (service: string, format: string): string[] =>
  cloud.docker(1, 'service', 'ps', service, '--no-trunc', '--format', format).split('\n');

async function running(service: string, count: number): Promise<void> {
  const isRunning = (line: string): boolean => line.startsWith('Running');
  await eventually(
    () => ps(service, '{{.CurrentState}}').filter(isRunning).length === count,
    `${count} tasks of ${service} run`,
    40_000,
  );
}

test('an image that was built on one node runs on all, and its layers are fetched once', async () => {
  cloud.docker(1, 'import', BUSYBOX, 'base:1');
  for (const [name, text] of [
    ['app:1', 'RUN echo one > /one'],
    ['app:2', 'RUN echo one > /one\nRUN echo two > /two'],
  ] as const) {
    const dockerfile = join(home, 'Dockerfile');
    writeFileSync(dockerfile, `FROM base:1\n${text}\n`);
    const { socket } = cloud.node(1);
    const built = spawnSync('docker', ['-H', `unix://${socket}`, 'build', '-t', name, home], {
      ...{ encoding: 'utf8', timeout: 60_000 },
      env: { ...process.env, DOCKER_BUILDKIT: '0' },
    });
    assert.equal(built.status, 0, built.stderr);
  }
  const id = cloud.docker(1, 'image', 'inspect', 'app:1', '-f', '{{.Id}}');
  const output = cloud.docker(
    ...([
      1,
      'service',
      'create',
      '--detach',
      '--name',
      'app',
      '--mode',
      'global',
      '--stop-grace-period',
      '100ms',
      'app:1',
    ] as const),
    ...['sh', '-c', 'cat /one; exec sleep 1000'],
  );
  assert.doesNotMatch(output, /could not be accessed/);
  const image = '{{.Spec.TaskTemplate.ContainerSpec.Image}}';
  assert.equal(cloud.docker(1, 'service', 'inspect', 'app', '-f', image), `app:1@${id}`);
  await running('app', 3);
  for (const node of [2, 3])
    assert.equal(cloud.docker(node, 'image', 'inspect', 'app:1', '-f', '{{.Id}}'), id);
  const first = [1, 2, 3].flatMap((node) => servedBy(node, 'app:1'));
  assert.equal(
    first.reduce((sum, { layers }) => sum + layers, 0),
    4,
    'two layers to each of two nodes',
  );
  assert.ok(first.reduce((sum, { bytes }) => sum + bytes, 0) > 2 * statSync(BUSYBOX).size);
  cloud.docker(1, 'service', 'update', '--detach', '--image', 'app:2', 'app');
  await eventually(
    () =>
      ps('app', '{{.Image}} {{.CurrentState}}').filter((line) => /^app:2.* Running/.test(line)).length === 3,
    'all run the second',
    60_000,
  );
  const second = [1, 2, 3].flatMap((node) => servedBy(node, 'app:2'));
  assert.equal(
    second.reduce((sum, { layers }) => sum + layers, 0),
    2,
    'one layer more to each of two nodes',
  );
  assert.ok(second.every(({ bytes }) => bytes < 100_000));
  cloud.docker(1, 'service', 'rm', 'app');
});

test('a node that has another image of that name runs the one that was meant', async () => {
  for (const node of [1, 2]) cloud.docker(node, 'import', '-m', `of node ${node}`, BUSYBOX, 'twice:1');
  const [id, other] = [1, 2].map((node) =>
    cloud.docker(node, 'image', 'inspect', 'twice:1', '-f', '{{.Id}}'),
  );
  assert.notEqual(id, other);
  cloud.docker(
    1,
    'service',
    'create',
    '--detach',
    '--name',
    'twice',
    '--mode',
    'global',
    'twice:1',
    'sleep',
    '1000',
  );
  await running('twice', 3);
  for (const node of [1, 2, 3]) {
    const container = cloud.docker(node, 'ps', '-q', '--filter', 'label=com.docker.swarm.service.name=twice');
    assert.equal(cloud.docker(node, 'inspect', '-f', '{{.Image}}', container), id, `node ${node}`);
  }
  assert.equal(cloud.docker(2, 'image', 'inspect', 'twice:1', '-f', '{{.Id}}'), other);
  assert.ok(
    [1, 2, 3].flatMap((node) => servedBy(node, 'twice:1')).every(({ bytes }) => bytes === 0),
    'every node has its layer already',
  );
  cloud.docker(1, 'service', 'rm', 'twice');
});

test('an image that is nowhere: the task says where it was looked for', async () => {
  cloud.docker(
    1,
    'service',
    'create',
    '--detach',
    '--name',
    'none',
    '--restart-condition',
    'none',
    'nowhere:1',
  );
  await eventually(
    () => ps('none', '{{.CurrentState}}')[0]?.startsWith('Rejected') === true,
    'it is rejected',
  );
  assert.match(
    ps('none', '{{.Error}}')[0] ?? '',
    /^"?No such image: nowhere:1 \(registry: .*registry-1\.docker\.io.*; no other node has it\)"?$/,
  );
  cloud.docker(1, 'service', 'rm', 'none');
});

test('a node that crashes in the middle leaves nothing half there; when it is back, all of it comes in little memory', async () => {
  const archive = join(home, 'large.tar');
  writeFileSync(archive, archiveOf(randomBytes(200 * MIB)));
  cloud.docker(3, 'import', archive, 'large:1');
  rmSync(archive);
  const before = contentOf(2);
  cloud.docker(
    ...([
      1,
      'service',
      'create',
      '--detach',
      '--name',
      'large',
      '--constraint',
      'node.hostname==node2',
    ] as const),
    ...['large:1', '/content'],
  );
  await eventually(() => arriving(2).some(({ bytes }) => bytes > MIB), 'it is on its way');
  const { pid } = cloud.node(3);
  assert.ok(pid !== undefined);
  process.kill(pid, 'SIGKILL');
  cloud.ok('crash', 'c', 'node3');
  await eventually(
    () => ps('large', '{{.Error}}').some((error) => error.includes('No such image')),
    'it is said',
  );
  assert.match(
    ps('large', '{{.Error}}').join('\n'),
    /No such image: large:1 \(registry: .*; node node3: .*broke.*\)/,
  );
  assert.deepEqual(contentOf(2), before);
  cloud.ok('start', 'c', 'node3');
  const peaks = [2, 3].map((node) => peakOf(cloud.node(node).pid ?? 0));
  await eventually(() => servedBy(3, 'large:1').length > 0, 'it has come', 60_000);
  assert.equal(servedBy(3, 'large:1')[0]?.bytes, 200 * MIB + 1536);
  for (const peak of peaks) assert.ok(peak() < 80 * MIB, `${peak()} bytes more than before`);
  await eventually(() => cloud.docker(2, 'images', '-q', 'large:1') !== '', 'node2 has it');
  cloud.docker(1, 'service', 'rm', 'large');
});

test('a node that was removed reads nothing, from managers and workers alike', async () => {
  const found = new CertificateFiles(join(dataRoot(3), 'cluster/certificates')).read(undefined);
  assert.ok(found !== undefined);
  const credentials = checkCredentials(found, Date.now());
  await using transport = new TlsTransport({
    ...{ credentials, clock: systemClock },
    ...{ isAllowed: () => true, report: () => undefined },
  });
  const ids = [1, 2].map((node) => cloud.docker(node, 'info', '-f', '{{.Swarm.NodeID}}'));
  const read = async (node: 1 | 2): Promise<unknown> => {
    const { address } = cloud.node(node);
    const signal = AbortSignal.timeout(20_000);
    const channel = await transport.open(`${address}:2377`, IMAGE_METHOD, signal, ids[node - 1]);
    try {
      await channel.send({ image: 'base:1' });
      for await (const message of channel.messages) return message;
      return undefined;
    } finally {
      channel.close();
    }
  };
  assert.deepEqual(await read(1), { repoDigests: [] });
  cloud.ok('crash', 'c', 'node3');
  cloud.docker(1, 'node', 'rm', '--force', 'node3');
  for (const node of [1, 2] as const) {
    await eventually(async () => {
      // the connection there is may still be on its way out
      const kind = await read(node).then(() => 'read', kindOf);
      assert.ok(kind === 'forbidden' || kind === 'unavailable', `node ${node}: ${kind}`);
      return kind === 'forbidden';
    }, `node ${node} refuses`);
  }
});

/** What lies in a node's stores of content, and what it is working on. */
function contentOf(node: number): string[] {
  return ['tmp', 'layers', 'blobs/sha256', 'downloads'].flatMap((folder) =>
    readdirSync(join(dataRoot(node), folder)).map((name) => `${folder}/${name}`),
  );
}

/** How much more memory a process has had since at once, in bytes. */
function peakOf(pid: number): () => number {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
  const kilobytes = (field: string): number =>
    Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  const before = kilobytes('VmRSS');
  return () => (kilobytes('VmHWM') - before) * 1024;
}
