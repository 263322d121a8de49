import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { TaskRecord } from '#model/task.ts';

/**
 * Where what a task writes was written last: the node of the task in its place that came to run most lately. Undefined where none did.
 * Costs as much as the service has tasks when it has one replica (a few of history), and O(1) for others, of which only the
 * task that is replaced is asked.
 */
export function lastNodeOf(view: ClusterView, task: TaskRecord): string | undefined {
  const replaced = task.replaces === undefined ? undefined : view.get('task', task.replaces);
  const replicas = view.get('service', task.ServiceID)?.Spec.Mode?.Replicated?.Replicas ?? 1;
  const others = replicas === 1 ? view.tasksOfService(task.ServiceID) : [];
  let last: TaskRecord | undefined;
  for (const other of [...(replaced === undefined ? [] : [replaced]), ...others]) {
    if (other.ID === task.ID || other.Slot !== task.Slot || other.NodeID === '') continue;
    if (startOf(other) > startOf(last)) last = other;
  }
  return last?.NodeID;
}

function startOf(task: TaskRecord | undefined): number {
  const { startedAt } = task?.Status ?? {};
  return startedAt === undefined ? 0 : Date.parse(startedAt);
}
