import type { ContainerEngine } from '#engine/containers/container-engine.ts';
import { isTask } from '#engine/networks/network-attachments.ts';
import type { NetworkStore } from '#engine/networks/network-store.ts';
import type { AttachableContainers, ContainerPlace } from './node-attachments.ts';

/** The plain containers of this node's engine, as attachments need them. It keeps nothing: records and networks are read. */
export class ContainerPlaces implements AttachableContainers {
  readonly #containers: ContainerEngine;
  readonly #networks: NetworkStore;

  constructor(o: { containers: ContainerEngine; networks: NetworkStore }) {
    this.#containers = o.containers;
    this.#networks = o.networks;
  }

  places(): ContainerPlace[] {
    const shared = this.#networks.list().flatMap(({ Id, Driver }) => (Driver === 'overlay' ? [Id] : []));
    if (shared.length === 0) return [];
    return [...shared.flatMap((networkId) => this.#livePlaces(networkId)), ...this.#restarting(shared)];
  }

  /** Of containers that have an interface there: they run, or are about to. */
  #livePlaces(networkId: string): ContainerPlace[] {
    return this.#networks
      .endpointsOf(networkId)
      .filter(({ containerId: id }) => this.#containers.has(id) && !isTask(this.#containers.resolve(id)))
      .map(({ containerId, dns, endpoint }) => {
        return { containerId, networkId, names: dns, address: endpoint.IPAddress };
      });
  }

  /** Of containers between two runs. */
  #restarting(shared: readonly string[]): ContainerPlace[] {
    return this.#containers
      .list({ all: false, limit: 0, filters: { status: ['restarting'] } })
      .filter((container) => !isTask(container))
      .flatMap(({ id: containerId, networks }) =>
        Object.values(networks)
          .filter(({ NetworkID }) => shared.includes(NetworkID))
          .map(({ NetworkID: networkId }) => ({ containerId, networkId, names: [], address: '' })),
      );
  }

  renewAddress(containerId: string, networkId: string): Promise<void> {
    return this.#containers.renewAddress(containerId, networkId);
  }

  takeOff(containerId: string, networkId: string): Promise<void> {
    return this.#containers.takeOff(containerId, networkId);
  }

  isThere(networkId: string): boolean {
    return this.#networks.lookUp(networkId)?.Driver === 'overlay';
  }
}
