import { inNetworkNamespace } from '#linux/network-namespace.ts';
import { Nftables, UsedContexts } from '#linux/nftables.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import { Balancer } from './balancer.ts';
import { type Balances, balancingDifferences } from './balancing-table.ts';
import type { NetworkStore } from './network-store.ts';
import { VIRTUAL_IPS, virtualIps } from './virtual-ips.ts';

/** The virtual IPs in the network namespaces of this node's containers. */
export class ServiceAddresses implements Disposable {
  readonly #networks: NetworkStore;
  /** By container ID. */
  readonly #balancers = new Map<string, Balancer>();
  readonly #used = new UsedContexts();
  /** What containers on the same networks share, by those. */
  readonly #computed = new WeakMap<NetworkPlan, Map<string, Balances>>();

  constructor(networks: NetworkStore) {
    this.#networks = networks;
  }

  /** The containers that are on planned networks. */
  containers(plan: NetworkPlan): string[] {
    const found = plan.networks.flatMap(({ id }) => this.#networks.endpointsOf(id));
    return [...new Set(found.map(({ containerId }) => containerId))];
  }

  /** Synchronous, one transaction in the container's namespace; nothing where nothing changed. */
  program(plan: NetworkPlan, containerId: string): void {
    const balancer = this.#balancers.get(containerId) ?? new Balancer(VIRTUAL_IPS);
    this.#balancers.set(containerId, balancer);
    const wanted = this.#wanted(plan, containerId);
    if (balancer.has(wanted)) return;
    balancer.program(this.#contextIn(containerId), wanted);
  }

  /** What a container's namespace has that differs from the plan, as sentences. */
  differences(plan: NetworkPlan, containerId: string): string[] {
    const actual = new Balancer(VIRTUAL_IPS).read(this.#contextIn(containerId));
    const wanted = this.#wanted(plan, containerId);
    return balancingDifferences(actual, wanted, (key) => `virtual IP ${key}`).map(
      (sentence) => `container ${containerId.slice(0, 12)}: ${sentence}`,
    );
  }

  #contextIn(containerId: string): Nftables {
    const path = this.#networks.namespacePath(containerId);
    const context = inNetworkNamespace(path, () => new Nftables());
    this.#used.add(containerId, context);
    return context;
  }

  #wanted(plan: NetworkPlan, containerId: string): Balances {
    const networkIds = this.#networks.networksOf(containerId);
    const computed = this.#computed.get(plan) ?? new Map<string, Balances>();
    this.#computed.set(plan, computed);
    const key = networkIds.join();
    const wanted = computed.get(key) ?? virtualIps(plan, networkIds);
    computed.set(key, wanted);
    return wanted;
  }

  /** The container is gone, or begins anew. */
  forget(containerId: string): void {
    this.#balancers.delete(containerId);
    this.#used.close(containerId);
  }

  distrust(): void {
    this.#balancers.clear();
  }

  [Symbol.dispose](): void {
    this.#used[Symbol.dispose]();
  }
}
