/** Addresses that a name leads to. */
export interface ResolvedName {
  readonly addresses: readonly string[];
  /** How long the answer may be kept. */
  readonly ttlSeconds: number;
}

/** The names on one network. */
export interface Names {
  /** Of a name in lower case, without a final dot; undefined where it is not of this network. */
  addresses(name: string): ResolvedName | undefined;
  /** The name that belongs to an address. */
  nameOf(address: string): string | undefined;
}

interface NamedEndpoint {
  name: string;
  endpoint: { IPAddress: string };
  dns: readonly string[];
}

const TTL_SECONDS = 600;

/** The names on a bridge of this host, read from its endpoints at each question, so that they are never stale. */
export class NetworkNames implements Names {
  readonly #endpoints: () => readonly NamedEndpoint[];
  readonly #networkName: string;
  #turn = 0;

  constructor(o: { endpoints: () => readonly NamedEndpoint[]; networkName: string }) {
    this.#endpoints = o.endpoints;
    this.#networkName = o.networkName;
  }

  /** All containers of that name or alias; another one first each time, which spreads clients that take the first. */
  addresses(name: string): ResolvedName | undefined {
    const bare = withoutNetwork(name, this.#networkName);
    const found = this.#endpoints()
      .filter(({ dns }) => dns.some((each) => each.toLowerCase() === bare))
      .map(({ endpoint }) => endpoint.IPAddress);
    if (found.length === 0) return undefined;
    this.#turn = (this.#turn + 1) % found.length;
    return { addresses: rotated(found, this.#turn), ttlSeconds: TTL_SECONDS };
  }

  nameOf(address: string): string | undefined {
    const found = this.#endpoints().find(({ endpoint }) => endpoint.IPAddress === address);
    return found === undefined ? undefined : `${found.name}.${this.#networkName}`;
  }
}

/** `web.NETWORK` is `web`. */
export function withoutNetwork(name: string, networkName: string): string {
  const suffix = `.${networkName.toLowerCase()}`;
  return name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
}

export function rotated<T>(list: readonly T[], turn: number): T[] {
  return [...list.slice(turn), ...list.slice(0, turn)];
}
