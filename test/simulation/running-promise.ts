import { modeOf, replicasOf, updateRulesOf } from '#cluster/controllers/service-defaults.ts';
import { isSingleWriter } from '#cluster/scheduler/single-writer.ts';
import type { ServiceRecord } from '#model/service.ts';

/** What is known of one service. */
interface Promised {
  /** As few may run; undefined before all have run for the first time. */
  least: number | undefined;
  service: ServiceRecord;
}

/**
 * Without faults, and with images that run, an update never has fewer tasks running than it promises: all replicas where it starts the
 * new one first, all but its parallelism where it stops the old one first.
 */
export class RunningPromise {
  readonly #services = new Map<string, Promised>();

  /** A service was changed: while one change is not done with, the lowest promise counts. */
  observe(id: string, service: ServiceRecord | undefined): void {
    const promises =
      service !== undefined &&
      service.removing !== true &&
      modeOf(service.Spec) === 'replicated' &&
      !isSingleWriter(service, service.Spec.TaskTemplate);
    if (!promises) {
      this.#services.delete(id);
      return;
    }
    const known = this.#services.get(id);
    if (known === undefined) {
      this.#services.set(id, { least: undefined, service });
      return;
    }
    // more than there were have to come to run first
    const grows = replicasOf(service.Spec) > replicasOf(known.service.Spec);
    const least = known.least === undefined || grows ? undefined : Math.min(known.least, leastOf(service));
    this.#services.set(id, { least, service });
  }

  /** `running` gives how many healthy containers of a service run now, and how many of its present revision. */
  *broken(running: (serviceId: string) => { all: number; current: number }): Generator<string> {
    for (const [id, promised] of this.#services) {
      const { all, current } = running(id);
      if (promised.least !== undefined && all < promised.least)
        yield `service ${id} runs ${all} tasks, and promised ${promised.least}`;
      const state = promised.service.UpdateStatus?.State;
      const isDone = state !== 'updating' && state !== 'rollback_started';
      if (isDone && current >= replicasOf(promised.service.Spec)) promised.least = leastOf(promised.service);
    }
  }
}

function leastOf({ Spec, UpdateStatus }: ServiceRecord): number {
  const isRollback = UpdateStatus?.State.startsWith('rollback') === true;
  const rules = updateRulesOf(isRollback ? Spec.RollbackConfig : Spec.UpdateConfig);
  return Math.max(0, replicasOf(Spec) - (rules.startFirst ? 0 : rules.parallelism));
}
