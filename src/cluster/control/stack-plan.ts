import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ReleaseRecord } from '#model/release.ts';
import type { StackSpec } from '#model/stack.ts';
import type { Basis, ObjectPlan, StackPlan } from '#model/stack-plan.ts';
import { ServicePlanner } from './service-plan.ts';
import type { NamedContent } from './stack-pinning.ts';
import { networkNamed, obsoleteServices, stackOf } from './stack-services.ts';

/**
 * What the deployment of a stack would do, by the state of now. `contents` are those that come with it; secrets and configs of `spec`
 * that are neither there nor among them are problems. Costs a look at every task.
 */
export function planStack(
  view: ClusterView,
  o: { spec: StackSpec; last: ReleaseRecord | undefined; contents: readonly NamedContent[] },
): StackPlan {
  const { spec, last } = o;
  const planner = new ServicePlanner(view, spec, last?.spec);
  const removed = obsoleteServices(view, spec).map((service) => planner.removed(service));
  const services = [...spec.services.map((service) => planner.planned(service)), ...removed];
  const touched = new Set(services.filter(({ action }) => action !== 'none').map(({ name }) => name));
  return {
    stack: spec.name,
    release: last?.number ?? 0,
    objects: [...contentPlans(view, spec), ...networkPlans(view, spec)],
    services: services.map((service) => ({
      ...service,
      after: service.after.filter((name) => touched.has(name)),
    })),
    images: {},
    problems: [...planner.problems, ...missingContents(view, spec, o.contents)],
    warnings: [],
    basis: basisOf(view, spec, last),
  };
}

function contentPlans(view: ClusterView, spec: StackSpec): ObjectPlan[] {
  return (['secret', 'config'] as const).flatMap((kind) =>
    spec[`${kind}s`]
      .filter(({ external, name }) => !external && view.holderOf(kind, name) === undefined)
      .map(({ name }): ObjectPlan => ({ kind, name, action: 'create' })),
  );
}

function networkPlans(view: ClusterView, spec: StackSpec): ObjectPlan[] {
  const wanted = new Set(spec.networks.map(({ name }) => name));
  const made = spec.networks
    .filter(({ external, name }) => !external && networkNamed(view, name) === undefined)
    .map(({ name }): ObjectPlan => ({ kind: 'network', name, action: 'create' }));
  const removed = [...view.all('network')]
    .filter(({ Labels, removing }) => stackOf(Labels) === spec.name && removing !== true)
    .filter(({ Name }) => !wanted.has(Name))
    .map(({ Name }): ObjectPlan => ({ kind: 'network', name: Name, action: 'remove' }));
  return [...made, ...removed];
}

/** Secrets and configs that are neither there nor among `contents`, each in a sentence. */
export function missingContents(
  view: ClusterView,
  spec: StackSpec,
  contents: readonly NamedContent[] = [],
): string[] {
  const coming = new Set(contents.map(({ kind, file }) => `${kind} ${file.name}`));
  return (['secret', 'config'] as const).flatMap((kind) =>
    spec[`${kind}s`]
      .filter(({ name }) => view.holderOf(kind, name) === undefined && !coming.has(`${kind} ${name}`))
      .map(({ name }) => `${kind} ${name} is not there`),
  );
}

/** What a plan is about, each as it was found. */
function basisOf(view: ClusterView, spec: StackSpec, last: ReleaseRecord | undefined): Basis[] {
  const found = (kind: 'service' | 'network' | 'secret' | 'config', name: string): Basis => ({
    kind,
    name,
    version: versionOf(view, kind, name),
  });
  return [
    { kind: 'release', name: spec.name, version: last?.number ?? 0 },
    ...spec.services.map((service) => found('service', service.spec.Name)),
    ...obsoleteServices(view, spec).map(({ Spec }) => found('service', Spec.Name)),
    ...spec.networks.map(({ name }) => found('network', name)),
    ...spec.secrets.map(({ name }) => found('secret', name)),
    ...spec.configs.map(({ name }) => found('config', name)),
  ];
}

function versionOf(
  view: ClusterView,
  kind: 'service' | 'network' | 'secret' | 'config',
  name: string,
): number {
  const id = view.holderOf(kind, name)?.record;
  return id === undefined ? 0 : view.revisionOf(kind, id);
}

/** What is not as a plan found it, each in a clause; empty when nothing has moved. */
export function movedSince(view: ClusterView, stack: string, basis: readonly Basis[]): string[] {
  const newest = Math.max(
    0,
    ...[...view.all('release')].filter((each) => each.stack === stack).map(({ number }) => number),
  );
  return basis.flatMap(({ kind, name, version }) => {
    if (kind === 'release') return newest === version ? [] : [`release ${newest} was made`];
    const now = versionOf(view, kind, name);
    if (now === version) return [];
    if (now === 0) return [`${kind} ${name} was removed`];
    return [`${kind} ${name} was ${version === 0 ? 'made' : 'changed'}`];
  });
}
