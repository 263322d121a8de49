import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecordStore } from '#engine/records/record-store.ts';
import type { NetworkPlan, PlannedNetwork } from '#model/network-plan.ts';
import { EMPTY_PLAN, PlanRecords } from './plan-records.ts';

const net = (id: string): PlannedNetwork => ({
  id,
  name: id,
  vni: 4096,
  subnet: '10.1.0.0/24',
  internal: false,
  encrypted: false,
  mtu: 0,
  nodeAddress: '',
  peers: [],
  endpoints: [],
  services: [],
});
const PLAN: NetworkPlan = {
  nodeId: 'a',
  dataPathAddress: '192.0.2.1',
  dataPathPort: 4789,
  networks: [net('one'), net('two')],
  ports: [],
  ingressNetworkId: undefined,
};

test('a plan is read as it was written, and what went is gone', () => {
  using records = new RecordStore(':memory:');
  assert.deepEqual(new PlanRecords(records).load(), EMPTY_PLAN);
  const plans = new PlanRecords(records);
  plans.save(PLAN);
  assert.deepEqual(new PlanRecords(records).load(), PLAN);
  plans.save({ ...PLAN, networks: [net('two')] });
  assert.deepEqual(new PlanRecords(records).load().networks, [net('two')]);
  const later = new PlanRecords(records);
  later.load();
  later.save(EMPTY_PLAN);
  assert.deepEqual(new PlanRecords(records).load(), EMPTY_PLAN);
});

test('only what has changed is written', () => {
  using records = new RecordStore(':memory:');
  const plans = new PlanRecords(records);
  plans.save(PLAN);
  records.put('network-plan', 'one', { vni: 'sentinel' });
  plans.save({ ...PLAN, networks: [net('one'), { ...net('two'), mtu: 1400 }] });
  assert.deepEqual(records.get('network-plan', 'one'), { vni: 'sentinel' });
});

test('keys are not written', () => {
  using records = new RecordStore(':memory:');
  const encryption = { keys: [{ id: 'k', key: 'secret' }], primary: 'k', salts: [], peers: [] };
  new PlanRecords(records).save({ ...PLAN, encryption });
  assert.deepEqual(new PlanRecords(records).load(), PLAN);
  assert.doesNotMatch(JSON.stringify(records.list('network-plan')), /secret/);
});
