import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { NodeRecord } from '#model/node.ts';
import type { ServiceRecord } from '#model/service.ts';
import type { TaskRecord } from '#model/task.ts';
import type { TaskSpec } from '#model/task-spec.ts';
import { modeOf, replicasOf } from './service-defaults.ts';
import { hasFailed, isRunning, newestOf, type Place, placesOf, templateOf } from './task-places.ts';

/** How far a service is with what is asked of it. */
export interface ServiceProgress {
  /** `settled`: all its tasks run, or of a job are completed; `failed`: it does not get there by itself. */
  readonly outcome: 'settled' | 'moving' | 'failed';
  /** Tasks of its present revision that run; of a job those that are completed. */
  readonly running: number;
  readonly wanted: number;
  /** What it waits for, or why it failed; empty where there is nothing to say. */
  readonly reason: string;
}

/** Looks at a service's tasks and its update. `fits`: whether a task may be on a node by constraints and platform. */
export function serviceProgress(
  view: ClusterView,
  service: ServiceRecord,
  fits: (node: NodeRecord, template: TaskSpec) => boolean,
): ServiceProgress {
  const template = templateOf(view, service.ID, service.revision);
  const mode = modeOf(service.Spec);
  const isJob = mode === 'replicated-job' || mode === 'global-job';
  const iteration = service.JobStatus?.JobIteration;
  const places = placesOf(view.tasksOfService(service.ID)).filter(
    (place) => !isJob || newestOf(place)?.JobIteration === iteration,
  );
  const wanted =
    mode === 'replicated'
      ? replicasOf(service.Spec)
      : mode === 'replicated-job'
        ? (service.Spec.Mode?.ReplicatedJob?.TotalCompletions ?? 1)
        : nodesFor(view, template, fits);
  const running = places.filter((place) => isDone(place, service, isJob)).length;
  const { outcome, reason } = judged(service, places, { isThere: running >= wanted, isJob });
  return { outcome, running, wanted, reason };
}

/** A task of the present revision runs there, or has done all that it was to do. */
function isDone({ tasks, wanted }: Place, { revision }: ServiceRecord, isJob: boolean): boolean {
  const current = tasks.filter((task) => task.revision === revision);
  const hasCompleted = current.some(({ Status }) => Status.State === 'complete');
  if (isJob) return hasCompleted;
  return (
    current.some((task) => isRunning(task) && task.DesiredState === 'running') ||
    (hasCompleted && wanted.length === 0 && tasks.at(-1)?.Status.State === 'complete')
  );
}

function nodesFor(
  view: ClusterView,
  template: TaskSpec | undefined,
  fits: (node: NodeRecord, template: TaskSpec) => boolean,
): number {
  if (template === undefined) return 0;
  let count = 0;
  for (const node of view.all('node')) {
    const takes = node.Status.State === 'ready' && node.Spec.Availability === 'active';
    if (takes && fits(node, template)) count += 1;
  }
  return count;
}

function judged(
  service: ServiceRecord,
  places: readonly Place[],
  o: { isThere: boolean; isJob: boolean },
): Pick<ServiceProgress, 'outcome' | 'reason'> {
  const update = service.UpdateStatus;
  if (update?.revision === service.revision) {
    if (update.State === 'paused' || update.State === 'rollback_paused')
      return { outcome: 'failed', reason: update.Message ?? 'the update was paused' };
    if (update.State === 'updating' || update.State === 'rollback_started')
      return { outcome: 'moving', reason: waitingReason(places, service) };
  }
  const exhausted = places.find((place) => hasGivenUp(place, service, o.isJob));
  if (exhausted !== undefined) return { outcome: 'failed', reason: failureText(newestOf(exhausted)) };
  // the addresses and ports that were asked for last are not given yet
  const isAllocated = JSON.stringify(service.Spec.EndpointSpec) === JSON.stringify(service.Endpoint.Spec);
  if (o.isThere && (o.isJob || isAllocated)) return { outcome: 'settled', reason: '' };
  return { outcome: 'moving', reason: waitingReason(places, service) };
}

/** Its last task failed, and the restart policy allows no other. */
function hasGivenUp(place: Place, service: ServiceRecord, isJob: boolean): boolean {
  const newest = newestOf(place);
  if (newest === undefined || place.wanted.length > 0 || newest.revision !== service.revision) return false;
  if (newest.DesiredState === 'remove') return false;
  if (isJob && place.tasks.some(({ Status }) => Status.State === 'complete')) return false;
  return hasFailed(newest);
}

function failureText(task: TaskRecord | undefined): string {
  const { State, Err, Message } = task?.Status ?? { State: 'failed', Message: '' };
  return `a task ${State}: ${Err ?? Message}`;
}

/** The first thing that a task waits for or has stumbled over. */
function waitingReason(places: readonly Place[], { revision }: ServiceRecord): string {
  for (const { tasks } of places) {
    const newest = tasks.at(-1);
    if (newest === undefined || newest.revision !== revision || isRunning(newest)) continue;
    if (newest.waiting !== undefined) return newest.waiting.reason;
    const failed = tasks.findLast((task) => task.revision === revision && hasFailed(task));
    if (failed !== undefined) return failureText(failed);
  }
  return '';
}
