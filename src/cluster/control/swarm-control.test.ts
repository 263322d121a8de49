import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SwarmRecord } from '#model/swarm.ts';
import { controlOver, oneNodeSwarm } from './control-fixture.ts';
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

test('another CA goes on with the same tokens, and the old certificate is trusted meanwhile; the key is not kept', async () => {
  const asked: object[] = [];
  const rootRotation = {
    rotate: async ({ rootCertificate }: SwarmRecord, given?: object) => {
      asked.push(given ?? {});
      return {
        rootCertificate: 'next',
        sealedRootKey: 'next sealed',
        previousRootCertificate: rootCertificate,
      };
    },
  };
  const { swarm } = controlOver(await oneNodeSwarm(), { rootRotation });
  const CAConfig = { SigningCACert: 'next', SigningCAKey: 'key', ForceRotate: 1 };
  await swarm.update({ version: swarm.inspect().revision, spec: { Name: 'default', CAConfig } });
  const { record } = swarm.inspect();
  assert.deepEqual(asked, [{ certificate: 'next', key: 'key' }]);
  assert.deepEqual([record.rootCertificate, record.previousRootCertificate], ['next', 'root']);
  assert.deepEqual(record.joinTokens, { Worker: 'worker@next', Manager: 'manager@next' });
  assert.equal(JSON.stringify(record).includes('"key"'), false);
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
  assert.throws(() => firstSwarm({ ...made, defaultAddrPool: ['10.20.0.0/26'] }), { kind: 'invalid' });
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
