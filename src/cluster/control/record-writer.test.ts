import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ViewFollower } from '#cluster/state/view-follower.ts';
import { MemoryDatabase } from '#cluster/store/memory-database.ts';
import { MemoryStore } from '#cluster/store/memory-store.ts';
import { systemClock as clock } from '#control/clock.ts';
import { systemRandom as random } from '#control/random.ts';
import type { ClusterControl } from './cluster-control.ts';
import { controlOver, FollowedStore } from './control-fixture.ts';

/** Managers of one cluster, each with a view that is as old as its own way to the store makes it. */
async function managers(count: number, stack: AsyncDisposableStack): Promise<ClusterControl[]> {
  const database = new MemoryDatabase({ clock });
  return await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const delay = async (): Promise<void> => {
        for (let turn = 0; turn <= index; turn++) await new Promise((resolve) => setImmediate(resolve));
      };
      const store = stack.use(new MemoryStore({ clock, database, delay }));
      const follower = new ViewFollower({ store, clock });
      const left = new AbortController();
      const running = follower.run(left.signal);
      stack.defer(async () => {
        left.abort();
        await running;
      });
      return controlOver(new FollowedStore(), { store, follower, random, signal: left.signal });
    }),
  );
}

test('what is given once is given once, whichever managers are asked at the same time', async () => {
  await using stack = new AsyncDisposableStack();
  const controls = await managers(3, stack);
  const names = Array.from({ length: 24 }, (_, index) => `n${index}`);
  const made = await Promise.all(
    names.map(async (Name, index) => {
      const control = controls[index % controls.length] ?? assert.fail();
      const network = await control.networks.create({ Name });
      // the manager that made it has it
      assert.equal(control.networks.inspect(Name).ID, network.ID);
      return network;
    }),
  );
  assert.equal(new Set(made.map(({ vni }) => vni)).size, names.length);
  assert.equal(new Set(made.map(({ IPAM }) => IPAM.Config[0]?.Subnet)).size, names.length);
});
