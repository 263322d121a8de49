import type { ServiceRecord, UpdateState, UpdateStatus } from '#model/service.ts';
import { isTerminal, stateRank, type TaskRecord } from '#model/task.ts';
import { isAhead } from './moment.ts';
import type { PlacePlan } from './place-plan.ts';
import { restartRulesOf, type UpdateRules, updateRulesOf } from './service-defaults.ts';
import { isOccupied } from './service-places.ts';
import { hasFailed, isRunning, type Place } from './task-places.ts';

/**
 * Brings the places of a service to its revision: as many at once as the service allows, each watched for failing, and stops or rolls
 * back when too many do. What it knows of an update is in the tasks and in `UpdateStatus`: it can be asked at any time, by any leader.
 */
export function decideUpdate(plan: PlacePlan): void {
  const places = plan.places.filter((place) => isOccupied(place) && takesTasks(plan, place));
  const { service } = plan;
  const stale = places.filter((place) => isStale(place, service));
  const status = service.UpdateStatus?.revision === service.revision ? service.UpdateStatus : undefined;
  // done, but for places that took no tasks then
  const isOver = status?.State === 'completed' || status?.State === 'rollback_completed';
  if (status === undefined || isOver) {
    if (stale.length > 0) begin(plan, status);
    return;
  }
  if (status.State !== 'updating' && status.State !== 'rollback_started') return;
  const isRollback = status.State === 'rollback_started';
  const rules = updateRulesOf(isRollback ? service.Spec.RollbackConfig : service.Spec.UpdateConfig);
  const failed = places.filter((place) => hasFailedIn(place, status, rules));
  if (rules.failureAction !== 'continue' && failed.length > rules.maxFailureRatio * places.length) {
    giveUp(plan, { rules, isRollback, failed: failed[0], status });
    return;
  }
  const inFlight = places.filter((place) => isInFlight(plan, place, rules) && !failed.includes(place));
  advance(plan, { stale, rules, room: rules.parallelism - inFlight.length });
  if (stale.length === 0 && inFlight.length === 0) finish(plan, { places, status, rules, isRollback });
}

/** A service whose template was changed: from now on its tasks are replaced. */
function begin(plan: PlacePlan, last: UpdateStatus | undefined): void {
  const now = new Date(plan.context.nowMs).toISOString();
  const { revision } = plan.service;
  if (last?.State === 'rollback_completed') {
    const Message = 'rollback in progress';
    plan.writeService({
      ...plan.service,
      UpdateStatus: { State: 'rollback_started', StartedAt: now, Message, revision },
    });
    return;
  }
  plan.writeService({
    ...plan.service,
    UpdateStatus: { State: 'updating', StartedAt: now, Message: 'update in progress', revision },
  });
}

/** False for a place that is its node, and that takes no tasks now: what is there stays as it is, and is no reason to wait. */
function takesTasks(plan: PlacePlan, place: Place): boolean {
  if (place.nodeId === '') return true;
  const node = plan.view.get('node', place.nodeId);
  return node?.Status.State === 'ready' && node.Spec.Availability === 'active';
}

function advance(plan: PlacePlan, o: { stale: readonly Place[]; rules: UpdateRules; room: number }): void {
  let { room } = o;
  // those where nothing runs have nothing to lose
  const order = [...o.stale].sort(
    (a, b) => Number(a.wanted.some(isRunning)) - Number(b.wanted.some(isRunning)),
  );
  for (const place of order) {
    if (room <= 0 || plan.full) return;
    if (plan.isTouched(place)) {
      // its turn comes in the next round; nothing else may be down as well until then
      if (!place.wanted.some(isRunning)) room--;
      continue;
    }
    // one that an earlier try has not left yet is in flight already
    if (place.wanted.length > 1) continue;
    if (hasToWait(place, plan)) continue;
    const mayOverlap = o.rules.startFirst && !plan.isSingleWriter(place.wanted);
    plan.replace(place, { startFirst: mayOverlap && place.wanted.some(mayRun) });
    room--;
  }
}

/** True for one that runs, or is about to although nobody has said so yet. */
function mayRun({ Status }: TaskRecord): boolean {
  return stateRank(Status.State) >= stateRank('assigned') && !isTerminal(Status.State);
}

/** A place is tried again no sooner than a task is restarted. */
function hasToWait(place: Place, plan: PlacePlan): boolean {
  const last = place.tasks.findLast((task) => task.revision === plan.service.revision);
  if (last === undefined || !hasFailed(last)) return false;
  const { delayMs } = restartRulesOf(plan.template.RestartPolicy);
  return waits(plan, Date.parse(last.Status.Timestamp), delayMs);
}

/** True until `periodMs` after `fromMs`; the service is looked at again then. */
function waits(plan: PlacePlan, fromMs: number, periodMs: number): boolean {
  const { nowMs } = plan.context;
  if (!isAhead(fromMs + periodMs, { nowMs, periodMs })) return false;
  plan.again(fromMs + periodMs);
  return true;
}

/** What runs in the place, or ran there last, is of another revision. */
function isStale(place: Place, service: ServiceRecord): boolean {
  const current = place.wanted.at(-1) ?? place.tasks.at(-1);
  return current !== undefined && current.revision !== service.revision;
}

/** True from when a place is changed until its new task runs, alone, for the time between two batches. */
function isInFlight(plan: PlacePlan, place: Place, rules: UpdateRules): boolean {
  const { service } = plan;
  const fresh = place.wanted.find((task) => task.revision === service.revision);
  if (fresh === undefined) return false;
  if (!isRunning(fresh) || place.wanted.length > 1) return true;
  return waits(plan, startOf(fresh), rules.delayMs);
}

/** True when a task of the update ended before it had run for as long as it is watched. */
function hasFailedIn(place: Place, status: UpdateStatus, rules: UpdateRules): boolean {
  return place.tasks.some((task) => {
    if (task.revision !== status.revision || !hasFailed(task)) return false;
    if (task.CreatedAt < (status.StartedAt ?? '')) return false;
    const { startedAt, Timestamp } = task.Status;
    return startedAt === undefined || Date.parse(Timestamp) - Date.parse(startedAt) <= rules.monitorMs;
  });
}

function giveUp(
  plan: PlacePlan,
  o: { rules: UpdateRules; isRollback: boolean; failed: Place | undefined; status: UpdateStatus },
): void {
  const { service } = plan;
  const culprit = o.failed?.tasks.find((task) => task.revision === service.revision && hasFailed(task));
  const reason = `due to failure or early termination of task ${culprit?.ID ?? ''}`;
  const back = o.rules.failureAction === 'rollback' && !o.isRollback ? rolledBack(plan, reason) : undefined;
  if (back !== undefined) {
    plan.writeService(back);
    return;
  }
  const State: UpdateState = o.isRollback ? 'rollback_paused' : 'paused';
  const what = o.isRollback ? 'rollback' : 'update';
  const UpdateStatus = { ...o.status, State, Message: `${what} paused ${reason}` };
  plan.writeService({ ...service, UpdateStatus });
}

/** The service as it was before its last change; undefined where that was of the same revision, or is not known. */
function rolledBack({ service, context }: PlacePlan, reason: string): ServiceRecord | undefined {
  const {
    PreviousSpec,
    previousRevision,
    sealedRegistryAuth: _,
    previousSealedRegistryAuth,
    ...kept
  } = service;
  if (PreviousSpec === undefined || previousRevision === undefined) return undefined;
  if (previousRevision === service.revision) return undefined;
  return {
    ...kept,
    Spec: PreviousSpec,
    revision: previousRevision,
    ...(previousSealedRegistryAuth === undefined ? {} : { sealedRegistryAuth: previousSealedRegistryAuth }),
    UpdateStatus: {
      State: 'rollback_started',
      StartedAt: new Date(context.nowMs).toISOString(),
      Message: `update rolled back ${reason}`,
      revision: previousRevision,
    },
  };
}

/** When the last new task has been watched long enough, the update is done. */
function finish(
  plan: PlacePlan,
  o: { places: readonly Place[]; status: UpdateStatus; rules: UpdateRules; isRollback: boolean },
): void {
  const { nowMs } = plan.context;
  const begunMs = Date.parse(o.status.StartedAt ?? '');
  const starts = o.places.flatMap(({ wanted }) => wanted.map(startOf)).filter((at) => at >= begunMs);
  if (waits(plan, Math.max(begunMs, ...starts), o.rules.monitorMs)) return;
  plan.writeService({
    ...plan.service,
    UpdateStatus: {
      ...o.status,
      State: o.isRollback ? 'rollback_completed' : 'completed',
      CompletedAt: new Date(nowMs).toISOString(),
      Message: o.isRollback ? 'rollback completed' : 'update completed',
    },
  });
}

function startOf(task: TaskRecord): number {
  return Date.parse(task.Status.startedAt ?? task.Status.Timestamp);
}
