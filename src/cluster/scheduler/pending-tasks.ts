import { isWanted } from '#cluster/controllers/task-places.ts';
import type { TaskRecord } from '#model/task.ts';
import { revisionIdOf } from './node-table.ts';
import type { RefusedNodes } from './refused-nodes.ts';

/** Tasks of one revision of a service that wait for a node: what one of them needs, all do. */
export interface PendingGroup {
  readonly serviceId: string;
  readonly revisionId: string;
  /** IDs, in the order in which they came. */
  readonly tasks: Set<string>;
  /** Set while no node takes one of them: only nodes that changed since are asked again. */
  refused: RefusedNodes | undefined;
  /** Why they wait; undefined before it was found out. */
  reason: string | undefined;
  /** Tasks whose record may say another reason. */
  readonly unreported: Set<string>;
}

/** All tasks that wait for the scheduler, followed change by change. */
export class PendingTasks {
  readonly #groups = new Map<string, PendingGroup>();
  /** Tasks that name their node from the beginning, by that. */
  readonly #pinned = new Map<string, Set<string>>();
  /** Pinned tasks that have to be looked at. */
  readonly #due = new Set<string>();
  #count = 0;

  get size(): number {
    return this.#count;
  }

  get groups(): Iterable<PendingGroup> {
    return this.#groups.values();
  }

  /** IDs of tasks that name their node, and may have become possible there. */
  get duePinned(): ReadonlySet<string> {
    return this.#due;
  }

  observe(before: TaskRecord | undefined, after: TaskRecord | undefined): void {
    const awaited = before !== undefined && awaitsPlacement(before);
    const awaits = after !== undefined && awaitsPlacement(after);
    if (awaited && !(awaits && before.NodeID === after.NodeID && before.revision === after.revision))
      this.#remove(before);
    if (awaits) this.#add(after);
  }

  /** A node changed: the tasks that name it are looked at again. */
  nodeTouched(nodeId: string): void {
    for (const id of this.#pinned.get(nodeId) ?? []) this.#due.add(id);
  }

  allPinnedDue(): void {
    for (const ids of this.#pinned.values()) for (const id of ids) this.#due.add(id);
  }

  /** There is nothing to say about a pinned task until its node changes. */
  pinnedDone(taskId: string): void {
    this.#due.delete(taskId);
  }

  #add(task: TaskRecord): void {
    if (task.NodeID !== '') {
      const ids = this.#pinned.get(task.NodeID) ?? new Set<string>();
      this.#pinned.set(task.NodeID, ids);
      if (!ids.has(task.ID)) this.#count += 1;
      ids.add(task.ID);
      this.#due.add(task.ID);
      return;
    }
    const group = this.#group(task);
    if (!group.tasks.has(task.ID)) this.#count += 1;
    group.tasks.add(task.ID);
    if (group.reason !== undefined && group.reason === task.waiting?.reason) group.unreported.delete(task.ID);
    else group.unreported.add(task.ID);
  }

  #remove(task: TaskRecord): void {
    this.#count -= 1;
    if (task.NodeID !== '') {
      const ids = this.#pinned.get(task.NodeID);
      ids?.delete(task.ID);
      if (ids?.size === 0) this.#pinned.delete(task.NodeID);
      this.#due.delete(task.ID);
      return;
    }
    const group = this.#group(task);
    group.tasks.delete(task.ID);
    group.unreported.delete(task.ID);
    if (group.tasks.size === 0) this.#groups.delete(group.revisionId);
  }

  #group(task: TaskRecord): PendingGroup {
    const revisionId = revisionIdOf(task);
    const known = this.#groups.get(revisionId);
    if (known !== undefined) return known;
    const group: PendingGroup = {
      serviceId: task.ServiceID,
      revisionId,
      tasks: new Set(),
      refused: undefined,
      reason: undefined,
      unreported: new Set(),
    };
    this.#groups.set(revisionId, group);
    return group;
  }
}

/** True for a task that the scheduler has to find, or confirm, a node for. */
export function awaitsPlacement(task: TaskRecord): boolean {
  return task.Status.State === 'pending' && isWanted(task);
}
