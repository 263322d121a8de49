import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRoot } from '#cluster/ca/root-certificate.ts';
import type { SwarmRecord, SwarmSpec } from '#model/swarm.ts';
import { controlOver, oneNodeSwarm } from './control-fixture.ts';
import type { RootRotation } from './control-ports.ts';
import { firstExternalRoot } from './external-authorities.ts';
import type { SwarmControl } from './swarm-control.ts';
import { completeSwarmSpec, DEFAULT_SWARM_SPEC, firstSwarm } from './swarm-spec.ts';

test('what is not given stays; tokens are made anew when asked for', async () => {
  const { swarm } = controlOver(await oneNodeSwarm());
  const { record, revision: version } = swarm.inspect();
  const spec = { Name: 'default', Orchestration: { TaskHistoryRetentionLimit: 2 } };
  await swarm.update({ version, spec, rotateWorkerToken: true });
  const { record: after, revision } = swarm.inspect();
  assert.deepEqual(after.Spec, { ...record.Spec, Orchestration: { TaskHistoryRetentionLimit: 2 } });
  assert.deepEqual(after.joinTokens, { Worker: 'token-1', Manager: 'manager' });
  await assert.rejects(swarm.update({ version, spec }), { message: 'update out of sequence' });
  await assert.rejects(swarm.update({ version: revision, spec: { Name: 'x' } }), { kind: 'invalid' });
});

interface Asked {
  readonly given: { certificate: string; key: string | undefined } | undefined;
}

/** A cluster whose CA can be replaced, and what was asked of who does it. */
async function replaceable(): Promise<{ swarm: SwarmControl; rotations: Asked[]; tried: string[][] }> {
  const rotations: Asked[] = [];
  const tried: string[][] = [];
  const rootRotation: RootRotation = {
    rotate: async ({ rootCertificate }, given) => {
      rotations.push({ given });
      return {
        rootCertificate: given?.certificate ?? 'another',
        sealedRootKey: given !== undefined && given.key === undefined ? '' : 'next sealed',
        previousRootCertificate: rootCertificate,
      };
    },
    tryExternal: async (_swarm, rootCertificate, urls) => void tried.push([rootCertificate, ...urls]),
  };
  const { swarm } = controlOver(await oneNodeSwarm(), { rootRotation });
  return { swarm, rotations, tried };
}

async function change(swarm: SwarmControl, CAConfig: SwarmSpec['CAConfig'] & object): Promise<SwarmRecord> {
  await swarm.update({ version: swarm.inspect().revision, spec: { Name: 'default', CAConfig } });
  return swarm.inspect().record;
}

const next = await createRoot('x'.repeat(25), 1_767_225_600_000);

test('another CA goes on with the same tokens, and the old certificate is trusted meanwhile; the key is not kept', async () => {
  const { swarm, rotations } = await replaceable();
  const { certificate } = next;
  const record = await change(swarm, { SigningCACert: certificate, SigningCAKey: 'key', ForceRotate: 1 });
  assert.deepEqual(rotations, [{ given: { certificate, key: 'key' } }]);
  assert.deepEqual([record.rootCertificate, record.previousRootCertificate], [certificate, 'root']);
  assert.deepEqual(record.joinTokens, { Worker: `worker@${certificate}`, Manager: `manager@${certificate}` });
  assert.equal(JSON.stringify(record).includes('"key"'), false);
});

test('an external CA is tried before anything is written, and takes over a root whose key is not given', async () => {
  const { swarm, rotations, tried } = await replaceable();
  const { certificate } = next;
  const [first, second] = ['https://ca.example/sign', 'https://ca2.example/sign'];
  assert.ok(first !== undefined && second !== undefined);
  await assert.rejects(change(swarm, { SigningCACert: certificate }), /needs its key, or an external CA/);
  const other = [{ URL: first }];
  // one that signs with the root that goes is none for the next one
  await assert.rejects(
    change(swarm, {
      SigningCACert: certificate,
      ExternalCAs: [{ URL: first, CACert: (await createRoot('y'.repeat(25), 0)).certificate }],
    }),
    /needs its key/,
  );
  await assert.rejects(
    change(swarm, { ExternalCAs: [{ URL: 'http://ca.example/sign' }] }),
    /begins with https/,
  );
  await assert.rejects(
    change(swarm, { ExternalCAs: [{ URL: first, Protocol: 'x' }] }),
    /unrecognized external CA protocol x/,
  );
  assert.deepEqual([rotations, tried], [[], []]);
  const record = await change(swarm, { SigningCACert: certificate, ExternalCAs: other });
  assert.deepEqual(tried, [[certificate, first]]);
  assert.deepEqual(rotations, [{ given: { certificate, key: undefined } }]);
  assert.equal(record.sealedRootKey, '');
  const kept = { Protocol: 'cfssl', URL: first, CACert: certificate };
  assert.deepEqual(record.Spec.CAConfig?.ExternalCAs, [kept]);
  // as clients send it back
  await change(swarm, record.Spec.CAConfig ?? {});
  assert.equal(tried.length, 1, 'what is known is not tried again');
  await change(swarm, { ExternalCAs: [kept, { URL: second }] });
  assert.deepEqual(tried[1], [certificate, first, second]);
  assert.equal(rotations.length, 1);
});

test('without a way to replace the CA that is refused', async () => {
  const { swarm } = controlOver(await oneNodeSwarm());
  const rotate = { Name: 'default', CAConfig: { ForceRotate: 1 } };
  const version = swarm.inspect().revision;
  await assert.rejects(swarm.update({ version, spec: rotate }), { kind: 'not-implemented' });
});

test('locking makes an unlock key, rotating another one, and unlocking gives it up', async () => {
  let made = 0;
  const { swarm } = controlOver(await oneNodeSwarm(), { makeUnlockKey: () => `unlock-${++made}` });
  const key = async (lock: boolean | undefined, rotate: boolean): Promise<string | undefined> => {
    const spec = {
      Name: 'default',
      ...(lock === undefined ? {} : { EncryptionConfig: { AutoLockManagers: lock } }),
    };
    const version = swarm.inspect().revision;
    await swarm.update({ version, spec, rotateManagerUnlockKey: rotate });
    return swarm.inspect().record.sealedUnlockKey;
  };
  assert.equal(
    await key(undefined, true),
    undefined,
    'as with Docker, nothing is made where nothing is locked',
  );
  assert.equal(await key(true, false), 'unlock-1');
  assert.equal(await key(undefined, false), 'unlock-1');
  assert.equal(await key(undefined, true), 'unlock-2');
  assert.equal(await key(true, true), 'unlock-3');
  assert.equal(await key(false, true), undefined);
  assert.equal(await key(true, true), 'unlock-4');
});

test('a first swarm has Docker’s defaults, and refuses pools that no subnet fits into', () => {
  const made = {
    id: 'a',
    ingressId: 'b',
    now: '2026-01-01T00:00:00Z',
    spec: {},
    subnetSize: 0,
    dataPathPort: 0,
    rootCertificate: '',
    sealedRootKey: '',
    sealedUnlockKey: 'sealed',
    joinTokens: { Worker: '', Manager: '' },
  };
  const [swarm, ingress] = firstSwarm({ ...made, defaultAddrPool: ['10.20.0.0/16'] });
  assert.ok(swarm !== undefined && 'put' in swarm && swarm.table === 'swarm');
  assert.deepEqual([swarm.put.SubnetSize, swarm.put.DataPathPort], [24, 4789]);
  assert.ok(ingress !== undefined && 'put' in ingress && ingress.table === 'network');
  assert.deepEqual(ingress.put.IPAM.Config, [{ Subnet: '10.20.0.0/24', Gateway: '10.20.0.1' }]);
  assert.equal(swarm.put.sealedUnlockKey, undefined);
  const spec = { EncryptionConfig: { AutoLockManagers: true } };
  const [locked] = firstSwarm({ ...made, spec, defaultAddrPool: [] });
  assert.ok(locked !== undefined && 'put' in locked && locked.table === 'swarm');
  assert.equal(locked.put.sealedUnlockKey, 'sealed');
  const ExternalCAs = [{ URL: 'http://ca.example' }];
  const external = { ...made, spec: { CAConfig: { ExternalCAs } }, defaultAddrPool: [] };
  assert.throws(() => firstSwarm(external), /it begins with https/);
  assert.throws(() => firstSwarm({ ...made, defaultAddrPool: ['10.20.0.0/26'] }), { kind: 'invalid' });
});

test('a new swarm’s external CAs name one root', async () => {
  const [one, other] = await Promise.all([createRoot('o', 0), createRoot('p', 0)]);
  const named = ({ certificate: CACert }: { certificate: string }): { CACert: string } => ({ CACert });
  assert.equal(firstExternalRoot([]), undefined);
  assert.equal(firstExternalRoot([named(one), {}])?.trim(), one.certificate.trim());
  for (const authorities of [[{}], [named(one), named(other)]])
    assert.throws(() => firstExternalRoot(authorities), /the certificate of its one root/);
});

test('0 is not given where it would mean nothing', () => {
  const spec = completeSwarmSpec({
    ...{
      Raft: { ElectionTick: 0, KeepOldSnapshots: 0, SnapshotInterval: 7 },
      CAConfig: { NodeCertExpiry: 0 },
    },
    ...{ Dispatcher: { HeartbeatPeriod: 0 }, Orchestration: { TaskHistoryRetentionLimit: 0 } },
  });
  assert.deepEqual(spec.Raft, { ...DEFAULT_SWARM_SPEC.Raft, SnapshotInterval: 7 });
  assert.deepEqual(
    [spec.CAConfig, spec.Dispatcher],
    [DEFAULT_SWARM_SPEC.CAConfig, DEFAULT_SWARM_SPEC.Dispatcher],
  );
  assert.equal(spec.Orchestration?.TaskHistoryRetentionLimit, 0);
});
