import type { ClusterControl } from '#cluster/control/cluster-control.ts';
import {
  controlOver,
  FIRST_NODE,
  type FollowedStore,
  oneNodeSwarm,
} from '#cluster/control/control-fixture.ts';
import type { ControlPorts } from '#cluster/control/control-ports.ts';
import { Allocator } from '#cluster/controllers/allocator.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import { withoutPrefix } from '#engine/networks/ipv4.ts';

/** For tests: a manager that leads as far as addresses are concerned, with an attachable network `net` and one for tasks, `closed`. */
export async function attachingManager(
  ports: Partial<ControlPorts> = {},
): Promise<{ store: FollowedStore; control: ClusterControl }> {
  const store = await oneNodeSwarm();
  const control = controlOver(store, ports);
  await control.networks.create({ Name: 'net', Attachable: true });
  await control.networks.create({ Name: 'closed' });
  const allocator = new Allocator();
  const everything: ViewChange[] = [
    ...[...store.view.all('network')].map(
      (after) => ({ table: 'network', id: after.ID, before: undefined, after }) as const,
    ),
    ...[...store.view.all('node')].map(
      (after) => ({ table: 'node', id: after.ID, before: undefined, after }) as const,
    ),
  ];
  const follow = (changes: readonly ViewChange[]): boolean =>
    changes.map((change) => [...allocator.keysOf(change, store.view)].length > 0).includes(true);
  const allocate = (): void => {
    const context = { nowMs: 0, random: { below: () => 0, id: () => '' }, limit: 50 };
    const { writes } = allocator.reconcile(store.view, 'all', context);
    if (writes.length > 0) void store.write(...writes);
  };
  if (follow(everything)) allocate();
  store.subscribe((changes) => {
    // as the leader does: in a round of its own
    if (follow(changes)) queueMicrotask(allocate);
  });
  return { store, control };
}

/** Another node of the swarm. */
export function anotherNode(ID: string): Write {
  return { table: 'node', put: { ...FIRST_NODE, ID, Spec: { ...FIRST_NODE.Spec, Role: 'worker' } } };
}

/** The ID of a container that is told from others by a word. */
export function containerId(word: string): string {
  return Buffer.from(word).toString('hex').padEnd(64, '0');
}

/** Whose addresses on networks are, as `ADDRESS CONTAINER-NAME@NODE`, in their order. */
export function attached({ view }: FollowedStore): string[] {
  return [...view.all('attachment')]
    .map(({ address, names, nodeId }) => `${withoutPrefix(address)} ${names[0]}@${nodeId}`)
    .sort();
}
