import type { ClusterView } from '#cluster/state/cluster-view.ts';
import { NODE_NETWORKS } from '#model/cluster-network.ts';
import { forbidden, invalid, kindOf, notFound } from '#model/errors.ts';
import type { PortConfig, ServiceRecord, ServiceSpec } from '#model/service.ts';
import type { NetworkAttachmentConfig } from '#model/task-spec.ts';
import { fileReferences } from './container-spec-check.ts';
import { findRecord } from './find-record.ts';

export interface ReferenceContext {
  readonly view: ClusterView;
  readonly localNetwork: (reference: string) => string | undefined;
  /** The service whose specification it is; none yet for one that is being made. */
  readonly serviceId: string | undefined;
  /** Services whose published ports are not looked at. */
  readonly passesOver?: (service: ServiceRecord) => boolean;
}

/** The specification with IDs for names, after everything that it names was found to be there and free. */
export function resolveReferences(spec: ServiceSpec, context: ReferenceContext): ServiceSpec {
  checkFiles(spec, context.view);
  checkPorts(spec, context);
  const networks = spec.TaskTemplate.Networks;
  if (networks === undefined) return spec;
  const Networks = networks.map((network) => resolveNetwork(network, context));
  checkNodeNetwork(Networks, spec);
  return { ...spec, TaskTemplate: { ...spec.TaskTemplate, Networks } };
}

function checkFiles(spec: ServiceSpec, view: ClusterView): void {
  const references = fileReferences(spec.TaskTemplate.ContainerSpec);
  for (const kind of ['secret', 'config'] as const) {
    const missing = references[kind].filter(({ id }) => view.get(kind, id) === undefined);
    if (missing.length === 0) continue;
    const names = missing.map(({ name }) => name).join(', ');
    throw invalid(`${kind}${missing.length > 1 ? 's' : ''} not found: ${names}`);
  }
}

function resolveNetwork(
  network: NetworkAttachmentConfig,
  { view, localNetwork }: ReferenceContext,
): NetworkAttachmentConfig {
  const found = clusterNetwork(view, network.Target);
  if (found !== undefined) {
    if (found.Ingress)
      throw invalid(
        `Service cannot be explicitly attached to the ingress network ${JSON.stringify(found.Name)}`,
      );
    return { ...network, Target: found.ID };
  }
  const local = localNetwork(network.Target);
  if (local === undefined) throw notFound(`network ${network.Target} not found`);
  if (NODE_NETWORKS.includes(local)) return { ...network, Target: local };
  throw forbidden(
    `network ${local} cannot be used with services. Only networks scoped to the swarm can be used, such as those created with the overlay driver.`,
  );
}

/** A container in a node's own network cannot be in one of the cluster as well, the routing mesh's included. */
function checkNodeNetwork(networks: readonly NetworkAttachmentConfig[], spec: ServiceSpec): void {
  const own = networks.find(({ Target }) => NODE_NETWORKS.includes(Target));
  if (own === undefined) return;
  if (networks.length > 1) throw invalid(`a service on the network ${own.Target} can be on no other one`);
  if ((spec.EndpointSpec?.Ports ?? []).some(({ PublishMode }) => PublishMode !== 'host'))
    throw invalid(`a service on the network ${own.Target} can publish ports in host mode only`);
}

function clusterNetwork(view: ClusterView, reference: string) {
  try {
    return findRecord(view, 'network', reference);
  } catch (error) {
    if (kindOf(error) === 'not-found') return undefined;
    throw error;
  }
}

/**
 * A port of the routing mesh is one service's, on all nodes; one in host mode may be several's, each on nodes of its own. Throws `invalid`
 * for one that another service has.
 */
export function checkPorts(
  spec: ServiceSpec,
  { view, serviceId, passesOver }: Omit<ReferenceContext, 'localNetwork'>,
): void {
  const asked = (spec.EndpointSpec?.Ports ?? []).filter(({ PublishedPort }) => (PublishedPort ?? 0) !== 0);
  if (asked.length === 0) return;
  for (const service of view.all('service')) {
    if (service.ID === serviceId || service.removing === true || passesOver?.(service) === true) continue;
    for (const theirs of portsOf(service)) {
      const mine = asked.find((port) => samePort(port, theirs));
      if (mine === undefined) continue;
      const modes = [mine, theirs].map(({ PublishMode }) => PublishMode ?? 'ingress');
      if (modes.every((mode) => mode === 'host')) continue;
      const how = modes[1] === 'host' ? 'a host-published port' : 'an ingress port';
      throw invalid(
        `port '${mine.PublishedPort}' is already in use by service '${service.Spec.Name}' (${service.ID}) as ${how}`,
      );
    }
  }
}

/** What it asked for, and what it was given. */
function portsOf({ Spec, Endpoint }: ServiceRecord): PortConfig[] {
  return [...(Spec.EndpointSpec?.Ports ?? []), ...(Endpoint.Ports ?? [])];
}

function samePort(a: PortConfig, b: PortConfig): boolean {
  return a.PublishedPort === b.PublishedPort && (a.Protocol ?? 'tcp') === (b.Protocol ?? 'tcp');
}
