import { INGRESS_LABEL, isIngress } from '#cluster/controllers/service-networks.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange } from '#cluster/state/tables.ts';
import type { AttachmentRecord } from '#model/attachment.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import type { ServiceRecord } from '#model/service.ts';
import type { SwarmRecord } from '#model/swarm.ts';
import type { TaskRecord } from '#model/task.ts';
import { isLost, isOnNetworks, isPlannedAlike } from './plan-of-node.ts';
import { saltsOf } from './planned-encryption.ts';

const NOBODY: ReadonlySet<string> = new Set();

/** Which tasks and attached containers are on which network, and which nodes take part: kept by the view's changes, so that each costs what it is about. */
export class NetworkMembers {
  readonly #tasks = new Map<string, Set<string>>();
  readonly #attachments = new Map<string, Set<string>>();
  /** Nodes with attached containers → how many. */
  readonly #attached = new Map<string, number>();
  /** Network → node → how many of its tasks and containers are there. */
  readonly #nodes = new Map<string, Map<string, number>>();
  readonly #networks = new Map<string, Set<string>>();
  readonly #publishers = new Set<string>();
  #ingress: string | undefined;

  tasksOn(networkId: string): ReadonlySet<string> {
    return this.#tasks.get(networkId) ?? NOBODY;
  }

  attachmentsOn(networkId: string): ReadonlySet<string> {
    return this.#attachments.get(networkId) ?? NOBODY;
  }

  /** The networks that a node has tasks or attached containers on. */
  networksOf(nodeId: string): ReadonlySet<string> {
    return this.#networks.get(nodeId) ?? NOBODY;
  }

  ingressOf(view: ClusterView): ClusterNetworkRecord | undefined {
    return this.#ingress === undefined ? undefined : view.get('network', this.#ingress);
  }

  swarmOf(view: ClusterView): SwarmRecord | undefined {
    for (const swarm of view.all('swarm')) return swarm;
    return undefined;
  }

  /** Services with ports that every node answers. */
  publishersOf(view: ClusterView): ServiceRecord[] {
    return [...this.#publishers].flatMap((id) => view.get('service', id) ?? []);
  }

  /** Takes a change in; gives the nodes whose plan may be another now, or `all`. */
  observe(change: ViewChange): Iterable<string> | 'all' {
    switch (change.table) {
      case 'task':
        return this.#observeTask(change.before, change.after);
      case 'service':
        return this.#observeService(change.id, change.before, change.after);
      case 'network':
        if (change.after?.Ingress === true) this.#ingress = change.id;
        if (change.after === undefined && this.#ingress === change.id) this.#ingress = undefined;
        return 'all';
      case 'attachment':
        return this.#observeAttachment(change.before, change.after);
      case 'node': {
        const { before, after } = change;
        const same =
          before?.Status.Addr === after?.Status.Addr &&
          JSON.stringify(before?.networkAddresses) === JSON.stringify(after?.networkAddresses) &&
          JSON.stringify(saltsOf(before)) === JSON.stringify(saltsOf(after));
        if (!same) return 'all';
        // no name leads to containers of a node that is lost; tasks are taken off by other controllers
        const serves = isLost(before) === isLost(after) || !this.#attached.has(change.id);
        return serves ? [] : this.#nodesOn(this.networksOf(change.id));
      }
      case 'swarm': {
        const { before, after } = change;
        const same = JSON.stringify(before?.networkKeys) === JSON.stringify(after?.networkKeys);
        return same ? [] : 'all';
      }
      default:
        return [];
    }
  }

  #observeTask(before: TaskRecord | undefined, after: TaskRecord | undefined): Iterable<string> | 'all' {
    const was = before !== undefined && isOnNetworks(before) ? before : undefined;
    const is = after !== undefined && isOnNetworks(after) ? after : undefined;
    if (was === undefined && is === undefined) return [];
    // most of what a node says of a task on its way is nothing to the networks
    if (was !== undefined && is !== undefined && isPlannedAlike(was, is)) return [];
    const networks = new Set((was ?? is)?.networks.map(({ networkId }) => networkId));
    if (was === undefined && is !== undefined)
      for (const id of networks) this.#join(this.#tasks, id, is.ID, is.NodeID);
    const affected = this.#nodesOn(networks);
    if (was !== undefined && is === undefined)
      for (const id of networks) this.#leave(this.#tasks, id, was.ID, was.NodeID);
    return this.#ingress !== undefined && networks.has(this.#ingress) ? 'all' : affected;
  }

  #observeService(
    id: string,
    before: ServiceRecord | undefined,
    after: ServiceRecord | undefined,
  ): Iterable<string> | 'all' {
    const publishes = after?.Endpoint.Ports?.some(isIngress) === true;
    if (publishes) this.#publishers.add(id);
    else this.#publishers.delete(id);
    const same =
      JSON.stringify(before?.Endpoint) === JSON.stringify(after?.Endpoint) &&
      before?.Spec.Name === after?.Spec.Name &&
      before?.Spec.Labels?.[INGRESS_LABEL] === after?.Spec.Labels?.[INGRESS_LABEL];
    if (same) return [];
    if (publishes || before?.Endpoint.Ports?.some(isIngress) === true) return 'all';
    const networks = [...(before?.Endpoint.VirtualIPs ?? []), ...(after?.Endpoint.VirtualIPs ?? [])];
    return this.#nodesOn(networks.map(({ NetworkID }) => NetworkID));
  }

  #nodesOn(networks: Iterable<string>): string[] {
    return [...networks].flatMap((id) => [...(this.#nodes.get(id)?.keys() ?? [])]);
  }

  /** It is on its network from when it has its address. */
  #observeAttachment(
    before: AttachmentRecord | undefined,
    after: AttachmentRecord | undefined,
  ): Iterable<string> {
    const was = (before?.address ?? '') === '' ? undefined : before;
    const is = (after?.address ?? '') === '' ? undefined : after;
    const { ID, networkId, nodeId } = was ?? is ?? {};
    if (ID === undefined || networkId === undefined || nodeId === undefined) return [];
    const count = this.#attached.get(nodeId) ?? 0;
    if (was === undefined) {
      this.#join(this.#attachments, networkId, ID, nodeId);
      this.#attached.set(nodeId, count + 1);
    }
    const affected = this.#nodesOn([networkId]);
    if (is === undefined) {
      this.#leave(this.#attachments, networkId, ID, nodeId);
      if (count > 1) this.#attached.set(nodeId, count - 1);
      else this.#attached.delete(nodeId);
    }
    return affected;
  }

  #join(members: Map<string, Set<string>>, networkId: string, id: string, nodeId: string): void {
    const there = members.get(networkId) ?? new Set();
    members.set(networkId, there.add(id));
    const nodes = this.#nodes.get(networkId) ?? new Map<string, number>();
    this.#nodes.set(networkId, nodes.set(nodeId, (nodes.get(nodeId) ?? 0) + 1));
    const networks = this.#networks.get(nodeId) ?? new Set();
    this.#networks.set(nodeId, networks.add(networkId));
  }

  #leave(members: Map<string, Set<string>>, networkId: string, id: string, nodeId: string): void {
    members.get(networkId)?.delete(id);
    const nodes = this.#nodes.get(networkId);
    const left = (nodes?.get(nodeId) ?? 1) - 1;
    if (left > 0) {
      nodes?.set(nodeId, left);
      return;
    }
    nodes?.delete(nodeId);
    this.#networks.get(nodeId)?.delete(networkId);
  }
}
