import type { ContainerRecord, EndpointSettings } from '#model/container.ts';
import { invalid } from '#model/errors.ts';

/** A container's place on a network while it runs. */
export interface LiveEndpoint {
  containerId: string;
  name: string;
  endpoint: EndpointSettings;
  dns: readonly string[];
  hostName: string;
}

/** Who is on which network now. In memory: made anew of the running containers when the daemon starts. */
export class LiveEndpoints {
  /** By network ID, then container ID. */
  readonly #endpoints = new Map<string, Map<string, LiveEndpoint>>();

  on(networkId: string): LiveEndpoint[] {
    return [...(this.#endpoints.get(networkId)?.values() ?? [])];
  }

  of(networkId: string, containerId: string): LiveEndpoint | undefined {
    return this.#endpoints.get(networkId)?.get(containerId);
  }

  add(networkId: string, container: ContainerRecord, endpoint: EndpointSettings, hostName: string): void {
    const endpoints = this.#endpoints.get(networkId) ?? new Map<string, LiveEndpoint>();
    this.#endpoints.set(networkId, endpoints);
    const { id: containerId, name } = container;
    endpoints.set(containerId, { containerId, name, endpoint, dns: dnsNames(container, endpoint), hostName });
  }

  remove(networkId: string, containerId: string): void {
    this.#endpoints.get(networkId)?.delete(containerId);
  }

  /** The IDs of the networks that a container is on. */
  networksOf(containerId: string): string[] {
    return [...this.#endpoints].flatMap(([networkId, endpoints]) =>
      endpoints.has(containerId) ? [networkId] : [],
    );
  }

  /** The container has another name from now on. */
  rename(container: ContainerRecord, oldName: string): void {
    for (const endpoints of this.#endpoints.values()) {
      const live = endpoints.get(container.id);
      if (live === undefined) continue;
      const dns = live.dns.map((name) => (name === oldName ? container.name : name));
      endpoints.set(container.id, { ...live, name: container.name, dns });
    }
  }

  /** The lowest number that none of the container's interfaces has. */
  freeInterface(containerId: string): number {
    const taken = new Set(
      this.networksOf(containerId).map((networkId) => this.of(networkId, containerId)?.hostName.slice(-1)),
    );
    let index = 0;
    while (taken.has(index.toString(36))) index += 1;
    return index;
  }

  /** Addresses and names of the containers that another one is linked to; throws when one does not run. */
  links({ hostConfig }: ContainerRecord): { address: string; names: string[] }[] {
    return (hostConfig.Links ?? []).map((link) => {
      const [target = '', alias = target] = link.split(':');
      const wanted = target.replace(/^\//, '');
      const found = [...this.#endpoints.values()]
        .flatMap((endpoints) => [...endpoints.values()])
        .find((live) => live.name === wanted || live.containerId.startsWith(wanted));
      if (found === undefined) throw invalid(`Cannot link to a non running container: ${link}`);
      const names = new Set([alias.split('/').at(-1) ?? alias, found.name, found.containerId.slice(0, 12)]);
      return { address: found.endpoint.IPAddress, names: [...names] };
    });
  }
}

/** What a container is found by: its name, aliases, short ID and host name. */
export function dnsNames(container: ContainerRecord, endpoint: Pick<EndpointSettings, 'Aliases'>): string[] {
  const hostname = container.config.Hostname === '' ? [] : [container.config.Hostname];
  return [...new Set([container.name, ...(endpoint.Aliases ?? []), container.id.slice(0, 12), ...hostname])];
}

/** The host's end of a container's interface, but for its last character, the interface's number. */
export function hostNamePrefix(networkId: string, containerId: string): string {
  return `v${containerId.slice(0, 8)}${networkId.slice(0, 5)}`;
}
