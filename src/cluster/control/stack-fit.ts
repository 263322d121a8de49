import { FILTERS, refusalSummary } from '#cluster/scheduler/filters.ts';
import type { NodeLoad } from '#cluster/scheduler/node-load.ts';
import { footprintOf, holdsShare, NodeTable, revisionIdOf } from '#cluster/scheduler/node-table.ts';
import { requirementsOf, type TaskRequirements } from '#cluster/scheduler/task-requirements.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ServiceSpec } from '#model/service.ts';

/**
 * Tries out whether tasks would find nodes, by what is reserved now: a rough answer, for a plan. The scheduler looks at more, and
 * at another time. Making one costs a look at every task.
 */
export class FitTrial {
  readonly #view: ClusterView;
  readonly #table: NodeTable;

  constructor(view: ClusterView) {
    this.#view = view;
    this.#table = NodeTable.of(view);
  }

  /** Gives back what the tasks of a service hold. */
  release(serviceId: string): void {
    for (const task of this.#view.tasksOfService(serviceId)) {
      const node = holdsShare(task) ? this.#table.node(task.NodeID) : undefined;
      if (node === undefined) continue;
      this.#table.account(node, footprintOf(task, this.#table.requirements(revisionIdOf(task))), -1);
    }
  }

  /** Places so many tasks more; says why not, where some find no node. */
  place(serviceId: string, spec: ServiceSpec, count: number): string | undefined {
    const { TaskTemplate: template, EndpointSpec: endpoint } = spec;
    const need = requirementsOf(
      { template, ...(endpoint === undefined ? {} : { endpoint }) },
      (id) => this.#view.get('network', id)?.EncryptedOption === true,
    );
    for (let placed = 0; placed < count; placed++) {
      const counts = FILTERS.map(() => 0);
      const node = this.#emptiest(serviceId, need, counts);
      if (node === undefined) return `${count - placed} of ${count} tasks: ${refusalSummary(counts)}`;
      this.#table.account(node, { serviceId, requirements: need, generic: [], counted: true }, 1);
    }
    return undefined;
  }

  /** The node with the fewest tasks that takes one more; `counts` says how many each filter refuses. */
  #emptiest(serviceId: string, need: TaskRequirements, counts: number[]): NodeLoad | undefined {
    const tasks = this.#table.tasksOf(serviceId);
    let best: NodeLoad | undefined;
    for (const node of this.#table.nodes) {
      const refused = FILTERS.findIndex(
        (filter) => filter.concerns(need) && !filter.passes(node, need, tasks.get(node) ?? 0),
      );
      if (refused >= 0) counts[refused] = (counts[refused] ?? 0) + 1;
      else if (best === undefined || node.tasks < best.tasks) best = node;
    }
    return best;
  }
}
