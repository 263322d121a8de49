import { formatAddress, parseAddress, parseSubnet } from '#engine/networks/ipv4.ts';

/** The addresses of one subnet and who has them. Addresses are given in turn, so that one that was given back rests first. */
export class AddressPool {
  readonly #first: number;
  readonly #last: number;
  readonly #prefix: number;
  readonly #reserved: ReadonlySet<number>;
  readonly #owners = new Map<number, string>();
  readonly #owned = new Map<string, number[]>();
  #next: number;

  /** `reserved` are addresses that nobody gets, such as the gateway's. `invalid` for what is no subnet. */
  constructor(o: { subnet: string; reserved: readonly string[] }) {
    const { base, prefix } = parseSubnet(o.subnet);
    this.#prefix = prefix;
    this.#first = base + 1;
    this.#last = base + 2 ** (32 - prefix) - 2;
    this.#reserved = new Set(o.reserved.map(parseAddress));
    this.#next = this.#first;
  }

  /** How many can be given at all. */
  get size(): number {
    return this.#last - this.#first + 1 - this.#reserved.size;
  }

  get used(): number {
    return this.#owners.size;
  }

  /** What `owner` has is `addresses` (CIDR) from now on. */
  assign(owner: string, addresses: readonly string[]): void {
    for (const address of this.#owned.get(owner) ?? []) {
      if (this.#owners.get(address) === owner) this.#owners.delete(address);
    }
    this.#owned.delete(owner);
    if (addresses.length === 0) return;
    const numbers = addresses.map((cidr) => parseAddress(cidr.split('/', 1)[0] ?? ''));
    for (const address of numbers) this.#owners.set(address, owner);
    this.#owned.set(owner, numbers);
  }

  /** A free address (CIDR) that is not in `tentative` either, and is added to it; undefined when there is none. */
  choose(tentative: Set<number>): string | undefined {
    const count = this.#last - this.#first + 1;
    for (let tried = 0; tried < count; tried++) {
      const address = this.#next;
      this.#next = address >= this.#last ? this.#first : address + 1;
      if (this.#reserved.has(address) || this.#owners.has(address) || tentative.has(address)) continue;
      tentative.add(address);
      return `${formatAddress(address)}/${this.#prefix}`;
    }
    return undefined;
  }

  /** This address (CIDR), taken as by {@link choose}; undefined when it is somebody's, or none of the subnet's that are given. */
  take(asked: string, tentative: Set<number>): string | undefined {
    const address = parseAddress(asked);
    if (address < this.#first || address > this.#last) return undefined;
    if (this.#reserved.has(address) || this.#owners.has(address) || tentative.has(address)) return undefined;
    tentative.add(address);
    return `${formatAddress(address)}/${this.#prefix}`;
  }
}
