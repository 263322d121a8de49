import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#control/manual-clock.ts';
import { unavailable } from '#model/errors.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import { PlanApplier } from './plan-applier.ts';
import type { TaskNetworks } from './task-engine.ts';

const PLAN: NetworkPlan = {
  ...{ nodeId: 'n', dataPathAddress: '10.0.0.1', dataPathPort: 4789 },
  ...{ networks: [], ports: [], ingressNetworkId: undefined },
};

function applier(networks: TaskNetworks): { plan: PlanApplier; clock: ManualClock; logged: string[] } {
  const clock = new ManualClock();
  const logged: string[] = [];
  const log = (message: string): void => void logged.push(message);
  return { plan: new PlanApplier({ networks, clock, onApplied: () => undefined, log }), clock, logged };
}

test('a plan that could not be applied is applied again', async () => {
  let isBroken = true;
  const { plan, clock } = applier({
    apply: async () => {
      if (isBroken) throw unavailable('the kernel is busy');
    },
  });
  const { signal } = new AbortController();
  await plan.take({ revision: 7, plan: PLAN }, signal);
  assert.equal(plan.applied, 0);
  isBroken = false;
  await clock.advance(5000);
  assert.equal(plan.applied, 7);
});

test('what others changed is mended at the next look, and said once', async () => {
  const found = [['the link vx-1 is missing'], []];
  const { plan, logged } = applier({ apply: async () => undefined, heal: async () => found.shift() ?? [] });
  const { signal } = new AbortController();
  await plan.resync(signal);
  assert.equal(found.length, 2, 'without a plan there is nothing to compare with');
  await plan.take({ revision: 1, plan: PLAN }, signal);
  await plan.resync(signal);
  await plan.resync(signal);
  assert.deepEqual([found.length, logged.length], [0, 1]);
});
