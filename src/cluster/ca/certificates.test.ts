import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { DroverError } from '#model/errors.ts';
import type { NodeRecord } from '#model/node.ts';
import type { SwarmRecord } from '#model/swarm.ts';
import { checkCredentials, type NodeCredentials } from './certificate-files.ts';
import { createRequest } from './certificate-request.ts';
import { generateKey } from './ecdsa-key.ts';
import { identityOf } from './node-identity.ts';
import { parseCertificates } from './pem.ts';
import { renewalReason, renewalTimeMs } from './renewal.ts';
import { createAuthority, DEFAULT_LIFE_MS } from './root-authority.ts';
import { checkedRoot, createRoot, type Root } from './root-certificate.ts';
import { goingRoot, rotateRoot, rotationStep, tlsInfoOf } from './root-rotation.ts';

const CLUSTER = 'c'.repeat(25);
const NODE = 'n'.repeat(25);
const NOW = Date.UTC(2030, 0, 1);
const DAY = 24 * 3600 * 1000;
const clock = { nowMs: () => NOW, monotonicMs: () => NOW, sleep: () => Promise.resolve() };
const root = await createRoot(CLUSTER, NOW);

async function credentials(
  from: Root = root,
  previous?: { certificate: string; crossSigned: string },
  lifeMs = DEFAULT_LIFE_MS,
): Promise<NodeCredentials> {
  const { key, csr } = await createRequest();
  const options = { clusterId: CLUSTER, root: from, lifeMs, clock };
  const authority = createAuthority(previous === undefined ? options : { ...options, previous });
  return { key, ...(await authority.issue(csr, NODE, 'manager', ['10.0.0.7', 'manager-1.example'])) };
}

function refuses(kind: string, message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof DroverError && error.kind === kind && message.test(error.message);
}

test('a certificate says who its node is, for ninety days, and where it can be reached', async () => {
  const { leaf, identity } = checkCredentials(await credentials(), NOW);
  assert.deepEqual(identity, { nodeId: NODE, role: 'manager', clusterId: CLUSTER });
  assert.equal(leaf.validToDate.getTime(), NOW + 90 * DAY);
  assert.equal(leaf.ca, false);
  for (const host of [NODE, 'swarm-manager', 'localhost', 'manager-1.example'])
    assert.equal(leaf.checkHost(host), host);
  for (const address of ['127.0.0.1', '10.0.0.7']) assert.equal(leaf.checkIP(address), address);
  assert.equal(leaf.checkHost('swarm-worker'), undefined);
});

test('a root lives for twenty years and a certificate not longer than its root', async () => {
  const certificate = new X509Certificate(root.certificate);
  assert.equal(certificate.validToDate.getTime(), NOW + 20 * 365 * DAY);
  const { leaf } = checkCredentials(await credentials(root, undefined, 30 * 365 * DAY), NOW);
  assert.equal(leaf.validToDate.getTime(), certificate.validToDate.getTime());
});

test('credentials that do not fit are refused by name', async () => {
  const own = await credentials();
  const other = await createRoot(CLUSTER, NOW);
  assert.throws(
    () => checkCredentials({ ...own, roots: other.certificate }, NOW),
    refuses('forbidden', /foreign/),
  );
  assert.throws(() => checkCredentials(own, NOW + 90 * DAY), refuses('forbidden', /expired at/));
  assert.throws(() => checkCredentials(own, NOW - 2 * DAY), refuses('forbidden', /not valid before/));
  const key = await generateKey();
  assert.throws(() => checkCredentials({ ...own, key }, NOW), refuses('invalid', /does not belong/));
  assert.throws(() => checkCredentials({ ...own, key: 'no' }, NOW), refuses('invalid', /not readable/));
  assert.throws(() => checkCredentials({ ...own, certificate: 'no' }, NOW), refuses('invalid', /no PEM/));
  assert.throws(
    () => checkCredentials({ ...own, certificate: root.certificate }, NOW),
    refuses('forbidden', /not a node's/),
  );
});

test('requests that are damaged or forged, and names that only the CA gives, get no certificate', async () => {
  const authority = createAuthority({ clusterId: CLUSTER, root, lifeMs: DEFAULT_LIFE_MS, clock });
  const { csr } = await createRequest();
  const bytes = Buffer.from(csr.split('\n').slice(1, -2).join(''), 'base64');
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  for (const request of ['', 'x', `${csr}${csr}`, csr.replace('M', '!'), forged, 'A'.repeat(10_000)])
    await assert.rejects(authority.issue(request, NODE, 'worker'), refuses('invalid', /certificate request/));
  for (const host of [
    '',
    'a b',
    'Swarm-Manager',
    'swarm-worker',
    NODE.toUpperCase(),
    'fe80::1%lo',
    '*.x',
    '-a',
  ])
    await assert.rejects(authority.issue(csr, NODE, 'worker', [host]), refuses('invalid', /invalid host/));
  for (const id of ['', 'short', `${NODE}\n`, '../..'])
    await assert.rejects(authority.issue(csr, id, 'worker'), refuses('invalid', /invalid node ID/));
  assert.throws(
    () => createAuthority({ clusterId: CLUSTER, root, lifeMs: 3599_999, clock }),
    refuses('invalid', /1 hour/),
  );
});

test('an identity is read from a subject of exactly three parts', async () => {
  assert.throws(
    () => identityOf(new X509Certificate(root.certificate)),
    refuses('forbidden', /CN is no node ID/),
  );
});

test('a certificate is renewed between half and four fifths of its life, or when role or root change', async () => {
  const { leaf } = checkCredentials(await credentials(), NOW);
  const start = leaf.validFromDate.getTime();
  const life = leaf.validToDate.getTime() - start;
  const at = (below: (limit: number) => number): number =>
    (renewalTimeMs(leaf, { below, id: () => NODE }) - start) / life;
  assert.equal(
    at(() => 0),
    0.5,
  );
  assert.equal(
    at((limit) => limit - 1),
    0.8,
  );
  const view = { certificate: leaf, renewAtMs: NOW + DAY, nowMs: NOW };
  assert.equal(renewalReason(view), undefined);
  assert.equal(renewalReason({ ...view, nowMs: NOW + DAY }), 'age');
  assert.equal(renewalReason({ ...view, role: 'manager' }), undefined);
  assert.equal(renewalReason({ ...view, role: 'worker' }), 'role');
  const next = await createRoot(CLUSTER, NOW);
  assert.equal(renewalReason({ ...view, root: new X509Certificate(root.certificate) }), undefined);
  assert.equal(renewalReason({ ...view, root: new X509Certificate(next.certificate) }), 'root');
});

test('while a root is replaced, nodes of either side accept each other, and the old one goes when all have moved', async () => {
  const old = await credentials();
  const taking = await createRoot(CLUSTER, NOW);
  const rotation = await rotateRoot(goingRoot(root), CLUSTER, NOW, taking);
  const moved = await credentials(taking, {
    certificate: rotation.previousRootCertificate,
    crossSigned: rotation.crossSignedRootCertificate,
  });
  // the new certificate by the old root alone, through the cross-signed one, and by both
  checkCredentials({ ...moved, roots: root.certificate }, NOW);
  checkCredentials(moved, NOW);
  checkCredentials({ ...old, roots: moved.roots }, NOW);
  assert.throws(
    () => checkCredentials({ ...old, roots: rotation.root.certificate }, NOW),
    refuses('forbidden', /foreign/),
  );

  const swarm: SwarmRecord = {
    ...SWARM,
    rootCertificate: rotation.root.certificate,
    previousRootCertificate: rotation.previousRootCertificate,
    crossSignedRootCertificate: rotation.crossSignedRootCertificate,
  };
  const behind = await node('1', old);
  const ahead = await node('2', moved);
  assert.deepEqual(rotationStep(swarm, [behind, ahead]), { kind: 'wait', nodeIds: [behind.ID] });
  const step = rotationStep(swarm, [ahead]);
  assert.ok(step.kind === 'finish');
  assert.deepEqual(step.swarm, { ...SWARM, rootCertificate: rotation.root.certificate });
  assert.deepEqual(rotationStep(step.swarm, [behind]), { kind: 'none' });
});

test('a root of a user has to be a CA in time, with its key', async () => {
  const other = await createRoot(CLUSTER, NOW);
  assert.deepEqual(checkedRoot(other, NOW), other);
  const bare = { ...other, certificate: `the CA\n${other.certificate.trim()}` };
  assert.deepEqual(checkedRoot(bare, NOW), other);
  const bundle = { ...other, certificate: other.certificate + root.certificate };
  assert.throws(() => checkedRoot(bundle, NOW), refuses('invalid', /one certificate is taken/));
  assert.throws(() => checkedRoot({ ...other, key: root.key }, NOW), refuses('invalid', /don't match/));
  assert.throws(() => checkedRoot(other, NOW + 21 * 365 * DAY), refuses('invalid', /expired/));
  const { certificate, key } = await credentials();
  assert.throws(() => checkedRoot({ certificate, key }, NOW), refuses('invalid', /not a self-signed CA/));
});

test('texts of many certificates are refused', () => {
  assert.throws(
    () => parseCertificates(root.certificate.repeat(9), 'chain'),
    refuses('invalid', /more than 8/),
  );
  assert.throws(() => parseCertificates('x'.repeat(70_000), 'chain'), refuses('invalid', /too large/));
});

const SWARM: SwarmRecord = {
  ID: CLUSTER,
  CreatedAt: '',
  UpdatedAt: '',
  Spec: { Name: 'default', Labels: {} },
  rootCertificate: root.certificate,
  sealedRootKey: '',
  joinTokens: { Worker: '', Manager: '' },
  DefaultAddrPool: [],
  SubnetSize: 24,
  DataPathPort: 4789,
};

async function node(id: string, own: NodeCredentials): Promise<NodeRecord> {
  return {
    ID: id,
    CreatedAt: '',
    UpdatedAt: '',
    Spec: { Name: '', Labels: {}, Role: 'worker', Availability: 'active' },
    Status: { State: 'ready', Addr: '', since: '' },
    address: '',
    Description: {
      Hostname: '',
      Platform: { Architecture: '', OS: '' },
      Resources: { NanoCPUs: 0, MemoryBytes: 0 },
      Engine: { EngineVersion: '', Labels: {}, Plugins: [] },
      TLSInfo: await tlsInfoOf(own.certificate, own.roots),
    },
  };
}
