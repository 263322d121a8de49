import type { AssignedTask } from '#cluster/agent/assigned-task.ts';
import { replicasOf } from '#cluster/controllers/service-defaults.ts';
import { isSingleWriter } from '#cluster/scheduler/single-writer.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange } from '#cluster/state/tables.ts';
import type { ServiceRecord } from '#model/service.ts';
import { stateRank } from '#model/task.ts';

/** A service as it was from a revision of the store on. */
interface Period {
  readonly since: number;
  readonly service: ServiceRecord;
}

/**
 * Since when services are single writers, and since when each task is let run, by the store: whatever nodes and leaders know of it, who
 * was let run when the service was a single writer runs beside no other.
 */
export class SingleWriters {
  readonly #truth: ClusterView;
  readonly #periods = new Map<string, Period[]>();
  readonly #letRun = new Map<string, number>();

  constructor(truth: ClusterView) {
    this.#truth = truth;
  }

  observe({ table, id, after }: ViewChange): void {
    if (table === 'service' && after !== undefined) {
      const periods = this.#periods.get(id) ?? [];
      this.#periods.set(id, periods);
      periods.push({ since: this.#truth.revision, service: after });
    }
    if (table !== 'task') return;
    if (after === undefined) this.#letRun.delete(id);
    else if (
      after.DesiredState === 'running' &&
      stateRank(after.Status.State) >= stateRank('assigned') &&
      !this.#letRun.has(id)
    )
      this.#letRun.set(id, this.#truth.revision);
  }

  /** Whether one of the two was let run when no other one was to. */
  mayNotMeet(task: AssignedTask, other: AssignedTask): boolean {
    const since = this.#singleSince(task, other);
    const letRun = [task, other].map(({ id }) => this.#letRun.get(id) ?? 0);
    return since !== undefined && Math.max(...letRun) > since;
  }

  /** Since when two tasks of these places may not run together; undefined where they may now. */
  #singleSince(task: AssignedTask, other: AssignedTask): number | undefined {
    let since: number | undefined;
    for (const period of (this.#periods.get(task.serviceId) ?? []).toReversed()) {
      const { service } = period;
      const isSingle = [task, other].some(({ spec }) => isSingleWriter(service, spec));
      // with one replica it is one of all places
      const isOfOne = task.slot === other.slot || replicasOf(service.Spec) <= 1;
      if (!isSingle || !isOfOne) break;
      since = period.since;
    }
    return since;
  }
}
