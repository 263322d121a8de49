import type { ClusterView } from '#cluster/state/cluster-view.ts';
import { invalid } from '#model/errors.ts';
import { type Filters, matchesLabels } from '#model/filters.ts';
import { TASK_STATES, type TaskRecord } from '#model/task.ts';
import type { TaskSpec } from '#model/task-spec.ts';
import type { ControlPorts } from './control-ports.ts';
import { findRecord } from './find-record.ts';

/** A task with what it is made of. */
export interface TaskEntry {
  readonly record: TaskRecord;
  readonly version: number;
  /** `service.slot`, of global services `service.node`. */
  readonly name: string;
  /** Its place as clients count: from 1; of a job's tasks from 0 in each run, for Docker's CLI waits for exactly those. */
  readonly slot: number;
  /** Undefined when its revision is gone already. */
  readonly template: TaskSpec | undefined;
}

/** Tasks as Docker's API asks for them. */
export class TaskControl {
  readonly #ports: ControlPorts;

  constructor(ports: ControlPorts) {
    this.#ports = ports;
  }

  inspect(reference: string): TaskEntry {
    const { view } = this.#ports.follower;
    return entryOf(
      view,
      findRecord(view, 'task', reference, (task) => fullName(view, task)),
    );
  }

  /**
   * Filters: `id` and `name` by their beginnings, `service` and `node` (of which at least one has to be the task's), `label` of the
   * service or its template, `desired-state`, `up-to-date`. Costs what the services or nodes that are named have.
   */
  list(filters: Filters): TaskEntry[] {
    const { view } = this.#ports.follower;
    const given = (key: string): string[] | undefined =>
      filters[key] === undefined || filters[key].length === 0 ? undefined : filters[key];
    const services = given('service')?.map((reference) => findRecord(view, 'service', reference).ID);
    const nodes = given('node')?.map((reference) => nodeId(view, reference, this.#ports.nodeId));
    const states = given('desired-state');
    for (const state of states ?? []) {
      if (!TASK_STATES.some((known) => known === state))
        throw invalid(`Invalid desired-state filter: '${state}'`);
    }
    const upToDate = given('_up-to-date') ?? given('up-to-date');
    const current = upToDate?.map((value) => ['1', 'true'].includes(value));
    const found: TaskEntry[] = [];
    const runs = new JobRuns(view);
    for (const task of candidates(view, services, nodes)) {
      if (nodes?.includes(task.NodeID) === false) continue;
      if (states?.includes(task.DesiredState) === false) continue;
      if (given('id')?.some((prefix) => task.ID.startsWith(prefix)) === false) continue;
      if (current?.includes(isUpToDate(view, task)) === false) continue;
      if (given('name')?.some((prefix) => fullName(view, task).startsWith(prefix)) === false) continue;
      const entry = entryOf(view, task, runs);
      if (matchesLabels(filters, labelsOf(view, entry))) found.push(entry);
    }
    return found;
  }
}

/** A node's ID by what a client calls it; `self` is the one that is asked. */
export function nodeId(view: ClusterView, reference: string, self: string): string {
  if (reference === 'self') return self;
  return findRecord(view, 'node', reference, (node) => node.Description?.Hostname).ID;
}

function* candidates(
  view: ClusterView,
  services: readonly string[] | undefined,
  nodes: readonly string[] | undefined,
): Generator<TaskRecord> {
  if (services !== undefined) for (const id of new Set(services)) yield* view.tasksOfService(id);
  else if (nodes !== undefined) for (const id of new Set(nodes)) yield* view.tasksOnNode(id);
  else yield* view.all('task');
}

/** Which places the runs of jobs have, looked up once a run. */
class JobRuns {
  readonly #view: ClusterView;
  readonly #slots = new Map<string, Map<number, number>>();

  constructor(view: ClusterView) {
    this.#view = view;
  }

  /** A task's place, as {@link TaskEntry} has it. The slots of two runs differ, while tasks of both are there. */
  slotOf({ ServiceID, JobIteration, Slot }: TaskRecord): number {
    if (JobIteration === undefined || Slot === 0) return Slot;
    const run = `${ServiceID}/${JobIteration}`;
    let slots = this.#slots.get(run);
    if (slots === undefined) {
      const tasks = [...this.#view.tasksOfService(ServiceID)];
      const own = new Set(
        tasks.filter((task) => task.JobIteration === JobIteration).map((task) => task.Slot),
      );
      slots = new Map([...own].sort((a, b) => a - b).map((slot, index) => [slot, index]));
      this.#slots.set(run, slots);
    }
    return slots.get(Slot) ?? 0;
  }
}

function entryOf(view: ClusterView, record: TaskRecord, runs: JobRuns = new JobRuns(view)): TaskEntry {
  return {
    record,
    slot: runs.slotOf(record),
    version: view.revisionOf('task', record.ID),
    name: taskName(view, record),
    template: view.get('revision', `${record.ServiceID}.${record.revision}`)?.template,
  };
}

/** A task has none of its own. */
function labelsOf(view: ClusterView, { record, template }: TaskEntry): Record<string, string> {
  return { ...template?.ContainerSpec.Labels, ...view.get('service', record.ServiceID)?.Spec.Labels };
}

function taskName(view: ClusterView, task: TaskRecord): string {
  const service = view.get('service', task.ServiceID)?.Spec.Name ?? task.ServiceID;
  return `${service}.${task.Slot === 0 ? task.NodeID : task.Slot}`;
}

function fullName(view: ClusterView, task: TaskRecord): string {
  return `${taskName(view, task)}.${task.ID}`;
}

function isUpToDate(view: ClusterView, task: TaskRecord): boolean {
  return view.get('service', task.ServiceID)?.revision === task.revision;
}
