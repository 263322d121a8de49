import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { createRoot } from '#cluster/ca/root-certificate.ts';
import type { Write } from '#cluster/state/tables.ts';
import { RootRotationEnd } from './root-rotation.ts';
import { node, Scene, START_MS, swarm } from './scene.ts';

const [old, next] = [await createRoot('swarm', START_MS), await createRoot('swarm', START_MS)];
const keyOf = (pem: string): string =>
  new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' }).toString('base64');

function rotating(previousRootCertificate?: string): Write[] {
  const writes = swarm({ rootCertificate: next.certificate });
  const previous = { previousRootCertificate: old.certificate, crossSignedRootCertificate: 'cross' };
  return writes.map((write) =>
    write.table === 'swarm' && 'put' in write && previousRootCertificate !== undefined
      ? { table: 'swarm', put: { ...write.put, ...previous } }
      : write,
  );
}

function nodeWith(id: string, root: string): Write {
  const made = node(id);
  if (made.table !== 'node' || !('put' in made)) throw new Error('no node');
  const TLSInfo = { TrustRoot: root, CertIssuerSubject: '', CertIssuerPublicKey: keyOf(root) };
  const Description = {
    ...{ Hostname: id, Platform: { Architecture: '', OS: '' }, Resources: { NanoCPUs: 0, MemoryBytes: 0 } },
    ...{ Engine: { EngineVersion: '', Labels: {}, Plugins: [] }, TLSInfo },
  };
  return { table: 'node', put: { ...made.put, Description } };
}

test('the old root goes when the last node has a certificate of the new one', () => {
  const scene = new Scene(
    rotating(old.certificate),
    nodeWith('a', next.certificate),
    nodeWith('b', old.certificate),
  );
  const end = new RootRotationEnd();
  assert.deepEqual(scene.decides(end, 'swarm').writes, []);
  const [change] = scene.happens(nodeWith('b', next.certificate));
  assert.ok(change !== undefined);
  assert.deepEqual([...end.keysOf(change, scene.view)], ['swarm']);
  scene.decides(end, 'swarm');
  const after = scene.view.get('swarm', 'swarm');
  assert.equal(after?.rootCertificate, next.certificate);
  assert.equal(after?.previousRootCertificate, undefined);
  assert.equal(after?.crossSignedRootCertificate, undefined);
});

test('a node that has not said anything holds it up; without a replacement nothing is looked at', () => {
  const end = new RootRotationEnd();
  const waiting = new Scene(rotating(old.certificate), nodeWith('a', next.certificate), node('silent'));
  assert.deepEqual(waiting.decides(end, 'swarm').writes, []);
  const calm = new Scene(rotating());
  const [change] = calm.happens(nodeWith('a', next.certificate));
  assert.ok(change !== undefined);
  assert.deepEqual([...end.keysOf(change, calm.view)], []);
});
