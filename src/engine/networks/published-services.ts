import type { Logger } from 'pino';
import { Nftables } from '#linux/nftables.ts';
import { type PortReservation, reservePort } from '#linux/port-reservation.ts';
import { messageOf } from '#model/errors.ts';
import type { NetworkPlan, PlannedEndpoint } from '#model/network-plan.ts';
import { Balancer } from './balancer.ts';
import { type Balances, balancingDifferences } from './balancing-table.ts';
import type { NetworkStore } from './network-store.ts';
import { overlayBridgeName } from './overlay-links.ts';
import { meshPorts, meshTable } from './routing-mesh.ts';

/** The routing mesh of one node: a table in the kernel, and a bound socket of ours for each port. */
export class PublishedServices implements Disposable {
  readonly #networks: NetworkStore;
  readonly #tableName: string;
  readonly #log: Logger;
  readonly #nftables = new Nftables();
  /** By key of the table; undefined for a protocol that has no sockets here. */
  readonly #reservations = new Map<string, PortReservation | undefined>();
  /** Keys of ports that other programs have, each logged once. */
  readonly #taken = new Set<string>();
  /** What an earlier daemon left is found by it. */
  #mayBeThere = true;
  #current: { bridge: string; balancer: Balancer } | undefined;

  constructor(o: { networks: NetworkStore; bridge: string; log: Logger }) {
    this.#networks = o.networks;
    this.#tableName = `drover_mesh_${o.bridge.replace(/[^a-zA-Z0-9_]/g, '_')}`;
    this.#log = o.log;
  }

  /** A port that another program has is left to it, logged, and tried again the next time. */
  program(plan: NetworkPlan): void {
    const wanted = this.#wanted(plan);
    for (const [key, reservation] of this.#reservations) {
      if (wanted.has(key)) continue;
      reservation?.[Symbol.dispose]();
      this.#reservations.delete(key);
    }
    const ours = new Map([...wanted].filter(([key]) => this.#reserve(key)));
    const bridge = ingressBridge(plan);
    if (bridge === undefined || (this.#current !== undefined && this.#current.bridge !== bridge))
      this.remove();
    if (bridge === undefined) return;
    this.#mayBeThere = true;
    this.#current ??= { bridge, balancer: new Balancer(meshTable(this.#tableName, bridge)) };
    this.#current.balancer.program(this.#nftables, ours);
  }

  /** What the table has that differs from the plan, and the ports that others have, as sentences. */
  differences(plan: NetworkPlan): string[] {
    const bridge = ingressBridge(plan);
    if (bridge === undefined) return [];
    const wanted = this.#wanted(plan);
    const actual = new Balancer(meshTable(this.#tableName, bridge)).read(this.#nftables);
    const taken = [...wanted.keys()].filter((key) => !this.#reservations.has(key));
    const ours = new Map([...wanted].filter(([key]) => !taken.includes(key)));
    return [
      ...taken.map((key) => `published ${portWords(key)} is bound by another program on this node`),
      ...balancingDifferences(actual, ours, (key) => `published ${portWords(key)}`),
    ];
  }

  distrust(): void {
    this.#current?.balancer.distrust();
  }

  /** Takes the table away. */
  remove(): void {
    this.#current = undefined;
    if (!this.#mayBeThere) return;
    new Balancer(meshTable(this.#tableName, '')).remove(this.#nftables);
    this.#mayBeThere = false;
  }

  /** Gives the sockets back; the table stays and goes on working. */
  [Symbol.dispose](): void {
    for (const reservation of this.#reservations.values()) reservation?.[Symbol.dispose]();
    this.#reservations.clear();
    this.#nftables[Symbol.dispose]();
  }

  #wanted(plan: NetworkPlan): Balances {
    const ingressId = plan.ingressNetworkId;
    const endpoints = ingressId === undefined ? [] : this.#networks.endpointsOf(ingressId);
    return meshPorts(plan, ({ address }: PlannedEndpoint) => {
      const live = endpoints.find(({ endpoint }) => endpoint.IPAddress === address);
      return live === undefined ? undefined : this.#networks.addressFromHost(live.containerId);
    });
  }

  #reserve(key: string): boolean {
    if (this.#reservations.has(key)) return true;
    const [protocol = '', port = ''] = key.split(' . ');
    if (protocol !== 'tcp' && protocol !== 'udp') {
      this.#reservations.set(key, undefined);
      return true;
    }
    try {
      this.#reservations.set(key, reservePort({ address: '0.0.0.0', port: Number(port), protocol }));
      this.#taken.delete(key);
      return true;
    } catch (error) {
      if (!this.#taken.has(key))
        this.#log.warn({ port: key, error: messageOf(error) }, 'another program has bound a published port');
      this.#taken.add(key);
      return false;
    }
  }
}

function ingressBridge(plan: NetworkPlan): string | undefined {
  const ingress = plan.networks.find(({ id }) => id === plan.ingressNetworkId);
  return ingress === undefined ? undefined : overlayBridgeName(ingress.id);
}

function portWords(key: string): string {
  const [protocol, port] = key.split(' . ');
  return `port ${port}/${protocol}`;
}
