import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Versioned } from '#cluster/state/tables.ts';
import { DroverError, kindOf, notFound } from '#model/errors.ts';
import type { ReleaseRecord } from '#model/release.ts';
import type { ServiceRecord, ServiceSpec } from '#model/service.ts';
import type { StackRequest, StackSpec } from '#model/stack.ts';
import type { Basis, StackPlan } from '#model/stack-plan.ts';
import type { StackProgress } from '#model/stack-progress.ts';
import { type ControlPorts, registryAuthPurpose } from './control-ports.ts';
import { type ImagePins, imagePins, type ResolveImage } from './image-pins.ts';
import { checkBasis, type NextRelease, nextRelease, type ReleaseOutcome } from './next-release.ts';
import type { RecordWriter } from './record-writer.ts';
import { rollbackTarget, saltOf } from './release-choice.ts';
import { checkPorts } from './service-references.ts';
import { checkServiceSpec, completeSpec } from './service-spec-check.ts';
import { releasesOf } from './stack-cleanup.ts';
import { StackObjects } from './stack-objects.ts';
import { type PinnedStack, pinStack } from './stack-pinning.ts';
import { planStack } from './stack-plan.ts';
import { followRelease } from './stack-progress.ts';
import { resolvedSpec, servicesOfStack, stackOf } from './stack-services.ts';

/** What one commit removes at most of a stack. */
const REMOVED_AT_ONCE = 40;
/** Something that a release needs may go while it is written. */
const ATTEMPTS = 3;

export interface DeployRequest {
  readonly stack: StackRequest;
  /** By the keys of services: clients' `X-Registry-Auth`. */
  readonly registryAuth?: Readonly<Record<string, string>>;
  readonly resolveImage: ResolveImage;
  /** What the deployment relies on: when it is not so any more it is refused. */
  readonly basis?: readonly Basis[];
}

export interface Deployed {
  readonly number: number;
  readonly outcome: ReleaseOutcome;
  readonly warnings: readonly string[];
}

/** What is asked for: a new stack, an older release, or the last one as it is. */
export type PlanRequest =
  | Pick<DeployRequest, 'stack' | 'resolveImage'>
  | { readonly release: number | 'last' };

export interface StackSummary {
  readonly name: string;
  readonly services: number;
  /** The newest. */
  readonly release: ReleaseRecord | undefined;
}

/** Stacks and their releases. */
export class ReleaseControl {
  readonly #ports: ControlPorts;
  readonly #writer: RecordWriter;
  readonly #objects: StackObjects;

  constructor(ports: ControlPorts, writer: RecordWriter) {
    this.#ports = ports;
    this.#writer = writer;
    this.#objects = new StackObjects(ports, writer);
  }

  /** Every stack that has a release or, made by another tool, services. */
  list(): StackSummary[] {
    const { view } = this.#ports.follower;
    const names = new Set([...view.all('release')].map(({ stack }) => stack));
    for (const { Spec, removing } of view.all('service')) {
      const stack = stackOf(Spec.Labels);
      if (stack !== undefined && removing !== true) names.add(stack);
    }
    return [...names].sort().map((name) => ({
      name,
      services: servicesOfStack(view, name).length,
      release: releasesOf(view, name)[0],
    }));
  }

  /** The newest first. `not-found` for a stack that has none. */
  releases(stack: string): ReleaseRecord[] {
    const releases = releasesOf(this.#ports.follower.view, stack);
    if (releases.length === 0) throw noReleases(stack);
    return releases;
  }

  /** `last` is the newest. */
  inspect(stack: string, number: number | 'last'): Versioned<ReleaseRecord> {
    const { view } = this.#ports.follower;
    const [newest] = releasesOf(view, stack);
    if (newest === undefined) throw noReleases(stack);
    const record = number === 'last' ? newest : view.get('release', `${stack}.${number}`);
    if (record === undefined) throw noSuchRelease(stack, number);
    return { record, revision: view.revisionOf('release', record.ID) };
  }

  /** The number of the release that a rollback would go back to. */
  rollbackTarget(stack: string, number: number | undefined): number {
    return rollbackTarget(this.releases(stack), number).number;
  }

  /** See {@link followRelease}. */
  follow(stack: string, number: number, signal: AbortSignal): AsyncGenerator<StackProgress> {
    return followRelease(this.#ports, { stack, number, signal });
  }

  /** What a deployment would do. Nothing is written. */
  async plan(stack: string, request: PlanRequest): Promise<StackPlan> {
    const { view } = this.#ports.follower;
    const last = releasesOf(view, stack)[0];
    if ('release' in request) {
      const { spec } = this.inspect(stack, request.release).record;
      return planStack(view, { spec, last, contents: [] });
    }
    const { pinned, pins, warnings } = await this.#pinned(request, last);
    const plan = planStack(view, { spec: pinned.spec, last, contents: pinned.contents });
    const problems = [...this.#problems(view, pinned), ...plan.problems];
    return { ...plan, images: Object.fromEntries(pins), problems, warnings: [...warnings, ...plan.warnings] };
  }

  /**
   * Makes the next release of a stack, which the leader then deploys. One that is equal to the last is none: the last one is deployed again
   * where it failed, or where the cluster is not as it says. `conflict` names what is not as `basis` says.
   */
  async deploy(request: DeployRequest): Promise<Deployed> {
    const { name } = request.stack;
    const last = releasesOf(this.#ports.follower.view, name)[0];
    const { pinned, warnings } = await this.#pinned(request, last);
    const { basis = [], registryAuth = {} } = request;
    checkBasis(this.#ports.follower.view, name, basis);
    // networks, secrets and configs are made here, and do not change
    const later = basis.filter(({ kind }) => kind === 'release' || kind === 'service');
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#objects.make(pinned);
        const made = await this.#writer.write((view) =>
          this.#next(view, pinned.spec, { basis: later, registryAuth }),
        );
        return { ...made, warnings };
      } catch (error) {
        // what was there already may be cleaned up after the release before, between the two writes
        if (attempt === ATTEMPTS || kindOf(error) !== 'not-found') throw error;
      }
    }
  }

  /** Deploys an older release again, as a new one. Without a number that before the last one which was deployed and differs from it. */
  async rollBack(
    stack: string,
    number: number | undefined,
    basis: readonly Basis[] = [],
  ): Promise<Deployed & { readonly from: number }> {
    const target = rollbackTarget(this.releases(stack), number);
    checkBasis(this.#ports.follower.view, stack, basis);
    // networks that a later release did not have are gone
    await this.#objects.make({ spec: target.spec, contents: [] });
    const later = basis.filter(({ kind }) => kind === 'release' || kind === 'service');
    const made = await this.#writer.write((view) => {
      const from = rollbackTarget(releasesOf(view, stack), target.number);
      const registryAuth = this.#registryAuthOf(from);
      return this.#next(view, from.spec, { rollbackOf: from.number, basis: later, registryAuth });
    });
    return { ...made, warnings: [], from: target.number };
  }

  /** Services first, then what they used, then the releases. `not-found` when there is nothing of the stack. */
  async remove(stack: string): Promise<void> {
    const { view } = this.#ports.follower;
    const isThere = releasesOf(view, stack).length > 0 || servicesOfStack(view, stack).length > 0;
    if (!isThere) throw notFound(`nothing found in stack: ${stack}`);
    let left = true;
    while (left) {
      left = await this.#writer.write((now) => {
        const writes = this.#objects.removals(now, stack, new Date(this.#ports.clock.nowMs()).toISOString());
        return { writes: writes.slice(0, REMOVED_AT_ONCE), result: writes.length > 0 };
      });
    }
  }

  #next(
    view: ClusterView,
    spec: StackSpec,
    o: Pick<NextRelease, 'basis' | 'rollbackOf' | 'registryAuth'>,
  ): ReturnType<typeof nextRelease> {
    const decision = nextRelease(view, spec, {
      ...o,
      now: new Date(this.#ports.clock.nowMs()).toISOString(),
      newId: () => this.#ports.random.id(),
      seal: (auth, id) => this.#ports.sealer.seal(Buffer.from(auth), registryAuthPurpose(id)),
    });
    for (const service of spec.services) this.#check(view, spec, service);
    return decision;
  }

  /** What a release was deployed with, in the clear. */
  #registryAuthOf({ sealedRegistryAuth = {}, serviceIds }: ReleaseRecord): Record<string, string> {
    const opened = Object.entries(sealedRegistryAuth).map(([key, sealed]) => {
      const content = this.#ports.sealer.unseal(sealed, registryAuthPurpose(serviceIds[key] ?? ''));
      return [key, content.toString()] as const;
    });
    return Object.fromEntries(opened);
  }

  /** That a service can be written, as far as it can be said before: ports of the stack itself may change hands. */
  #check(view: ClusterView, spec: StackSpec, service: StackSpec['services'][number]): void {
    const resolved = resolvedSpec(spec, service, {
      view,
      localNetwork: this.#ports.localNetwork,
      passesOver: isOf(spec.name),
    });
    checkServiceSpec(resolved);
  }

  /** What a deployment would be refused for. */
  #problems(view: ClusterView, pinned: PinnedStack): string[] {
    const problems = this.#objects.problems(view, pinned);
    for (const { spec } of pinned.spec.services) {
      try {
        checkServiceSpec(completeSpec(withNamesAsIds(spec)));
        checkPorts(spec, { view, serviceId: undefined, passesOver: isOf(pinned.spec.name) });
      } catch (error) {
        if (!(error instanceof DroverError)) throw error;
        problems.push(`service ${spec.Name}: ${error.message}`);
      }
    }
    return problems;
  }

  async #pinned(
    {
      stack,
      resolveImage,
      registryAuth = {},
    }: Pick<DeployRequest, 'stack' | 'resolveImage' | 'registryAuth'>,
    last: ReleaseRecord | undefined,
  ): Promise<{ pinned: PinnedStack } & ImagePins> {
    const { pins, warnings } = await imagePins(stack, {
      last,
      resolveImage,
      registryAuth,
      ask: this.#ports.resolveImage,
    });
    const salt = saltOf(this.#ports.follower.view, stack.name, last);
    const pinned = pinStack(stack, { salt, image: (image) => pins.get(image) ?? image });
    return { pinned, pins, warnings };
  }
}

function isOf(stack: string): (service: ServiceRecord) => boolean {
  return ({ Spec }) => stackOf(Spec.Labels) === stack;
}

/** What is not there yet has no ID to be checked for. */
function withNamesAsIds(spec: ServiceSpec): ServiceSpec {
  const { ContainerSpec, ...template } = spec.TaskTemplate;
  const { Secrets = [], Configs = [] } = ContainerSpec;
  const container = {
    ...ContainerSpec,
    Secrets: Secrets.map((each) => ({ ...each, SecretID: each.SecretName })),
    Configs: Configs.map((each) => ({ ...each, ConfigID: each.ConfigName })),
  };
  return { ...spec, TaskTemplate: { ContainerSpec: container, ...template } };
}

function noReleases(stack: string): Error {
  return notFound(`stack ${stack} has no releases`, { hint: `Make one: drover deploy ${stack}` });
}

function noSuchRelease(stack: string, number: number | 'last'): Error {
  return notFound(`stack ${stack} has no release ${number}`, { hint: `See: drover releases ${stack}` });
}
