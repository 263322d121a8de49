import { isDeepStrictEqual } from 'node:util';
import { modeOf, replicasOf, updateRulesOf } from '#cluster/controllers/service-defaults.ts';
import { leastMissed } from '#cluster/controllers/service-places.ts';
import { newestOf, type Place, placesOf } from '#cluster/controllers/task-places.ts';
import { nodeFit } from '#cluster/scheduler/node-fit.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ServiceRecord, ServiceSpec } from '#model/service.ts';
import type { StackService, StackSpec } from '#model/stack.ts';
import type { PlannedChange, PlannedTask, ServiceAction, ServicePlan } from '#model/stack-plan.ts';
import { completeSpec, isJob, modeName } from './service-spec-check.ts';
import { namedSpec, specDifferences } from './spec-differences.ts';
import { FitTrial } from './stack-fit.ts';
import { stackOf } from './stack-services.ts';

/** Plans the services of one stack one after the other: each finds what those before it have left free. */
export class ServicePlanner {
  readonly problems: string[] = [];
  readonly #view: ClusterView;
  readonly #spec: StackSpec;
  readonly #released: StackSpec | undefined;
  readonly #fit: FitTrial;

  /** `released`: the last release, by which drift is told from what is asked for now. */
  constructor(view: ClusterView, spec: StackSpec, released: StackSpec | undefined) {
    this.#view = view;
    this.#spec = spec;
    this.#released = released;
    this.#fit = new FitTrial(view);
  }

  /** A service that the stack does not have any more. */
  removed(service: ServiceRecord): ServicePlan {
    this.#fit.release(service.ID);
    const ends = this.#placesOf(service).map((place) => this.#task(service, place));
    return { ...this.#untouched(service.Spec), action: 'remove', ends };
  }

  planned(service: StackService): ServicePlan {
    const after = completeSpec(service.spec);
    const plan = { ...this.#untouched(after), after: this.#dependencies(service) };
    const record = this.#view.named('service', after.Name);
    if (record !== undefined && stackOf(record.Spec.Labels) !== this.#spec.name) {
      this.problems.push(
        `service ${after.Name} is there already, and is not of the stack ${this.#spec.name}`,
      );
      return plan;
    }
    if (record === undefined) {
      const starts = this.#tasksOf(after);
      return { ...plan, action: 'create', starts, ...this.#misfit(after.Name, after, starts) };
    }
    const changes = this.#changes(service, record, after);
    if (changes.length === 0) return plan;
    const action: ServiceAction = modeName(record.Spec.Mode) === modeName(after.Mode) ? 'update' : 'recreate';
    return { ...plan, action, changes, ...this.#taskChanges(record, after, { action, changes }) };
  }

  #untouched(spec: ServiceSpec): ServicePlan {
    const { startFirst } = updateRulesOf(spec.UpdateConfig);
    return {
      name: spec.Name,
      action: 'none',
      changes: [],
      restarts: [],
      ends: [],
      starts: 0,
      order: startFirst ? 'start-first' : 'stop-first',
      after: [],
    };
  }

  #dependencies({ dependsOn }: StackService): string[] {
    return this.#spec.services.filter(({ key }) => key in dependsOn).map(({ spec }) => spec.Name);
  }

  #changes({ key }: StackService, record: ServiceRecord, after: ServiceSpec): PlannedChange[] {
    const before = namedSpec(this.#view, record.Spec);
    const released = this.#released?.services.find((service) => service.key === key);
    const drifted = new Map(
      released === undefined
        ? []
        : specDifferences(before, completeSpec(released.spec)).map((change) => [change.path, change.after]),
    );
    return specDifferences(before, after).map((change) => ({
      ...change,
      drift: drifted.has(change.path) && isDeepStrictEqual(drifted.get(change.path), change.after),
    }));
  }

  #taskChanges(
    record: ServiceRecord,
    after: ServiceSpec,
    o: { action: ServiceAction; changes: readonly PlannedChange[] },
  ): Partial<ServicePlan> {
    const places = this.#placesOf(record);
    const count = this.#tasksOf(after);
    if (o.action === 'recreate') {
      this.#fit.release(record.ID);
      const ends = places.map((place) => this.#task(record, place));
      return { ends, starts: count, ...this.#misfit(record.ID, after, count) };
    }
    const isAnew = o.changes.some(({ path }) => /^(TaskTemplate|EndpointSpec)\b/.test(path));
    if (isJob(after.Mode)) return { starts: isAnew ? count : 0 };
    const surplus = Math.max(0, places.length - count);
    const leaving = new Set(modeOf(after) === 'replicated' ? leastMissed(places, surplus) : []);
    const staying = places.filter((place) => !leaving.has(place));
    const starts = Math.max(0, count - staying.length);
    const { startFirst, parallelism } = updateRulesOf(after.UpdateConfig);
    if (isAnew && !startFirst) this.#fit.release(record.ID);
    const atOnce = startFirst ? Math.min(parallelism, staying.length) : staying.length;
    return {
      restarts: isAnew ? staying.map((place) => this.#task(record, place)) : [],
      ends: [...leaving].map((place) => this.#task(record, place)),
      starts,
      ...this.#misfit(record.ID, after, starts + (isAnew ? atOnce : 0)),
    };
  }

  /** Tasks that the service wants to have: of a global one as many as there are nodes for it. */
  #tasksOf(spec: ServiceSpec): number {
    switch (modeOf(spec)) {
      case 'replicated':
        return replicasOf(spec);
      case 'replicated-job':
        return spec.Mode?.ReplicatedJob?.TotalCompletions ?? 1;
      case 'global':
      case 'global-job': {
        const fits = nodeFit();
        return [...this.#view.all('node')].filter(
          (node) =>
            node.Status.State === 'ready' &&
            node.Spec.Availability === 'active' &&
            fits(node, spec.TaskTemplate),
        ).length;
      }
    }
  }

  #misfit(serviceId: string, spec: ServiceSpec, count: number): { misfit?: string } {
    const misfit = this.#fit.place(serviceId, spec, count);
    return misfit === undefined ? {} : { misfit };
  }

  #placesOf(service: ServiceRecord): Place[] {
    return placesOf(this.#view.tasksOfService(service.ID)).filter(({ wanted }) => wanted.length > 0);
  }

  #task(service: ServiceRecord, place: Place): PlannedTask {
    const task = newestOf(place);
    const node = task === undefined ? undefined : this.#view.get('node', task.NodeID);
    const name = node?.Description?.Hostname ?? task?.NodeID ?? '';
    return {
      name: `${service.Spec.Name}.${place.slot === 0 ? name : place.slot}`,
      node: name,
      state: task?.Status.State ?? '',
    };
  }
}
