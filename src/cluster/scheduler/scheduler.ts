import type { Controller, Decision, DecisionContext } from '#cluster/controllers/controller.ts';
import { isOfSingleWriter } from '#cluster/controllers/fenced-tasks.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import type { TaskRecord } from '#model/task.ts';
import { type Candidate, candidateOf, type PlacementStrategy, refresh } from './candidate.ts';
import { candidatesWithData } from './data-nodes.ts';
import { explainPlacement, type PlacementExplanation } from './explain.ts';
import { FILTERS, refusalSummary } from './filters.ts';
import { NodeFilter, PASSES } from './node-filter.ts';
import type { NodeLoad } from './node-load.ts';
import { NodeTable, revisionIdOf } from './node-table.ts';
import { awaitsPlacement, type PendingGroup, PendingTasks } from './pending-tasks.ts';
import { PlacementRound } from './placement-round.ts';
import { RefusedNodes } from './refused-nodes.ts';
import { isSingleWriter } from './single-writer.ts';
import { SpreadTree } from './spread-tree.ts';
import type { TaskRequirements } from './task-requirements.ts';

const KEY = 'tasks';

export interface PlacementOptions {
  readonly nowMs: number;
  readonly strategy: PlacementStrategy;
}

/**
 * Finds nodes for tasks. It follows the view's changes by {@link observe} and decides from what it saw: a decision changes nothing in
 * it, so that one which is not committed is simply made again. Tasks of one revision are placed together: nodes are asked once a
 * group, and a group that no node takes is only tried on nodes that changed since.
 *
 * Tasks that want a node get one and become `assigned`, those that name theirs are only checked; who cannot be placed is told why, in
 * `waiting`, whenever that changes.
 */
export class Scheduler implements Controller {
  readonly name = 'scheduler';
  readonly table: NodeTable = new NodeTable();
  readonly #strategy: PlacementStrategy;
  readonly #pending = new PendingTasks();
  readonly #filter = new NodeFilter();
  /** What was decided last and is not seen yet: task → node. */
  #unconfirmed = new Map<string, string>();
  #pinnedReadUntil = 0;

  /** `strategy` is what {@link reconcile} places by. */
  constructor(o: { strategy?: PlacementStrategy } = {}) {
    this.#strategy = o.strategy ?? 'spread';
  }

  keysOf(change: ViewChange): Iterable<string> {
    this.observe(change);
    return this.#pending.size > 0 ? [KEY] : [];
  }

  reconcile(view: ClusterView, _key: string, { nowMs, limit }: DecisionContext): Decision {
    const { writes } = this.decide(view, { nowMs, limit, strategy: this.#strategy });
    // one that was let run must not get its node when the service has become a single writer meanwhile
    const services = new Set(writes.flatMap(serviceOf));
    return { writes, relies: [...services].map((id) => ({ table: 'service' as const, id })) };
  }

  /** Takes in a change that the view went through; O(1) for a task. */
  observe(change: ViewChange): void {
    this.table.observe(change);
    if (change.table === 'revision') this.#pending.allPinnedDue();
    if (change.table !== 'task') return;
    this.#pending.observe(change.before, change.after);
    const expected = this.#unconfirmed.get(change.id);
    if (expected !== undefined && expected === change.after?.NodeID) this.#unconfirmed.delete(change.id);
  }

  /** At most `limit` writes, each about another task; `more` when there may be others to make. The view has to be what was observed. */
  decide(
    view: ClusterView,
    o: PlacementOptions & { readonly limit: number },
  ): { writes: Write[]; more: boolean } {
    const { failures, touched, nodes } = this.table;
    failures.advance(o.nowMs);
    this.#giveUpUnconfirmed();
    using round = new PlacementRound({ view, table: this.table, nowMs: o.nowMs, limit: o.limit });
    this.#placePinned(round);
    // placing comes before explaining, which would take the room
    for (const group of this.#pending.groups) {
      if (round.isFull) break;
      this.#placeGroup(group, round, o.strategy);
    }
    for (const group of this.#pending.groups) {
      if (round.isFull) break;
      explainGroup(group, round);
    }
    touched.trim(nodes.size);
    this.#unconfirmed = new Map(round.placed);
    return { writes: round.writes, more: round.isFull };
  }

  /** Why a task is where it is, or nowhere, and what would change that; `not-found` for one that there is not. O(nodes). */
  explain(view: ClusterView, taskId: string, o: PlacementOptions): PlacementExplanation {
    this.table.failures.advance(o.nowMs);
    return explainPlacement(view, this.table, taskId, o.strategy);
  }

  /** What was decided and did not come to be leaves room where groups were told that there is none. */
  #giveUpUnconfirmed(): void {
    for (const nodeId of this.#unconfirmed.values()) {
      const node = this.table.node(nodeId);
      if (node !== undefined) this.table.touched.add(node);
    }
    this.#unconfirmed.clear();
  }

  #placePinned(round: PlacementRound): void {
    const { touched } = this.table;
    const changed = touched.since(this.#pinnedReadUntil);
    if (changed === undefined) this.#pending.allPinnedDue();
    else for (const node of changed) this.#pending.nodeTouched(node.id);
    this.#pinnedReadUntil = touched.end;
    for (const id of this.#pending.duePinned) {
      if (round.isFull) return;
      const task = round.view.get('task', id);
      if (task === undefined || !this.#placeOnItsNode(task, round)) this.#pending.pinnedDone(id);
    }
  }

  /** Gives whether something was written: then the task is looked at again, for the write may come to nothing. */
  #placeOnItsNode(task: TaskRecord, round: PlacementRound): boolean {
    const need = this.table.requirements(revisionIdOf(task));
    const node = this.table.node(task.NodeID);
    // both are on their way, and make the task due again when they come
    if (need === undefined || node?.record === undefined) return false;
    const serviceTasks = this.table.tasksOf(task.ServiceID).get(node) ?? 0;
    const refusing = this.#filter.for(need, this.table.slots)(node, serviceTasks);
    if (refusing !== PASSES) {
      return round.explainWaiting(
        task,
        refusalSummary(FILTERS.map((_, index) => Number(index === refusing))),
      );
    }
    round.assign(task, node, need);
    return true;
  }

  #placeGroup(group: PendingGroup, round: PlacementRound, strategy: PlacementStrategy): void {
    const { table } = this;
    const need = table.requirements(group.revisionId);
    const changed = group.refused === undefined ? undefined : table.touched.since(group.refused.readUntil);
    const nodes = changed ?? table.nodes;
    if (need === undefined || (changed !== undefined && changed.size === 0)) return;

    const refusing = this.#filter.for(need, table.slots);
    const serviceTasks = table.tasksOf(group.serviceId);
    const tasksOn = (node: NodeLoad): number => serviceTasks.get(node) ?? 0;
    const failures = table.failures.failuresOf(group.revisionId);
    const candidates: Candidate[] = [];
    for (const node of nodes) {
      const tasks = serviceTasks.size === 0 ? 0 : tasksOn(node);
      if (refusing(node, tasks) === PASSES)
        candidates.push(candidateOf(node, tasks, { need, strategy, failures }));
    }
    const isPlaced =
      candidates.length > 0 &&
      this.#placeOn(candidatesFor(group, candidates, need, round), {
        group,
        round,
        strategy,
        need,
        refusing,
      });
    // tasks placed before have changed what each node has of the service
    const tasks = table.tasksOf(group.serviceId);
    if (!isPlaced) this.#refuse(group, changed, (node) => refusing(node, tasks.get(node) ?? 0));
  }

  /** Gives whether all tasks of the group that there is room to write for got a node. */
  #placeOn(
    candidates: Candidate[],
    o: {
      group: PendingGroup;
      round: PlacementRound;
      strategy: PlacementStrategy;
      need: TaskRequirements;
      refusing: (node: NodeLoad, serviceTasks: number) => number;
    },
  ): boolean {
    const { group, round, strategy, need, refusing } = o;
    const tree = new SpreadTree({
      candidates,
      spread: need.spread,
      serviceTasks: this.table.tasksOf(group.serviceId),
      wanted: Math.min(group.tasks.size, round.room),
    });
    const isSingle = isGroupOfSingleWriter(round.view, group);
    for (const id of group.tasks) {
      const task = round.view.get('task', id);
      if (task === undefined || !awaitsPlacement(task)) continue;
      // whether it may run although it was let run before, the orchestrator says first
      if (isSingle && task.fenced !== true) continue;
      if (round.isFull) return true;
      const candidate = tree.next();
      if (candidate === undefined) return false;
      round.assign(task, candidate.node, need);
      refresh(candidate, 1, strategy);
      tree.placed(1, refusing(candidate.node, candidate.serviceTasks) === PASSES);
    }
    return true;
  }

  /** No node takes any more: notes which filter refuses which. */
  #refuse(
    group: PendingGroup,
    changed: ReadonlySet<NodeLoad> | undefined,
    refusing: (node: NodeLoad) => number,
  ): void {
    const refused = changed === undefined ? new RefusedNodes() : (group.refused ?? new RefusedNodes());
    for (const node of changed ?? this.table.nodes) {
      refused.set(node, node.record === undefined ? PASSES : refusing(node));
    }
    refused.readUntil = this.table.touched.end;
    group.refused = refused;
  }
}

/** A task that is alone may be bound to its data; several of one revision cannot want the same. */
function candidatesFor(
  group: PendingGroup,
  candidates: Candidate[],
  need: TaskRequirements,
  round: PlacementRound,
): Candidate[] {
  const [id = ''] = group.tasks.size === 1 ? group.tasks : [];
  const task = round.view.get('task', id);
  return task === undefined ? candidates : candidatesWithData(round.view, task, need, candidates);
}

/** Tasks of a group are of one revision, so what is true of one is of all. */
function isGroupOfSingleWriter(
  view: ClusterView,
  { tasks: [id = ''] }: { tasks: Iterable<string> },
): boolean {
  const task = view.get('task', id);
  return task !== undefined && isOfSingleWriter(view, task, isSingleWriter);
}

function serviceOf(write: Write): string[] {
  return write.table === 'task' && 'put' in write ? [write.put.ServiceID] : [];
}

function explainGroup(group: PendingGroup, round: PlacementRound): void {
  const reason = group.refused?.reason;
  if (reason === undefined) return;
  if (reason !== group.reason) {
    group.reason = reason;
    for (const id of group.tasks) group.unreported.add(id);
  }
  for (const id of group.unreported) {
    if (round.isFull) return;
    if (round.placed.has(id)) continue;
    const task = round.view.get('task', id);
    if (task === undefined || !round.explainWaiting(task, reason)) group.unreported.delete(id);
  }
}
