import { isOfSingleWriter } from '#cluster/controllers/fenced-tasks.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ServiceRecord } from '#model/service.ts';
import { isTerminal, stateRank, type TaskRecord } from '#model/task.ts';
import type { TaskSpec } from '#model/task-spec.ts';

type IsSingleWriter = (service: ServiceRecord, template: TaskSpec) => boolean;

/**
 * Which tasks their nodes end by themselves, as far as that may be relied on: `fenced` in their records. A node is told to do so at once,
 * the record says it when the node has confirmed it; the record takes it back first, and then the node is told. So at any moment, whatever
 * is on its way and whoever leads, a task whose record says that it is fenced is.
 */
export class FenceMarks {
  readonly #isSingleWriter: IsSingleWriter;
  /** Confirmed by their nodes, until the record says it or it is not wanted any more. */
  readonly #confirmed = new Set<string>();

  constructor(isSingleWriter: IsSingleWriter) {
    this.#isSingleWriter = isSingleWriter;
  }

  /** A service may become one of which never two tasks may run, or cease to be. */
  isWanted(view: ClusterView, task: TaskRecord): boolean {
    return isOfSingleWriter(view, task, this.#isSingleWriter);
  }

  /** What a node is told. */
  isTold(view: ClusterView, task: TaskRecord): boolean {
    return task.fenced === true || this.#confirmed.has(task.ID) || this.isWanted(view, task);
  }

  /** Whether the node is asked to confirm it. */
  isOpen(task: TaskRecord): boolean {
    return task.fenced !== true && !this.#confirmed.has(task.ID);
  }

  /** The node has confirmed what it was told last of the task. */
  confirm(taskId: string): void {
    this.#confirmed.add(taskId);
  }

  /** True when {@link marked} may have something to change, or to forget. */
  isOff(view: ClusterView, task: TaskRecord): boolean {
    if (this.#confirmed.has(task.ID)) return true;
    return !isTerminal(task.Status.State) && this.isWanted(view, task) !== (task.fenced === true);
  }

  /** The record as it has to be; the same one where it is. To be asked with a view that has all that was written before. */
  marked(view: ClusterView, task: TaskRecord): TaskRecord {
    const isWanted = !isTerminal(task.Status.State) && this.isWanted(view, task);
    const { fenced, ...rest } = task;
    if (!isWanted || fenced === true) this.#confirmed.delete(task.ID);
    if (isTerminal(task.Status.State) || isWanted === (fenced === true)) return task;
    if (!isWanted) return rest;
    // one that no node has heard of is told with the mark; whether it may run at all the orchestrator says
    const isNew = stateRank(task.Status.State) < stateRank('assigned') && task.DesiredState === 'ready';
    return isNew || this.#confirmed.has(task.ID) ? { ...task, fenced: true } : task;
  }

  /** The task is deleted. */
  forget(taskId: string): void {
    this.#confirmed.delete(taskId);
  }
}
