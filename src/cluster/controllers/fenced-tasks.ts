import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ServiceRecord } from '#model/service.ts';
import { isTerminal, stateRank, type TaskRecord } from '#model/task.ts';
import type { TaskSpec } from '#model/task-spec.ts';
import { templateOf } from './task-places.ts';

/** Whether a task's service is a single writer now, by the task's template or by the service's newest one. */
export function isOfSingleWriter(
  view: ClusterView,
  { ServiceID, revision }: TaskRecord,
  isSingleWriter: (service: ServiceRecord, template: TaskSpec) => boolean,
): boolean {
  const service = view.get('service', ServiceID);
  if (service === undefined) return false;
  return [...new Set([revision, service.revision])].some((number) => {
    const template = templateOf(view, ServiceID, number);
    return template !== undefined && isSingleWriter(service, template);
  });
}

/**
 * True for a task on a lost node that nothing ends there, as its node has never said that it does: it may run for as long as the node is
 * away. One that no node has heard of does not.
 */
export function mayRunUnfenced(view: ClusterView, { fenced, NodeID, Status }: TaskRecord): boolean {
  if (fenced === true || isTerminal(Status.State)) return false;
  if (stateRank(Status.State) < stateRank('assigned')) return false;
  return view.get('node', NodeID)?.Status.State === 'down';
}

/** Why the place of such a task is not given to another one, and what to do about it. */
export function unfencedReason(view: ClusterView, service: ServiceRecord, task: TaskRecord): string {
  const host = view.get('node', task.NodeID)?.Description?.Hostname ?? task.NodeID;
  const { Name } = service.Spec;
  return (
    `node ${host} was lost before it heard that ${Name} has a single writer, and may still run ` +
    `${Name}.${task.Slot}.${task.ID}: bring it back, or make sure that it is off and remove it ` +
    `(docker node rm --force ${task.NodeID})`
  );
}
