import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import { invalid } from '#model/errors.ts';
import type { ServiceRecord, ServiceSpec } from '#model/service.ts';
import { STACK_LABEL, type StackService, type StackSpec } from '#model/stack.ts';
import { type ReferenceContext, resolveReferences } from './service-references.ts';
import { completeSpec } from './service-spec-check.ts';

/** The stack that a service, a network, a secret or a config is part of. */
export function stackOf(labels: Readonly<Record<string, string>> | undefined): string | undefined {
  return labels?.[STACK_LABEL.namespace];
}

/** The network of a name; undefined also for one that is on its way out. */
export function networkNamed(view: ClusterView, name: string): ClusterNetworkRecord | undefined {
  const found = view.named('network', name);
  return found?.removing === true ? undefined : found;
}

/** All services of a stack that are not on their way out. Costs a look at every service. */
export function servicesOfStack(view: ClusterView, stack: string): ServiceRecord[] {
  return [...view.all('service')].filter(
    ({ Spec, removing }) => removing !== true && stackOf(Spec.Labels) === stack,
  );
}

/** Services of a stack that its specification does not have any more. */
export function obsoleteServices(view: ClusterView, spec: StackSpec): ServiceRecord[] {
  const wanted = new Set(spec.services.map((service) => service.spec.Name));
  return servicesOfStack(view, spec.name).filter(({ Spec }) => !wanted.has(Spec.Name));
}

/**
 * The specification of a stack's service with the IDs of what it names, as the cluster writes it. Throws what {@link resolveReferences}
 * does for what is not there or not free, and `invalid` when the name is a service's that is not of the stack.
 */
export function resolvedSpec(
  stack: StackSpec,
  service: StackService,
  context: Omit<ReferenceContext, 'serviceId'>,
): ServiceSpec {
  const { view } = context;
  const record = view.named('service', service.spec.Name);
  if (record !== undefined && stackOf(record.Spec.Labels) !== stack.name)
    throw invalid(`service ${service.spec.Name} is there already, and is not of the stack ${stack.name}`);
  const spec = completeSpec(withContentIds(view, service.spec));
  // a person who asked for new tasks has got them: that is no difference
  const ForceUpdate = record?.Spec.TaskTemplate.ForceUpdate;
  const TaskTemplate = ForceUpdate === undefined ? spec.TaskTemplate : { ...spec.TaskTemplate, ForceUpdate };
  return resolveReferences({ ...spec, TaskTemplate }, { ...context, serviceId: record?.ID });
}

/** What is not there keeps an ID that none has, and is refused by its name. */
function withContentIds(view: ClusterView, spec: ServiceSpec): ServiceSpec {
  const { ContainerSpec, ...template } = spec.TaskTemplate;
  const { Secrets, Configs } = ContainerSpec;
  const container = {
    ...ContainerSpec,
    ...(Secrets === undefined
      ? {}
      : { Secrets: Secrets.map((each) => ({ ...each, SecretID: idOf(view, 'secret', each.SecretName) })) }),
    ...(Configs === undefined
      ? {}
      : { Configs: Configs.map((each) => ({ ...each, ConfigID: idOf(view, 'config', each.ConfigName) })) }),
  };
  return { ...spec, TaskTemplate: { ContainerSpec: container, ...template } };
}

function idOf(view: ClusterView, table: 'secret' | 'config', name: string): string {
  return view.holderOf(table, name)?.record ?? '';
}
