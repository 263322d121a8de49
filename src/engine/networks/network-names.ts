import type { NameSource } from './dns-server.ts';

interface NamedEndpoint {
  name: string;
  endpoint: { IPAddress: string };
  dns: readonly string[];
}

/** The names on one network, read from its endpoints at each question, so that they are never stale. */
export class NetworkNames implements NameSource {
  readonly forwarders: (asker: string) => string[];
  readonly #endpoints: () => readonly NamedEndpoint[];
  readonly #networkName: string;
  #turn = 0;

  constructor(o: {
    endpoints: () => readonly NamedEndpoint[];
    networkName: string;
    forwarders: (asker: string) => string[];
  }) {
    this.#endpoints = o.endpoints;
    this.#networkName = o.networkName;
    this.forwarders = o.forwarders;
  }

  /** All containers of that name or alias; another one first each time, which spreads clients that take the first. */
  addresses(name: string): string[] | undefined {
    const suffix = `.${this.#networkName.toLowerCase()}`;
    const bare = name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
    const found = this.#endpoints()
      .filter(({ dns }) => dns.some((each) => each.toLowerCase() === bare))
      .map(({ endpoint }) => endpoint.IPAddress);
    if (found.length === 0) return undefined;
    this.#turn = (this.#turn + 1) % found.length;
    return [...found.slice(this.#turn), ...found.slice(0, this.#turn)];
  }

  nameOf(address: string): string | undefined {
    const found = this.#endpoints().find(({ endpoint }) => endpoint.IPAddress === address);
    return found === undefined ? undefined : `${found.name}.${this.#networkName}`;
  }
}
