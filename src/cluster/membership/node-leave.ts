import type { TaskEngine, TaskNetworks } from '#cluster/agent/task-engine.ts';
import type { Clock } from '#control/clock.ts';
import { ManagerStore } from './manager-store.ts';
import type { NodeFiles } from './node-machine.ts';
import type { NodeState } from './node-state.ts';

/** Takes a node out of its cluster that does not run, for it is locked or could not start: nobody is told. Its files are the caller's to remove. */
export async function leaveUnstarted(
  machine: { readonly engine: TaskEngine; readonly networks: TaskNetworks; readonly clock: Clock },
  { state: { directory }, etcdMemory }: Pick<NodeFiles, 'state' | 'etcdMemory'>,
  state: NodeState,
): Promise<void> {
  const place = { ...state, directory, etcdMemory };
  if (state.store !== 'none') await ManagerStore.discard({ ...place, clock: machine.clock });
  await endTasks(machine, state);
}

/** No task and no network of the cluster is left on this machine. */
export async function endTasks(
  { engine, networks }: { readonly engine: TaskEngine; readonly networks: TaskNetworks },
  { nodeId, dataPathAddress }: NodeState,
): Promise<void> {
  for (const { taskId } of await engine.list()) await engine.remove(taskId);
  await networks.apply({
    ...{ nodeId, dataPathAddress, dataPathPort: 4789 },
    ...{ networks: [], ports: [], ingressNetworkId: undefined },
  });
}
