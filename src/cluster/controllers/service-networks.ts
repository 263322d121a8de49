import type { ClusterView } from '#cluster/state/cluster-view.ts';
import { NODE_NETWORKS } from '#model/cluster-network.ts';
import type { EndpointSpec, PortConfig, ServiceRecord } from '#model/service.ts';
import type { NetworkAttachmentConfig } from '#model/task-spec.ts';

/** On a service: who answers its published ports. `mesh`, which is the default: every node. */
export const INGRESS_LABEL = 'drover.ingress';

/** True where only nodes with a task of the service answer its ports: its tasks always see the client's own address. */
export function isIngressLocal({ Spec }: Pick<ServiceRecord, 'Spec'>): boolean {
  return Spec.Labels?.[INGRESS_LABEL] === 'local';
}

/** True for a port that every node answers; `ingress` is what a port is published in where it does not say. */
export function isIngress(port: PortConfig): boolean {
  return port.PublishMode !== 'host';
}

function hasIngressPorts(endpoint: EndpointSpec | undefined): boolean {
  return (endpoint?.Ports ?? []).some(isIngress);
}

/** The networks of the cluster that tasks of a revision are on, the routing mesh's own among them where a port is published by it. */
export function networksOf(
  view: ClusterView,
  service: ServiceRecord,
  revision: number,
  ingressId: string | undefined,
): NetworkAttachmentConfig[] {
  const made = view.get('revision', `${service.ID}.${revision}`);
  const named = made?.template.Networks ?? service.Spec.Networks ?? [];
  const asked = named.filter(({ Target }) => !NODE_NETWORKS.includes(Target));
  const published = hasIngressPorts(made?.endpoint ?? service.Spec.EndpointSpec);
  return published && ingressId !== undefined ? [...asked, { Target: ingressId }] : asked;
}

/** False for tasks that wait for nothing from the allocator. */
export function needsAddresses(view: ClusterView, service: ServiceRecord): boolean {
  return networksOf(view, service, service.revision, 'any').length > 0;
}
