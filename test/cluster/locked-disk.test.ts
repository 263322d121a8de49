import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { readdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { CertificateFiles } from '#cluster/ca/certificate-files.ts';
import { parseUnlockKey, type SealingKey } from '#cluster/ca/sealing.ts';
import { DROVER } from '../support/api-daemon.ts';
import { BUSYBOX, eventually } from '../support/docker-host.ts';
import { TestCloud } from '../support/test-cloud.ts';

/** statfs(2) */
const RAMFS_MAGIC = 0x858458f6;
const PEM = /-----BEGIN [A-Z ]*PRIVATE KEY-----/;
const MANAGERS = [1, 2, 3];

// managers of several need an etcd: one that was fetched for the tests, where the machine has none
process.env['PATH'] =
  `${join(import.meta.dirname, '../../.cache/peers/usr/bin')}:${process.env['PATH'] ?? ''}`;
const cloud = await TestCloud.up('--nodes', '3', '--managers', '3');
after(() => cloud[Symbol.asyncDispose]());
cloud.docker(1, 'import', BUSYBOX, 'bb');
/** The managers' own, which is the same for all of the cluster's life. */
const managerKey: SealingKey = parseUnlockKey(
  execFileSync(DROVER, ['cluster', 'key'], {
    env: { ...process.env, DOCKER_HOST: `unix://${cloud.socket(1)}` },
    encoding: 'utf8',
  }).trim(),
);

async function ok(node: number, ...argv: string[]): Promise<string> {
  const { status, stdout, stderr } = await cloud.dockerResult(node, argv);
  assert.equal(status, 0, `docker ${argv.join(' ')} on node ${node}: ${stdout}${stderr}`);
  return stdout.trim();
}

async function state(node: number): Promise<string> {
  return await ok(node, 'info', '-f', '{{.Swarm.LocalNodeState}}');
}

async function unlock(node: number): Promise<void> {
  const { status, stderr } = await cloud.dockerResult(node, ['swarm', 'unlock'], `${unlockKey}\n`);
  assert.equal(status, 0, stderr);
}

async function manages(node: number): Promise<void> {
  const knows = async (): Promise<boolean> =>
    (await cloud.dockerResult(node, ['node', 'ls', '-q'])).stdout.trim().split('\n').length === 3;
  await eventually(knows, `node ${node} manages`);
}

function dataRoot(node: number): string {
  return join(cloud.root, 'lib', 'c', 'data', `node${node}`);
}

function nodeFiles(node: number): CertificateFiles {
  return new CertificateFiles(join(dataRoot(node), 'cluster', 'certificates'));
}

/** As a manager itself sees it: its /run is its own. */
function etcdKeyFile(node: number): string {
  const { pid } = cloud.node(node);
  assert.ok(pid !== undefined);
  return `/proc/${pid}/root/run/drover/etcd/certificates/current/node.key`;
}

/** As PEM, as DER, and the number alone. */
function formsOf(pem: string): Buffer[] {
  const key = createPrivateKey(pem);
  const { d = '' } = key.export({ format: 'jwk' });
  const [, base64 = ''] = pem.split('\n');
  return [
    Buffer.from(base64),
    key.export({ type: 'pkcs8', format: 'der' }),
    key.export({ type: 'sec1', format: 'der' }),
    Buffer.from(d, 'base64url'),
  ];
}

function privateKeysOf(node: number): Buffer[] {
  const own = nodeFiles(node).read(managerKey)?.key;
  assert.ok(own !== undefined);
  return [...formsOf(own), ...formsOf(readFileSync(etcdKeyFile(node), 'utf8'))];
}

/** The files below a node's data root that have one of these in them, or any private key in PEM. */
function filesWith(node: number, secrets: readonly Buffer[]): string[] {
  const root = dataRoot(node);
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => {
      const content = readFileSync(path);
      const isPem = content.includes('PRIVATE KEY-----') && PEM.test(content.toString('latin1'));
      return isPem || secrets.some((secret) => content.includes(secret));
    })
    .map((path) => path.slice(root.length + 1));
}

const managersKeyForms = [managerKey.bytes, Buffer.from(managerKey.bytes.toString('base64').slice(0, 43))];
/** What `docker swarm unlock-key` says, once the swarm is locked. */
let unlockKey = '';

async function nothingLiesOpen(): Promise<void> {
  for (const node of MANAGERS) {
    let found: string[] = [];
    const isClosed = (): boolean => {
      found = filesWith(node, [...managersKeyForms, ...privateKeysOf(node)]);
      return found.length === 0;
    };
    await eventually(isClosed, `nothing lies open on node ${node}`).catch(() => assert.deepEqual(found, []));
  }
}

test('the managers’ key is all that lies open on the disk of a manager that is not locked', () => {
  for (const node of MANAGERS) {
    assert.deepEqual(filesWith(node, privateKeysOf(node)), []);
    assert.deepEqual(filesWith(node, managersKeyForms), ['cluster/manager.key']);
    assert.equal(statfsSync(etcdKeyFile(node)).type, RAMFS_MAGIC);
    assert.equal(statSync(etcdKeyFile(node)).mode & 0o777, 0o600);
  }
});

test('a key that was written before managers’ were sealed is sealed at the next start', async () => {
  const files = nodeFiles(1);
  const before = files.read(managerKey);
  assert.ok(before !== undefined);
  cloud.ok('stop', 'c', 'node1');
  files.write(before, undefined);
  assert.equal(filesWith(1, formsOf(before.key)).length, 2);
  cloud.ok('start', 'c', 'node1');
  await manages(1);
  assert.deepEqual(filesWith(1, formsOf(before.key)), []);
  assert.deepEqual(files.read(managerKey), before);
});

test('nothing lies open on the disk of a locked one', async () => {
  await ok(1, 'swarm', 'update', '--autolock=true');
  unlockKey = await ok(1, 'swarm', 'unlock-key', '-q');
  await nothingLiesOpen();
});

test('after a power failure of all, everything waits to be unlocked, and goes on then', async () => {
  await ok(1, 'service', 'create', '-q', '--detach', '--name', 'before', 'bb', 'sleep', '1000');
  cloud.ok('crash', 'c', ...MANAGERS.map((node) => `node${node}`));
  cloud.ok('start', 'c', ...MANAGERS.map((node) => `node${node}`));
  for (const node of MANAGERS) {
    assert.equal(await state(node), 'locked');
    assert.throws(() => statSync(etcdKeyFile(node)), { code: 'ENOENT' });
  }
  await unlock(1);
  await unlock(2);
  // two of three are a quorum
  for (const node of [1, 2]) await manages(node);
  assert.equal(await ok(1, 'service', 'ls', '--format', '{{.Name}}'), 'before');
  await unlock(3);
  await manages(3);
  cloud.ok('stop', 'c', 'node2');
  const written = async (): Promise<boolean> =>
    (await cloud.dockerResult(3, ['service', 'update', '-q', '--detach', '--label-add', 'a=b', 'before']))
      .status === 0;
  await eventually(written, 'the third one is of the quorum');
  cloud.ok('start', 'c', 'node2');
  await unlock(2);
  await manages(2);
  await nothingLiesOpen();
});

test('a daemon that is restarted finds the etcd that went on, with the same key', async () => {
  const before = readFileSync(etcdKeyFile(3), 'utf8');
  cloud.ok('kill', 'c', 'node3');
  cloud.ok('start', 'c', 'node3');
  assert.equal(await state(3), 'locked');
  assert.equal(readFileSync(etcdKeyFile(3), 'utf8'), before);
  await unlock(3);
  await manages(3);
  assert.equal(readFileSync(etcdKeyFile(3), 'utf8'), before);
});

test('certificates that are renewed have keys that lie sealed too', async () => {
  const before = nodeFiles(2).read(managerKey)?.key;
  await ok(1, 'swarm', 'ca', '--rotate', '--quiet');
  await eventually(() => nodeFiles(2).read(managerKey)?.key !== before, 'node 2 has another key');
  await nothingLiesOpen();
  cloud.ok('stop', 'c', 'node2');
  cloud.ok('start', 'c', 'node2');
  assert.equal(await state(2), 'locked');
  await unlock(2);
  await manages(2);
});

test('the key of a worker lies as it is, for nobody locks it out; a manager’s does not', async () => {
  await ok(1, 'node', 'demote', 'node3');
  const path = join(dataRoot(3), 'cluster', 'manager.key');
  const isKept = (): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;
  await eventually(() => !nodeFiles(3).isSealed && !isKept(), 'node 3 is a worker');
  assert.throws(() => statSync(etcdKeyFile(3)), { code: 'ENOENT' });
  cloud.ok('stop', 'c', 'node3');
  cloud.ok('start', 'c', 'node3');
  assert.equal(await state(3), 'active');
  await ok(1, 'node', 'promote', 'node3');
  await manages(3);
  await nothingLiesOpen();
});

test('once it is not locked any more, no manager waits', async () => {
  await ok(1, 'swarm', 'update', '--autolock=false');
  for (const node of MANAGERS)
    await eventually(() => filesWith(node, managersKeyForms).length === 1, `node ${node} can go on alone`);
  cloud.ok('crash', 'c', 'node2');
  cloud.ok('start', 'c', 'node2');
  await manages(2);
  assert.deepEqual(filesWith(2, privateKeysOf(2)), []);
});
