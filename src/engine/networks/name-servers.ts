import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import type { RecordStore } from '#engine/records/record-store.ts';
import type { ContainerRecord } from '#model/container.ts';
import type { NetworkRecord } from '#model/network.ts';
import { DnsServer } from './dns-server.ts';
import type { LiveEndpoints } from './live-endpoints.ts';
import type { Names, ResolvedName } from './network-names.ts';

/**
 * The DNS servers of one host, one an address. Who asks is known by the address: a container is answered the names of every
 * network that it is on, and of no other.
 */
export class NameServers implements Disposable {
  readonly #endpoints: LiveEndpoints;
  readonly #records: RecordStore;
  readonly #dns: readonly string[];
  readonly #log: Logger;
  /** By the ID of the network that the address is of. */
  readonly #servers = new Map<string, { server: DnsServer; address: string }>();
  /** By network ID. */
  readonly #names = new Map<string, Names>();

  constructor(o: { endpoints: LiveEndpoints; records: RecordStore; dns: readonly string[]; log: Logger }) {
    this.#endpoints = o.endpoints;
    this.#records = o.records;
    this.#dns = o.dns;
    this.#log = o.log;
  }

  /** Answers on an address of the host's on that network. Safe to repeat; another address takes the place of the old one. */
  listen(network: NetworkRecord, address: string): void {
    if (this.#servers.get(network.Id)?.address === address) return;
    this.close(network.Id);
    const names = {
      addresses: (name: string, asker: string): ResolvedName | undefined => {
        for (const source of this.#namesFor(network.Id, asker)) {
          const found = source.addresses(name);
          if (found !== undefined) return found;
        }
        return undefined;
      },
      nameOf: (of: string, asker: string): string | undefined => {
        for (const source of this.#namesFor(network.Id, asker)) {
          const found = source.nameOf(of);
          if (found !== undefined) return found;
        }
        return undefined;
      },
      forwarders: (asker: string): string[] => this.#forwarders(network, asker),
    };
    this.#servers.set(network.Id, { server: new DnsServer({ address, names, log: this.#log }), address });
  }

  close(networkId: string): void {
    this.#servers.get(networkId)?.server[Symbol.dispose]();
    this.#servers.delete(networkId);
  }

  /** Says what the names on a network are from now on; undefined: it has none. */
  setNames(networkId: string, names: Names | undefined): void {
    if (names === undefined) this.#names.delete(networkId);
    else this.#names.set(networkId, names);
  }

  [Symbol.dispose](): void {
    for (const networkId of [...this.#servers.keys()]) this.close(networkId);
  }

  #namesFor(networkId: string, asker: string): Names[] {
    const live = this.#endpoints.on(networkId).find(({ endpoint }) => endpoint.IPAddress === asker);
    const networks = live === undefined ? [networkId] : this.#endpoints.networksOf(live.containerId);
    return networks.map((id) => this.#names.get(id)).filter((names) => names !== undefined);
  }

  #forwarders(network: NetworkRecord, asker: string): string[] {
    const live = this.#endpoints.on(network.Id).find(({ endpoint }) => endpoint.IPAddress === asker);
    const container =
      live === undefined ? undefined : this.#records.get<ContainerRecord>('container', live.containerId);
    const own = container?.hostConfig.Dns ?? [];
    if (own.length > 0) return own;
    if (this.#dns.length > 0) return [...this.#dns];
    if (network.Internal) return [];
    return [...readFileSync('/etc/resolv.conf', 'utf8').matchAll(/^nameserver\s+(\S+)/gm)].map(
      ([, server = '']) => server,
    );
  }
}
