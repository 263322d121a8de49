import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Write } from '#cluster/state/tables.ts';
import type { TaskRecord } from '#model/task.ts';
import type { Footprint, NodeLoad } from './node-load.ts';
import { footprintOf, type NodeTable } from './node-table.ts';
import type { TaskRequirements } from './task-requirements.ts';

interface Trial {
  readonly taskId: string;
  readonly node: NodeLoad;
  readonly footprint: Footprint;
}

/**
 * The writes of one round of decisions. What it places is booked in the table while the round lasts, so that later decisions count
 * it, and taken out again at its end: the table follows what was committed, and nothing else.
 */
export class PlacementRound implements Disposable {
  readonly view: ClusterView;
  readonly writes: Write[] = [];
  readonly #table: NodeTable;
  readonly #limit: number;
  readonly #now: string;
  readonly #trials: Trial[] = [];
  readonly #placed = new Map<string, string>();

  constructor(o: { view: ClusterView; table: NodeTable; nowMs: number; limit: number }) {
    this.view = o.view;
    this.#table = o.table;
    this.#limit = o.limit;
    this.#now = new Date(o.nowMs).toISOString();
  }

  get isFull(): boolean {
    return this.room <= 0;
  }

  /** Writes that are left. */
  get room(): number {
    return this.#limit - this.writes.length;
  }

  /** Task → node. */
  get placed(): ReadonlyMap<string, string> {
    return this.#placed;
  }

  /** Writes that a task goes to a node that no filter refuses. */
  assign(task: TaskRecord, node: NodeLoad, need: TaskRequirements): void {
    const generic = need.generic.length === 0 ? undefined : node.generic.offer(need.generic);
    const { waiting: _, ...rest } = task;
    const put: TaskRecord = {
      ...rest,
      NodeID: node.id,
      UpdatedAt: this.#now,
      Status: {
        ...task.Status,
        Timestamp: this.#now,
        State: 'assigned',
        Message: `scheduler ${task.NodeID === '' ? 'assigned task to node' : 'confirmed task can run on preassigned node'}`,
      },
      ...(generic === undefined ? {} : { AssignedGenericResources: generic }),
    };
    const footprint = footprintOf(put, need);
    this.#table.account(node, footprint, 1);
    this.#trials.push({ taskId: task.ID, node, footprint });
    this.#placed.set(task.ID, node.id);
    this.writes.push({ table: 'task', put });
  }

  /** Writes why a task waits, if its record says something else; gives whether it did. Since when it waits stays. */
  explainWaiting(task: TaskRecord, reason: string): boolean {
    if (task.waiting?.reason === reason) return false;
    const since = task.waiting?.since ?? this.#now;
    this.writes.push({
      table: 'task',
      put: { ...task, UpdatedAt: this.#now, waiting: { reason, since } },
    });
    return true;
  }

  [Symbol.dispose](): void {
    for (const { node, footprint } of this.#trials) this.#table.account(node, footprint, -1);
  }
}
