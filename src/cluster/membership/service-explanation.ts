import type { ServiceExplanation, TaskExplanation } from '#cluster/control/cluster-operator.ts';
import { findRecord } from '#cluster/control/find-record.ts';
import { isWanted } from '#cluster/controllers/task-places.ts';
import { explainPlacement } from '#cluster/scheduler/explain.ts';
import { NodeTable } from '#cluster/scheduler/node-table.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { TaskRecord } from '#model/task.ts';

/** Why each task of a service is where it is, or nowhere, by any manager's view: costs a look at all of it. `not-found`. */
export function explainService(view: ClusterView, reference: string): ServiceExplanation {
  const service = findRecord(view, 'service', reference);
  const table = NodeTable.of(view);
  const name = service.Spec.Name;
  const tasks = [...view.tasksOfService(service.ID)]
    .filter(isWanted)
    .sort((a, b) => a.Slot - b.Slot || (a.NodeID < b.NodeID ? -1 : 1))
    .map(
      (task): TaskExplanation => ({
        ...explainPlacement(view, table, task.ID, 'spread'),
        // it has a node, and waits there
        ...(task.NodeID === '' || task.waiting === undefined ? {} : { summary: task.waiting.reason }),
        name: `${name}.${task.Slot === 0 ? hostOf(view, task) : task.Slot}`,
        state: task.Status.State,
        desiredState: task.DesiredState,
        error: task.Status.Err ?? '',
      }),
    );
  return { serviceId: service.ID, name, tasks };
}

function hostOf(view: ClusterView, { NodeID }: TaskRecord): string {
  return view.get('node', NodeID)?.Description?.Hostname ?? NodeID;
}
