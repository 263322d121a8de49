import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { TaskRecord } from '#model/task.ts';
import type { Candidate } from './candidate.ts';
import { revisionIdOf } from './node-table.ts';
import { isSingleWriter } from './single-writer.ts';
import type { TaskRequirements } from './task-requirements.ts';

/**
 * For a single writer with volumes only the candidates where its data is, if there are any: the node where it ran last, else those that
 * have most of its volumes. That comes before all other preferences: elsewhere it would begin with empty volumes. For other tasks
 * it is all candidates.
 */
export function candidatesWithData(
  view: ClusterView,
  task: TaskRecord,
  need: TaskRequirements,
  candidates: Candidate[],
): Candidate[] {
  if (need.volumes.length === 0 && !need.hasTemplatedVolumes) return candidates;
  const service = view.get('service', task.ServiceID);
  const revision = view.get('revision', revisionIdOf(task));
  if (service === undefined || revision === undefined) return candidates;
  if (!isSingleWriter(service, revision.template)) return candidates;
  const last = lastNodeOf(view, task);
  const there = candidates.filter(({ node }) => node.id === last);
  if (there.length > 0) return there;
  let least = Number.POSITIVE_INFINITY;
  for (const { missingVolumes } of candidates) least = Math.min(least, missingVolumes);
  return candidates.filter(({ missingVolumes }) => missingVolumes === least);
}

/**
 * Where what a task writes was written last: the node of the task in its place that came to run most lately. Undefined where none did.
 * Costs as much as the service has tasks when it has one replica (a few of history), and O(1) for others, of which only the
 * task that is replaced is asked.
 */
function lastNodeOf(view: ClusterView, task: TaskRecord): string | undefined {
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
