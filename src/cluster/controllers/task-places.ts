import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Write } from '#cluster/state/tables.ts';
import type { ServiceRecord } from '#model/service.ts';
import { type DesiredTaskState, isTerminal, type TaskRecord } from '#model/task.ts';
import type { TaskSpec } from '#model/task-spec.ts';
import type { DecisionContext } from './controller.ts';
import { needsAddresses } from './service-networks.ts';

/** One place of a service: a slot of a replicated one, a node of a global one; and the tasks that were and are in it, oldest first. */
export interface Place {
  readonly slot: number;
  /** Empty for slots. */
  readonly nodeId: string;
  readonly tasks: readonly TaskRecord[];
  /** Those that controllers want to be there: one, or two while one takes the other's place. */
  readonly wanted: readonly TaskRecord[];
}

/** A service's places with all of their tasks. */
export function placesOf(tasks: Iterable<TaskRecord>): Place[] {
  const byPlace = new Map<string, TaskRecord[]>();
  for (const task of tasks) {
    const key = task.Slot === 0 ? task.NodeID : String(task.Slot);
    const there = byPlace.get(key);
    if (there === undefined) byPlace.set(key, [task]);
    else there.push(task);
  }
  return [...byPlace.values()].map((there) => {
    there.sort((a, b) => a.attempt - b.attempt);
    return {
      slot: there[0]?.Slot ?? 0,
      nodeId: there[0]?.Slot === 0 ? there[0].NodeID : '',
      tasks: there,
      wanted: there.filter(isWanted),
    };
  });
}

/** True until a controller has decided that the task has to end. */
export function isWanted(task: TaskRecord): boolean {
  return task.DesiredState !== 'shutdown' && task.DesiredState !== 'remove';
}

export function newestOf(place: Place): TaskRecord | undefined {
  return place.tasks.at(-1);
}

export function isRunning(task: TaskRecord): boolean {
  return task.Status.State === 'running';
}

export function hasFailed(task: TaskRecord): boolean {
  return task.Status.State === 'failed' || task.Status.State === 'rejected';
}

/** What the tasks of a revision are made of; undefined only when the record is gone. */
export function templateOf(view: ClusterView, serviceId: string, revision: number): TaskSpec | undefined {
  return view.get('revision', `${serviceId}.${revision}`)?.template;
}

export interface NewTask {
  readonly slot: number;
  readonly nodeId: string;
  readonly attempt: number;
  readonly desired: DesiredTaskState;
  readonly replaces?: string;
  readonly startAfterMs?: number;
  readonly restarts?: string[];
  readonly jobIteration?: number;
  /** Its node is told with it that it is a single writer. */
  readonly isFenced: boolean;
}

/** A task of the service's present revision, to be allocated (where it needs addresses) and placed. */
export function createTask(
  view: ClusterView,
  service: ServiceRecord,
  o: NewTask,
  { nowMs, random }: DecisionContext,
): Write {
  const now = new Date(nowMs).toISOString();
  const State = needsAddresses(view, service) ? 'new' : 'pending';
  return {
    table: 'task',
    put: {
      ID: random.id(),
      CreatedAt: now,
      UpdatedAt: now,
      ServiceID: service.ID,
      Slot: o.slot,
      attempt: o.attempt,
      NodeID: o.nodeId,
      DesiredState: o.desired,
      Status: { Timestamp: now, State, Message: State === 'new' ? 'created' : 'pending task scheduling' },
      revision: service.revision,
      networks: [],
      ...(o.replaces === undefined ? {} : { replaces: o.replaces }),
      ...(o.startAfterMs === undefined ? {} : { startAfter: new Date(o.startAfterMs).toISOString() }),
      ...(o.restarts === undefined || o.restarts.length === 0 ? {} : { restarts: o.restarts }),
      ...(o.jobIteration === undefined ? {} : { JobIteration: o.jobIteration }),
      ...(o.isFenced ? { fenced: true } : {}),
    },
  };
}

/** The same task with another wish; undefined where that is what is wanted already. A wish never goes back. */
export function desire(task: TaskRecord, desired: DesiredTaskState, nowMs: number): Write | undefined {
  if (DESIRES.indexOf(task.DesiredState) >= DESIRES.indexOf(desired)) return undefined;
  const UpdatedAt = new Date(nowMs).toISOString();
  return { table: 'task', put: { ...task, DesiredState: desired, UpdatedAt } };
}

const DESIRES: readonly DesiredTaskState[] = ['ready', 'running', 'complete', 'shutdown', 'remove'];

/** True when nothing of a task can run any more: it ended, or never came to a node. */
export function isOver(task: TaskRecord): boolean {
  if (isTerminal(task.Status.State)) return true;
  return !isWanted(task) && (task.Status.State === 'new' || task.Status.State === 'pending');
}
