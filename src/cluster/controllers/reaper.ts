import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import { isTerminal, type TaskRecord } from '#model/task.ts';
import type { Controller, Decision, DecisionContext } from './controller.ts';
import { NOTHING } from './controller.ts';
import { isOfSingleWriter, mayRunUnfenced } from './fenced-tasks.ts';
import type { OrchestratorRules } from './orchestrator.ts';
import { DEFAULT_HISTORY_LIMIT } from './service-defaults.ts';
import { isOver, isWanted, placesOf } from './task-places.ts';

/** What ran on a node that is lost for so long is taken for over: its addresses are free again. */
export const ORPHAN_AFTER_MS: number = 24 * 60 * 60 * 1000;

/**
 * Deletes what is over: tasks that are to be removed and have ended, history beyond the limit, revisions that nothing names. The only
 * one who deletes tasks. Keys are service IDs.
 */
export class Reaper implements Controller {
  readonly name = 'reaper';
  readonly #rules: Pick<OrchestratorRules, 'fencedInMs' | 'isSingleWriter'>;

  /** `fencedInMs`: how long what runs on a node that was removed may go on. */
  constructor(rules: Pick<OrchestratorRules, 'fencedInMs' | 'isSingleWriter'>) {
    this.#rules = rules;
  }

  *keysOf(change: ViewChange, view: ClusterView): Iterable<string> {
    switch (change.table) {
      case 'task':
        yield change.after?.ServiceID ?? change.before?.ServiceID ?? '';
        return;
      case 'service':
        yield change.id;
        return;
      case 'revision':
        yield change.after?.serviceId ?? change.before?.serviceId ?? '';
        return;
      case 'node':
        for (const { ServiceID } of view.tasksOnNode(change.id)) yield ServiceID;
        return;
      case 'swarm':
        for (const { ID } of view.all('service')) yield ID;
        return;
      default:
        return;
    }
  }

  reconcile(view: ClusterView, key: string, context: DecisionContext): Decision {
    const limit = historyLimitOf(view);
    const writes: Write[] = [];
    let againAtMs: number | undefined;
    const kept: TaskRecord[] = [];
    for (const place of placesOf(view.tasksOfService(key))) {
      const history = place.tasks.filter((task) => !isWanted(task) && isOver(task));
      // the newest one tells why nothing else is in the place
      const last = place.tasks.at(-1);
      const old = history.filter((task) => task !== last);
      const gone = new Set(old.slice(0, Math.max(0, history.length - limit)));
      for (const task of place.tasks) {
        if ((task.DesiredState === 'remove' && isOver(task)) || gone.has(task)) {
          writes.push({ table: 'task', delete: task.ID });
          continue;
        }
        kept.push(task);
        const orphanAtMs = this.#orphanTimeOf(view, task, context.nowMs);
        if (orphanAtMs === undefined) continue;
        if (orphanAtMs <= context.nowMs) writes.push(orphan(task, context.nowMs));
        else againAtMs = Math.min(againAtMs ?? orphanAtMs, orphanAtMs);
      }
    }
    writes.push(...uselessRevisions(view, key, kept));
    if (writes.length === 0 && againAtMs === undefined) return NOTHING;
    return {
      writes: writes.slice(0, context.limit),
      ...(againAtMs === undefined ? {} : { againAtMs }),
    };
  }

  /** When a task that is not over is given up, because its node is gone; undefined while the node may still tell. */
  #orphanTimeOf(view: ClusterView, task: TaskRecord, nowMs: number): number | undefined {
    if (isTerminal(task.Status.State) || isWanted(task) || task.NodeID === '') return undefined;
    const node = view.get('node', task.NodeID);
    // a node that was removed is not heard of again: its single writers end with their lease, the rest nobody sends anything to
    if (node === undefined) return nowMs + this.#rules.fencedInMs(task.NodeID);
    if (node.Status.State !== 'down' || this.#isUnfencedWriter(view, task)) return undefined;
    return Date.parse(node.Status.since) + ORPHAN_AFTER_MS;
  }

  /** However long it is away: that it does not run any more only a person can say, by removing the node. */
  #isUnfencedWriter(view: ClusterView, task: TaskRecord): boolean {
    if (view.get('service', task.ServiceID)?.removing === true || !mayRunUnfenced(view, task)) return false;
    return isOfSingleWriter(view, task, (...of) => this.#rules.isSingleWriter(...of));
  }
}

function historyLimitOf(view: ClusterView): number {
  for (const { Spec } of view.all('swarm')) {
    return Spec.Orchestration?.TaskHistoryRetentionLimit ?? DEFAULT_HISTORY_LIMIT;
  }
  return DEFAULT_HISTORY_LIMIT;
}

function orphan(task: TaskRecord, nowMs: number): Write {
  const now = new Date(nowMs).toISOString();
  const Status = { ...task.Status, State: 'orphaned', Timestamp: now, Message: 'the node is gone' } as const;
  return { table: 'task', put: { ...task, UpdatedAt: now, Status } };
}

/** Revisions that neither the service nor a task names. */
function uselessRevisions(view: ClusterView, serviceId: string, tasks: readonly TaskRecord[]): Write[] {
  const service = view.get('service', serviceId);
  const named = new Set(tasks.map(({ revision }) => revision));
  if (service !== undefined) {
    named.add(service.revision);
    if (service.previousRevision !== undefined) named.add(service.previousRevision);
  }
  return view
    .revisionsOf(serviceId)
    .filter(({ number }) => !named.has(number))
    .map(({ ID }) => ({ table: 'revision', delete: ID }));
}
