import { containerNameOf } from '#cluster/agent/assigned-task.ts';
import { isIngress, isIngressLocal } from '#cluster/controllers/service-networks.ts';
import { isWanted } from '#cluster/controllers/task-places.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import { withoutPrefix } from '#engine/networks/ipv4.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import type { NetworkPlan, PlannedEndpoint, PlannedNetwork, PlannedService } from '#model/network-plan.ts';
import type { NodeRecord } from '#model/node.ts';
import { isTerminal, stateRank, type TaskRecord } from '#model/task.ts';
import type { NetworkMembers } from './network-members.ts';
import { type OpenNetworkKey, plannedEncryption } from './planned-encryption.ts';

/** IANA's for VXLAN, Swarm's default. */
const VXLAN_PORT = 4789;

/**
 * What a node's kernel and name server are to be, from the view: the networks that it has tasks or attached containers on, and where ports are published
 * the routing mesh. Costs what is on those networks. Keys are opened for a node that is on an encrypted network, and for no other.
 */
export function planOfNode(
  view: ClusterView,
  nodeId: string,
  members: NetworkMembers,
  openKey: OpenNetworkKey,
): NetworkPlan {
  const node = view.get('node', nodeId);
  const facts = {
    nodeId,
    dataPathAddress: node?.Status.Addr ?? '',
    dataPathPort: members.swarmOf(view)?.DataPathPort ?? VXLAN_PORT,
  };
  if (node === undefined) return { ...facts, networks: [], ports: [], ingressNetworkId: undefined };
  const ingress = members.ingressOf(view);
  const publishes = ingress !== undefined && members.tasksOn(ingress.ID).size > 0;
  const networks: PlannedNetwork[] = [];
  for (const id of members.networksOf(nodeId)) {
    const network = view.get('network', id);
    if (network !== undefined && id !== ingress?.ID)
      networks.push(plannedNetwork(view, network, nodeId, members));
  }
  if (publishes) networks.push(plannedNetwork(view, ingress, nodeId, members));
  networks.sort((a, b) => (a.id < b.id ? -1 : 1));
  const ports = publishes
    ? members.publishersOf(view).flatMap((service) =>
        (service.Endpoint.Ports ?? []).filter(isIngress).map((port) => ({
          protocol: port.Protocol ?? ('tcp' as const),
          publishedPort: port.PublishedPort ?? 0,
          targetPort: port.TargetPort,
          serviceId: service.ID,
          ...(isIngressLocal(service) ? { localOnly: true } : {}),
        })),
      )
    : [];
  ports.sort((a, b) => a.publishedPort - b.publishedPort || (a.protocol < b.protocol ? -1 : 1));
  const keys = members.swarmOf(view)?.networkKeys ?? [];
  const encryption = plannedEncryption(view, node, networks, { keys, openKey });
  return {
    ...{ ...facts, networks, ports, ingressNetworkId: publishes ? ingress.ID : undefined },
    ...(encryption === undefined ? {} : { encryption }),
  };
}

function plannedNetwork(
  view: ClusterView,
  network: ClusterNetworkRecord,
  nodeId: string,
  members: NetworkMembers,
): PlannedNetwork {
  const endpoints: PlannedEndpoint[] = [];
  const services = new Map<string, PlannedService>();
  const nodes = new Set<string>();
  for (const taskId of members.tasksOn(network.ID)) {
    const task = view.get('task', taskId);
    const place = task?.networks.find(({ networkId }) => networkId === network.ID);
    if (task === undefined || place === undefined) continue;
    nodes.add(task.NodeID);
    const service = view.get('service', task.ServiceID);
    endpoints.push({
      taskId,
      nodeId: task.NodeID,
      serviceId: task.ServiceID,
      address: withoutPrefix(place.address),
      aliases:
        service === undefined
          ? []
          : [
              containerNameOf({
                id: task.ID,
                serviceName: service.Spec.Name,
                slot: task.Slot,
                nodeId: task.NodeID,
              }),
            ],
      serving: isServing(task),
    });
    if (service === undefined || services.has(service.ID)) continue;
    const vip = service.Endpoint.VirtualIPs?.find(({ NetworkID }) => NetworkID === network.ID)?.Addr;
    services.set(service.ID, {
      serviceId: service.ID,
      name: service.Spec.Name,
      virtualIp: vip === undefined ? '' : withoutPrefix(vip),
      aliases: place.aliases,
    });
  }
  for (const id of members.attachmentsOn(network.ID)) {
    const attachment = view.get('attachment', id);
    if (attachment === undefined) continue;
    nodes.add(attachment.nodeId);
    endpoints.push({
      ...{ taskId: id, nodeId: attachment.nodeId, serviceId: '', containerId: attachment.containerId },
      ...{ address: withoutPrefix(attachment.address), aliases: attachment.names },
      serving: !isLost(view.get('node', attachment.nodeId)),
    });
  }
  // every node answers published ports, so every node is on the routing mesh's network
  if (network.Ingress) for (const { ID } of view.all('node')) nodes.add(ID);
  nodes.delete(nodeId);
  return {
    id: network.ID,
    name: network.Name,
    vni: network.vni,
    subnet: network.IPAM.Config[0]?.Subnet ?? '',
    internal: network.Internal,
    encrypted: network.EncryptedOption,
    ...(network.Attachable ? { attachable: true } : {}),
    mtu: Number(network.Options['com.docker.network.driver.mtu'] ?? 0),
    nodeAddress: view.get('node', nodeId)?.networkAddresses?.[network.ID] ?? '',
    peers: [...nodes].sort().flatMap((id) => {
      const peer = view.get('node', id);
      if (peer === undefined || peer.Status.Addr === '') return [];
      const nodeAddress = withoutPrefix(peer.networkAddresses?.[network.ID] ?? '');
      return [{ nodeId: id, address: peer.Status.Addr, nodeAddress }];
    }),
    endpoints: endpoints.sort((a, b) => (a.taskId < b.taskId ? -1 : 1)),
    services: [...services.values()].sort((a, b) => (a.serviceId < b.serviceId ? -1 : 1)),
  };
}

/** True while connections are to go to a task: it runs, is healthy, and nobody wants it to end. */
function isServing(task: TaskRecord): boolean {
  return task.Status.State === 'running' && isWanted(task);
}

/** True for a task that is on its networks: placed, and not over. */
export function isOnNetworks(task: TaskRecord): boolean {
  return (
    task.networks.length > 0 &&
    stateRank(task.Status.State) >= stateRank('assigned') &&
    !isTerminal(task.Status.State)
  );
}

/** True for a node that is not heard of. */
export function isLost(node: NodeRecord | undefined): boolean {
  return node === undefined || node.Status.State === 'down';
}

/** True when no node's plan is another by what became of a task that was on its networks and still is. */
export function isPlannedAlike(before: TaskRecord, after: TaskRecord): boolean {
  return (
    before.NodeID === after.NodeID &&
    isServing(before) === isServing(after) &&
    JSON.stringify(before.networks) === JSON.stringify(after.networks)
  );
}
