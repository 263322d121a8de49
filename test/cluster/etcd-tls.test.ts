import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempDisposableSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CertificateFiles } from '#cluster/ca/certificate-files.ts';
import { createSealingKey } from '#cluster/ca/sealing.ts';
import { StoreRootFiles } from '#cluster/membership/store-root.ts';
import type { EtcdTlsFiles } from '#cluster/store/etcd-arguments.ts';
import { memberHealth } from '#cluster/store/etcd-cluster.ts';
import { joinEtcd } from '#cluster/store/etcd-join.ts';
import { EtcdStore } from '#cluster/store/etcd-store.ts';
import { tlsOf } from '#cluster/store/etcd-tls.ts';
import { systemClock } from '#control/clock.ts';
import { kindOf } from '#model/errors.ts';
import { changesUntil, put } from '../contract/store-contract.ts';
import { idFor, TestAuthority } from '../support/cluster-certificates.ts';
import { EtcdMachines, limit } from '../support/etcd-machines.ts';

/** A certificate for this machine that is its own CA. */
function makeCertificate(directory: string, name: string): EtcdTlsFiles {
  const [cert, key] = [join(directory, `${name}.pem`), join(directory, `${name}-key.pem`)];
  const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const files = ['-keyout', key, '-out', cert];
  execFileSync('openssl', ['req', '-x509', ...kind, ...names, ...files], { stdio: 'ignore' });
  return { ca: cert, cert, key };
}

test('members and stores talk over mutual TLS, and nobody else does', async () => {
  using directory = mkdtempDisposableSync(join(tmpdir(), 'drover-tls-'));
  const tls = makeCertificate(directory.path, 'cluster');
  await using machines = new EtcdMachines({ tls });
  const first = await machines.found('one');
  const how = { through: first.client, signal: limit(), report: machines.report };
  machines.kept(await joinEtcd(await machines.machine('two'), how));
  using store = machines.store(['two', 'one']);
  const revision = await put(store, 'a', '1');
  const watching = changesUntil(store.watch('', revision - 1, limit()), ({ length }) => length >= 2);
  await put(store, 'b', '2');
  assert.equal((await watching).length, 2);
  const lease = await store.lease(5000, limit());
  await lease.revoke();
  assert.ok((await memberHealth(store.client)).every(({ problem }) => problem === undefined));

  const endpoints = store.client.endpoints;
  const stranger = tlsOf(makeCertificate(directory.path, 'stranger'));
  const ca = tlsOf(tls)().ca;
  using unknown = new EtcdStore({ endpoints, tls: () => ({ ...stranger(), ca }) });
  await assert.rejects(unknown.get('a'), (error) => kindOf(error) === 'unavailable');
  using deceived = new EtcdStore({ endpoints, tls: () => ({ ...tlsOf(tls)(), ca: stranger().ca }) });
  await assert.rejects(deceived.get('a'), (error) => kindOf(error) === 'unavailable');
});

test('who has a certificate of the cluster does not get into the managers’ store', async () => {
  using directory = mkdtempDisposableSync(join(tmpdir(), 'drover-tls-'));
  const authority = await TestAuthority.create();
  const pathsOf = (files: CertificateFiles): EtcdTlsFiles => {
    const [ca, cert, key] = [files.path('roots'), files.path('certificate'), files.path('key')];
    return { ca, cert, key };
  };
  const root = new StoreRootFiles({
    directory: join(directory.path, 'manager'),
    memory: join(directory.path, 'memory'),
  });
  using mounted = new DisposableStack();
  mounted.defer(() => root.remove());
  const { clusterId } = authority;
  const own = { nodeId: idFor('manager'), clusterId, host: '127.0.0.1' };
  await root.certify({ ...own, key: createSealingKey(), clock: systemClock });
  const tls = pathsOf(root.certificates);
  await using machines = new EtcdMachines({ tls });
  await machines.found('one');
  using store = machines.store(['one']);
  await put(store, 'secret', '1');
  const files = new CertificateFiles(join(directory.path, 'worker'));
  files.write(await authority.credentials('worker', 'manager'), undefined);
  const { ca } = tlsOf(tls)();
  const shown = tlsOf(pathsOf(files));
  using intruder = new EtcdStore({ endpoints: store.client.endpoints, tls: () => ({ ...shown(), ca }) });
  await assert.rejects(intruder.get('secret'), (error) => kindOf(error) === 'unavailable');
});

test('a certificate that was renewed is used from then on', () => {
  using directory = mkdtempDisposableSync(join(tmpdir(), 'drover-tls-'));
  const files = makeCertificate(directory.path, 'node');
  const read = tlsOf(files);
  const before = read();
  assert.equal(read(), before);
  makeCertificate(directory.path, 'node');
  const after = read();
  assert.notEqual(after.cert, before.cert);
  assert.equal(after.cert, readFileSync(files.cert, 'utf8'));
  assert.equal(after.key, readFileSync(files.key, 'utf8'));
});
