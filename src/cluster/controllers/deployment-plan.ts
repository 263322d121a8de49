import { changedService, newService } from '#cluster/control/service-change.ts';
import { modeName } from '#cluster/control/service-spec-check.ts';
import { namedSpec, specDifferences } from '#cluster/control/spec-differences.ts';
import { uselessObjects } from '#cluster/control/stack-cleanup.ts';
import { obsoleteServices, resolvedSpec, stackOf } from '#cluster/control/stack-services.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Write } from '#cluster/state/tables.ts';
import { DroverError } from '#model/errors.ts';
import type { NodeRecord } from '#model/node.ts';
import type { ReleaseRecord, ReleaseState } from '#model/release.ts';
import type { PortConfig, ServiceRecord, ServiceSpec } from '#model/service.ts';
import type { StackService } from '#model/stack.ts';
import type { TaskSpec } from '#model/task-spec.ts';
import type { Decision, DecisionContext } from './controller.ts';
import { type ServiceProgress, serviceProgress } from './service-progress.ts';

/** Every host has these; a network of the cluster cannot be called so. */
const ON_EVERY_HOST: readonly string[] = ['host', 'bridge'];
/** A service takes two writes and the release one. */
const WRITES_OF_A_SERVICE = 3;

/** One look at a release that is being deployed: what can be done now. */
export class DeploymentPlan {
  readonly #view: ClusterView;
  readonly #release: ReleaseRecord;
  readonly #fits: (node: NodeRecord, template: TaskSpec) => boolean;
  readonly #context: DecisionContext;
  readonly #writes: Write[] = [];
  readonly #applied: Record<string, number>;
  /** Services that are there and run: those that depend on them may go on. */
  readonly #settled = new Set<string>();
  /** Why services could not be written yet. */
  readonly #blocked: string[] = [];
  #isMoving = false;
  #lacksRoom = false;
  #failure: string | undefined;

  constructor(o: {
    view: ClusterView;
    release: ReleaseRecord;
    fits: (node: NodeRecord, template: TaskSpec) => boolean;
    context: DecisionContext;
  }) {
    this.#view = o.view;
    this.#release = o.release;
    this.#fits = o.fits;
    this.#context = o.context;
    this.#applied = { ...o.release.applied };
  }

  decision(): Decision {
    const { spec } = this.#release;
    const waiting: StackService[] = [];
    for (const service of spec.services) {
      if (this.#applied[service.key] === undefined) waiting.push(service);
      else this.#look(service);
    }
    if (this.#failure !== undefined) return this.#ended('failed', this.#failure);
    const obsolete = obsoleteServices(this.#view, spec);
    for (const service of obsolete) if (holdsPortOf(service, waiting)) this.#remove(service);
    for (const service of waiting) if (this.#isReady(service)) this.#apply(service);
    if (this.#writes.length > 0 || this.#isMoving || this.#lacksRoom) return this.#ongoing();
    const [blocked] = this.#blocked;
    if (blocked !== undefined) return this.#ended('failed', blocked);
    if (waiting.length > 0) return this.#ongoing();
    for (const service of obsolete) this.#remove(service);
    if (this.#writes.length > 0 || this.#lacksRoom) return this.#ongoing();
    // one write is for the release itself; what finds no room stays until the next one
    this.#writes.push(...uselessObjects(this.#view, spec.name).slice(0, this.#context.limit - 1));
    return this.#ended('deployed', '');
  }

  /** How a service is that this release has written. */
  #look(service: StackService): void {
    const { outcome, reason } = this.#progressOf(service);
    if (outcome === 'failed') this.#failure ??= `service ${service.spec.Name}: ${reason}`;
    else if (outcome === 'settled') this.#settled.add(service.key);
    else this.#isMoving = true;
  }

  #progressOf({ key, spec }: StackService): Pick<ServiceProgress, 'outcome' | 'reason'> {
    const service = this.#view.named('service', spec.Name);
    if (service === undefined || stackOf(service.Spec.Labels) !== this.#release.stack)
      return { outcome: 'failed', reason: 'somebody has removed it' };
    if (service.revision === this.#applied[key]) return serviceProgress(this.#view, service, this.#fits);
    const { State = 'updating', Message = '' } = service.UpdateStatus ?? {};
    const reason = State.startsWith('rollback') ? Message : 'somebody has changed it meanwhile';
    return { outcome: 'failed', reason };
  }

  #isReady({ dependsOn }: StackService): boolean {
    return Object.keys(dependsOn).every((key) => this.#settled.has(key)) && this.#hasRoom();
  }

  #hasRoom(): boolean {
    const hasRoom = this.#writes.length + WRITES_OF_A_SERVICE <= this.#context.limit;
    this.#lacksRoom ||= !hasRoom;
    return hasRoom;
  }

  #apply(service: StackService): void {
    const { spec, stack, sealedRegistryAuth, serviceIds } = this.#release;
    const view = this.#view;
    const before = view.named('service', service.spec.Name);
    let resolved: ServiceSpec;
    try {
      resolved = resolvedSpec(spec, service, {
        view,
        localNetwork: (reference) => ON_EVERY_HOST.find((name) => name === reference),
      });
    } catch (error) {
      if (!(error instanceof DroverError)) throw error;
      // a port that another service is about to give up, for one
      this.#blocked.push(`service ${service.spec.Name}: ${error.message}`);
      return;
    }
    const now = this.#now();
    const ownId = serviceIds[service.key] ?? '';
    const given = sealedRegistryAuth?.[service.key];
    if (before === undefined) {
      // one of this ID that somebody has removed may still be there; what is sealed for it is of no use to another
      const isFree = view.get('service', ownId) === undefined;
      const id = isFree ? ownId : this.#context.random.id();
      const sealed = isFree ? given : undefined;
      this.#written(service, newService(id, resolved, { now, sealedRegistryAuth: sealed }));
    } else if (modeName(before.Spec.Mode) !== modeName(resolved.Mode)) {
      if (stackOf(before.Spec.Labels) === stack) this.#remove(before);
    } else if (specDifferences(namedSpec(view, before.Spec), namedSpec(view, resolved)).length === 0) {
      this.#keep(service, before);
    } else {
      const auth = (before.ID === ownId ? given : undefined) ?? before.sealedRegistryAuth;
      this.#written(service, changedService(before, resolved, { view, now, sealedRegistryAuth: auth }));
    }
  }

  /** A service that is as it is asked for already: one that was given up has another try. */
  #keep(service: StackService, before: ServiceRecord): void {
    const { UpdateStatus, ...rest } = before;
    const isPaused = UpdateStatus?.revision === before.revision && /paused$/.test(UpdateStatus.State);
    const now = this.#now();
    if (isPaused) {
      this.#written(service, [{ table: 'service', put: { ...rest, UpdatedAt: now } }]);
    } else if (serviceProgress(this.#view, before, this.#fits).outcome === 'failed') {
      const { TaskTemplate } = before.Spec;
      const ForceUpdate = (TaskTemplate.ForceUpdate ?? 0) + 1;
      const spec = { ...before.Spec, TaskTemplate: { ...TaskTemplate, ForceUpdate } };
      const change = { view: this.#view, now, sealedRegistryAuth: before.sealedRegistryAuth };
      this.#written(service, changedService(before, spec, change));
    } else {
      this.#applied[service.key] = before.revision;
      this.#isMoving = true;
    }
  }

  #written({ key }: StackService, writes: readonly Write[]): void {
    this.#writes.push(...writes);
    for (const write of writes) {
      if (write.table === 'service' && 'put' in write) this.#applied[key] = write.put.revision;
    }
  }

  #remove(service: ServiceRecord): void {
    if (!this.#hasRoom()) return;
    this.#writes.push({ table: 'service', put: { ...service, removing: true, UpdatedAt: this.#now() } });
  }

  #ongoing(): Decision {
    const hasMore = Object.keys(this.#applied).length > Object.keys(this.#release.applied).length;
    return {
      writes: hasMore ? [...this.#writes, this.#progress('deploying', '')] : this.#writes,
      ...(this.#lacksRoom ? { againAtMs: this.#context.nowMs } : {}),
    };
  }

  #ended(State: ReleaseState, Message: string): Decision {
    return { writes: [...this.#writes, this.#progress(State, Message)] };
  }

  #progress(State: ReleaseState, Message: string): Write {
    const now = this.#now();
    const { status } = this.#release;
    const since = status.State === State ? status.since : now;
    const put = {
      ...this.#release,
      UpdatedAt: now,
      applied: this.#applied,
      status: { State, Message, since },
    };
    return { table: 'release', put };
  }

  #now(): string {
    return new Date(this.#context.nowMs).toISOString();
  }
}

/** A port that one of the services is to publish is published by one that goes: it goes first. */
function holdsPortOf(service: ServiceRecord, wanted: readonly StackService[]): boolean {
  const held = (service.Spec.EndpointSpec?.Ports ?? []).map(portKey);
  return wanted.some(({ spec }) =>
    (spec.EndpointSpec?.Ports ?? []).some(
      (port) => (port.PublishedPort ?? 0) !== 0 && held.includes(portKey(port)),
    ),
  );
}

function portKey({ PublishedPort = 0, Protocol = 'tcp' }: PortConfig): string {
  return `${PublishedPort}/${Protocol}`;
}
