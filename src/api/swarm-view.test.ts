import assert from 'node:assert/strict';
import { test } from 'node:test';
import { controlOver, FollowedStore, oneNodeSwarm } from '#cluster/control/control-fixture.ts';
import type { SwarmInfo } from '#cluster/control/swarm-membership.ts';
import { swarmInfoView } from './swarm-view.ts';

const INFO: SwarmInfo = {
  ...{ state: 'active', nodeId: 'node1', nodeAddress: '10.0.0.1', controlAvailable: true },
  ...{ error: '', managers: [] },
};

test('a manager that does not know its cluster yet says so in `docker info`, and knows the rest', () => {
  const view = swarmInfoView(INFO, () => controlOver(new FollowedStore()));
  assert.partialDeepStrictEqual(view, {
    ...{ NodeID: 'node1', LocalNodeState: 'active', ControlAvailable: true },
    Error: 'this manager does not know the cluster yet',
  });
});

test('one that knows it shows it without tokens', async () => {
  const store = await oneNodeSwarm();
  const view = swarmInfoView(INFO, () => controlOver(store));
  assert.partialDeepStrictEqual(view, { Error: '', Nodes: 1, Managers: 1 });
  assert.equal(/token|sealed/i.test(JSON.stringify(view)), false);
});
