import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Write } from '#cluster/state/tables.ts';
import type { ServiceRecord } from '#model/service.ts';
import { isTerminal, stateRank, type TaskRecord } from '#model/task.ts';
import type { TaskSpec } from '#model/task-spec.ts';
import type { Decision, DecisionContext } from './controller.ts';
import { mayRunUnfenced, unfencedReason } from './fenced-tasks.ts';
import { isAhead } from './moment.ts';
import type { OrchestratorRules } from './orchestrator.ts';
import { modeOf, replicasOf, restartRulesOf } from './service-defaults.ts';
import {
  createTask,
  desire,
  isOver,
  isRunning,
  isWanted,
  newestOf,
  type Place,
  placesOf,
  templateOf,
} from './task-places.ts';

/**
 * A decision about one service while it is made: the view's tasks in their places, and the writes so far. Each task is written
 * at most once, what is decided first counts; {@link full} says when no more is taken.
 */
export class PlacePlan {
  readonly view: ClusterView;
  readonly service: ServiceRecord;
  readonly template: TaskSpec;
  readonly rules: OrchestratorRules;
  readonly context: DecisionContext;
  readonly places: readonly Place[];
  readonly #writes: Write[] = [];
  readonly #decided = new Set<string>();
  /** Places in which this decision has made or ended a task: what is known of them is old. */
  readonly #touched = new Set<Place>();
  #againAtMs: number | undefined;

  constructor(o: {
    view: ClusterView;
    service: ServiceRecord;
    template: TaskSpec;
    rules: OrchestratorRules;
    context: DecisionContext;
  }) {
    this.view = o.view;
    this.service = o.service;
    this.template = o.template;
    this.rules = o.rules;
    this.context = o.context;
    this.places = placesOf(o.view.tasksOfService(o.service.ID));
  }

  /** Room for the two writes that the replacement of a task takes is not left. */
  get full(): boolean {
    return this.#writes.length + 2 > this.context.limit;
  }

  isTouched(place: Place): boolean {
    return this.#touched.has(place);
  }

  again(atMs: number): void {
    this.#againAtMs = Math.min(this.#againAtMs ?? Number.POSITIVE_INFINITY, atMs);
  }

  decision(): Decision {
    return {
      writes: this.#writes,
      // whether two may run at once is the service's to say: it has to be what was looked at
      ...(this.#writes.length === 0 ? {} : { relies: [{ table: 'service', id: this.service.ID }] }),
      ...(this.#againAtMs === undefined ? {} : { againAtMs: this.#againAtMs }),
    };
  }

  /** The service's new record. Where there is no room any more, the tasks that were written bring the service up again. */
  writeService(service: ServiceRecord): void {
    if (this.#writes.length >= this.context.limit) return;
    const UpdatedAt = new Date(this.context.nowMs).toISOString();
    this.#writes.push({ table: 'service', put: { ...service, UpdatedAt } });
  }

  /** Wishes one task something; what was decided about it in this round already stays. */
  wish(place: Place, task: TaskRecord, desired: Parameters<typeof desire>[1]): void {
    if (this.#decided.has(task.ID) || this.#writes.length >= this.context.limit) return;
    // until it has a node, the scheduler says what it waits for; from then on this does, and it is over
    const { waiting, ...rest } = task;
    const known = waiting === undefined || isUnplaced(task) ? task : rest;
    const write = desire(known, desired, this.context.nowMs);
    if (write !== undefined) this.#write(place, task, write);
  }

  #write(place: Place, task: TaskRecord, write: Write): void {
    this.#decided.add(task.ID);
    this.#touched.add(place);
    this.#writes.push(write);
  }

  /** A task in a place that nobody was in before. */
  fill(place: { slot: number; nodeId: string }, jobIteration?: number): void {
    const job = jobIteration === undefined ? {} : { jobIteration };
    const final = jobIteration === undefined ? 'running' : 'complete';
    const isFenced = this.isSingleWriter();
    const desired = this.#freeAtMs(this.#othersElsewhere()) <= this.context.nowMs ? final : 'ready';
    this.#writes.push(
      createTask(this.view, this.service, { ...place, ...job, attempt: 1, desired, isFenced }, this.context),
    );
  }

  /** Ends all of a place: its tasks go, and the place with them. */
  remove(place: Place): void {
    for (const task of place.tasks) this.wish(place, task, 'remove');
  }

  /**
   * Puts a new task in a place. `start-first`: it runs as soon as it can, and the one before is ended when it does. Otherwise the one
   * before is ended now, and the new one is prepared, and let run when that one is over and `startAfterMs` has come.
   */
  replace(
    place: Place,
    o: { startFirst?: boolean; startAfterMs?: number; restarts?: string[]; jobIteration?: number },
  ): void {
    const newest = newestOf(place);
    const before = place.wanted.at(-1) ?? newest;
    if (newest === undefined || before === undefined || this.full) return;
    if (o.startFirst !== true) this.wish(place, before, 'shutdown');
    this.#touched.add(place);
    const final = o.jobIteration === undefined ? 'running' : 'complete';
    const rivals = [...place.tasks, ...this.#othersElsewhere(place)];
    const isFree = this.#freeAtMs(rivals) <= this.context.nowMs && o.startAfterMs === undefined;
    const startsNow = o.startFirst === true || isFree;
    this.#writes.push(
      createTask(
        this.view,
        this.service,
        {
          slot: place.slot,
          nodeId: place.nodeId,
          attempt: newest.attempt + 1,
          desired: startsNow ? final : 'ready',
          replaces: before.ID,
          isFenced: this.isSingleWriter(),
          ...(o.startAfterMs === undefined ? {} : { startAfterMs: o.startAfterMs }),
          ...(o.restarts === undefined ? {} : { restarts: o.restarts }),
          ...(o.jobIteration === undefined ? {} : { jobIteration: o.jobIteration }),
        },
        this.context,
      ),
    );
  }

  /** What every place needs whatever its service is: those that wait are let run, those that were replaced are ended, those that ended or lost their node are replaced. */
  heal(place: Place): void {
    if (this.full) return;
    // a newer one that failed and was given up is of no account
    const newest = place.wanted.at(-1);
    for (const task of place.wanted) if (task.DesiredState === 'ready') this.#release(place, task);
    if (newest !== undefined && this.#isEarly(place, newest)) {
      // the update does it otherwise now, where one was to start first
      if (place.wanted.length > 1) this.wish(place, newest, 'shutdown');
      else this.replace(place, { ...jobOf(newest), ...restartsOf(newest) });
      return;
    }
    if (newest !== undefined) this.#markUnplaced(place, newest);
    for (const task of place.wanted) {
      if (task !== newest && newest !== undefined && this.#hasTakenOver(newest))
        this.wish(place, task, 'shutdown');
    }
    const ended = place.wanted.filter((task) => isTerminal(task.Status.State) || this.#isDisplaced(task));
    for (const task of ended) if (task !== newest) this.wish(place, task, 'shutdown');
    if (newest === undefined || !ended.includes(newest)) return;
    const older = place.wanted.find((task) => task !== newest && !ended.includes(task));
    // the update that made the newest one decides what becomes of the place; the older one goes on
    if (older !== undefined) this.wish(place, newest, 'shutdown');
    else this.#restart(place, newest);
  }

  /** Restarts a place whose newest task is over although nobody ended it, as the policy says; safe to repeat. */
  #restart(place: Place, task: TaskRecord): void {
    if (this.#isDisplaced(task) && !isTerminal(task.Status.State)) {
      this.replace(place, { ...jobOf(task), ...restartsOf(task) });
      return;
    }
    const restart = this.restartOf(task);
    // one that could not even be prepared is not prepared again before its time
    const retryAtMs = Date.parse(task.Status.Timestamp) + restartRulesOf(this.template.RestartPolicy).delayMs;
    const isEarly = task.Status.State === 'rejected' && retryAtMs > this.context.nowMs;
    if (restart === undefined) this.wish(place, task, 'shutdown');
    else if (isEarly) this.again(retryAtMs);
    else if (task.Status.State === 'rejected')
      this.replace(place, { restarts: restart.restarts, ...jobOf(task) });
    else this.replace(place, { ...restart, ...jobOf(task) });
  }

  /** When and how a task that ended by itself is started again; undefined when the policy says that it is not. */
  restartOf(task: TaskRecord): { startAfterMs?: number; restarts: string[] } | undefined {
    const rules = restartRulesOf(this.template.RestartPolicy);
    if (rules.condition === 'none') return undefined;
    if (rules.condition === 'on-failure' && task.Status.State === 'complete') return undefined;
    const { nowMs } = this.context;
    const counted = (task.restarts ?? []).filter(
      (at) => rules.windowMs === 0 || Date.parse(at) > nowMs - rules.windowMs,
    );
    if (rules.maxAttempts > 0 && counted.length >= rules.maxAttempts) return undefined;
    const restarts = rules.maxAttempts > 0 ? [...counted, new Date(nowMs).toISOString()] : [];
    return rules.delayMs === 0 ? { restarts } : { startAfterMs: nowMs + rules.delayMs, restarts };
  }

  /** Lets a task run that waits for another's end or for a time. */
  #release(place: Place, task: TaskRecord): void {
    const { nowMs } = this.context;
    const startAtMs = task.startAfter === undefined ? 0 : Date.parse(task.startAfter);
    const { delayMs: periodMs } = restartRulesOf(this.template.RestartPolicy);
    if (isAhead(startAtMs, { nowMs, periodMs })) {
      this.again(startAtMs);
      return;
    }
    const others = [...place.tasks, ...this.#othersElsewhere(place)].filter(
      (other) => other !== task && (other.ID === task.replaces || !isWanted(other)),
    );
    const freeAtMs = this.#freeAtMs(others);
    if (freeAtMs <= nowMs) this.wish(place, task, task.JobIteration === undefined ? 'running' : 'complete');
    else if (freeAtMs !== Number.POSITIVE_INFINITY) this.again(freeAtMs);
    else
      this.#wait(
        place,
        task,
        others.find((other) => this.#isInTheWay(other)),
      );
  }

  /** Says in a task that has its node what it waits for that nobody but a person can bring about; nothing when there is no such thing. */
  #wait(place: Place, task: TaskRecord, other: TaskRecord | undefined): void {
    if (isUnplaced(task) || this.full || this.#decided.has(task.ID)) return;
    const reason = other === undefined ? undefined : unfencedReason(this.view, this.service, other);
    if (task.waiting?.reason === reason) return;
    const now = new Date(this.context.nowMs).toISOString();
    const { waiting: _, ...rest } = task;
    const waiting = reason === undefined ? {} : { waiting: { reason, since: now } };
    this.#write(place, task, { table: 'task', put: { ...rest, ...waiting, UpdatedAt: now } });
  }

  /** From when on none of these tasks can run any more: 0 when they are over, infinity while a node says that one runs. */
  #freeAtMs(tasks: readonly TaskRecord[]): number {
    return Math.max(0, ...tasks.map((task) => this.#overAtMs(task)));
  }

  #overAtMs(task: TaskRecord): number {
    if (isOver(task) || isUnplaced(task)) return 0;
    const node = this.view.get('node', task.NodeID);
    // where both have to be on one node, it tells when it is back
    if (node !== undefined && (node.Status.State !== 'down' || task.Slot === 0))
      return Number.POSITIVE_INFINITY;
    if (!this.isSingleWriter([task])) return 0;
    // nothing ends it; who removes the node from the cluster says that it is off
    if (mayRunUnfenced(this.view, task)) return Number.POSITIVE_INFINITY;
    const leftMs = this.rules.fencedInMs(task.NodeID);
    return leftMs === 0 ? 0 : this.context.nowMs + leftMs;
  }

  #isInTheWay(task: TaskRecord): boolean {
    return mayRunUnfenced(this.view, task) && this.isSingleWriter([task]);
  }

  /** Let run before its service became a single writer, and still without a node: it may not have one as long as another may run. */
  #isEarly(place: Place, task: TaskRecord): boolean {
    if (!isUnplaced(task) || task.DesiredState !== 'running') return false;
    const others = [...place.tasks, ...this.#othersElsewhere(place)].filter(
      (other) => other !== task && this.isSingleWriter([other]),
    );
    return this.#freeAtMs(others) > this.context.nowMs;
  }

  /** One that may run although its service has become a single writer since it was let run is told so with the task. */
  #markUnplaced(place: Place, task: TaskRecord): void {
    const isOpen = isUnplaced(task) && task.DesiredState === 'running' && task.fenced !== true;
    if (!isOpen || !this.isSingleWriter([task]) || this.#decided.has(task.ID)) return;
    const UpdatedAt = new Date(this.context.nowMs).toISOString();
    this.#write(place, task, { table: 'task', put: { ...task, fenced: true, UpdatedAt } });
  }

  /** Whether the service is a single writer, by its template or by that of one of these tasks. */
  isSingleWriter(tasks: readonly TaskRecord[] = []): boolean {
    const templates = [this.template, ...tasks.map((task) => this.#templateOf(task))];
    return templates.some((template) => this.rules.isSingleWriter(this.service, template));
  }

  /** Of a service of which only one task may run at all, those of other places than this one. */
  #othersElsewhere(place?: Place): TaskRecord[] {
    if (modeOf(this.service.Spec) !== 'replicated' || replicasOf(this.service.Spec) !== 1) return [];
    const elsewhere = this.places.flatMap((other) => (other === place ? [] : other.tasks));
    return elsewhere.filter((task) => this.isSingleWriter([task]));
  }

  /** True for a task that has to be elsewhere: its node is lost, gone, drained, or not one for it any more. */
  #isDisplaced(task: TaskRecord): boolean {
    if (task.NodeID === '') return false;
    const node = this.view.get('node', task.NodeID);
    if (node === undefined || node.Status.State === 'down' || node.Spec.Availability === 'drain') return true;
    return !this.rules.fits(node, this.#templateOf(task));
  }

  #templateOf(task: TaskRecord): TaskSpec {
    return templateOf(this.view, task.ServiceID, task.revision) ?? this.template;
  }

  #hasTakenOver(task: TaskRecord): boolean {
    return isRunning(task) && task.DesiredState !== 'ready' && !this.#isDisplaced(task);
  }
}

/** True for a task that no node has heard of; once it is not wanted, none will. */
function isUnplaced(task: TaskRecord): boolean {
  return stateRank(task.Status.State) < stateRank('assigned');
}

function jobOf(task: TaskRecord): { jobIteration?: number } {
  return task.JobIteration === undefined ? {} : { jobIteration: task.JobIteration };
}

function restartsOf(task: TaskRecord): { restarts?: string[] } {
  return task.restarts === undefined ? {} : { restarts: task.restarts };
}
