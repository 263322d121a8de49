import { conflict, forbidden, invalid, unavailable } from '#model/errors.ts';
import type { IpamPool } from '#model/network.ts';
import {
  contains,
  formatAddress,
  formatSubnet,
  overlaps,
  parseAddress,
  parseSubnet,
  type Subnet,
  subnetSize,
} from './ipv4.ts';

/** A range that networks without a subnet of their own get parts of. */
export interface AddressPool {
  /** CIDR. */
  base: string;
  /** Prefix length of a part. */
  size: number;
}

/** Docker's own: large, private, and out of the way of common home networks at first. */
export const DEFAULT_POOLS: readonly AddressPool[] = [
  { base: '172.17.0.0/12', size: 16 },
  { base: '192.168.0.0/16', size: 20 },
];

/** The first part of a pool that no network and no route of the host has. */
export function chooseSubnet(pools: readonly AddressPool[], taken: readonly Subnet[]): Subnet {
  for (const pool of pools) {
    const whole = parseSubnet(pool.base);
    const step = subnetSize({ base: 0, prefix: pool.size });
    // 172.17.0.0/12 begins at its first address that was written, as with Docker.
    const first = Math.max(whole.base, parseAddress(pool.base.split('/')[0] ?? ''));
    for (let base = first; base + step <= whole.base + subnetSize(whole); base += step) {
      const subnet = { base, prefix: pool.size };
      if (!taken.some((other) => overlaps(subnet, other))) return subnet;
    }
  }
  throw unavailable('all predefined address pools have been fully subnetted', {
    hint: 'Remove networks (docker network prune), or name a subnet (--subnet).',
  });
}

/** Checks what a user asked for and fills in what he did not; the pool has Subnet and Gateway then. */
export function completePool(
  asked: Partial<IpamPool> | undefined,
  pools: readonly AddressPool[],
  o: { networks: readonly Subnet[]; routes: readonly Subnet[] },
): IpamPool & { Gateway: string } {
  const own = asked?.Subnet;
  const subnet =
    own === undefined || own === '' ? chooseSubnet(pools, [...o.networks, ...o.routes]) : parseSubnet(own);
  if (own !== undefined && o.networks.some((other) => overlaps(subnet, other))) {
    throw forbidden('Pool overlaps with other one on this address space');
  }
  const gateway =
    asked?.Gateway === undefined || asked.Gateway === '' ? formatAddress(subnet.base + 1) : asked.Gateway;
  if (!contains(subnet, parseAddress(gateway))) throw invalid(`no matching subnet for gateway ${gateway}`);
  if (
    asked?.IPRange !== undefined &&
    asked.IPRange !== '' &&
    !contains(subnet, parseSubnet(asked.IPRange).base)
  ) {
    throw invalid(`no matching subnet for range ${asked.IPRange}`);
  }
  return { ...asked, Subnet: formatSubnet(subnet), Gateway: gateway };
}

/** An address of the pool that nobody has: the one asked for, or the first free one of the range. */
export function chooseAddress(pool: IpamPool, asked: string | undefined, used: ReadonlySet<string>): string {
  const subnet = parseSubnet(pool.Subnet);
  const reserved = new Set([pool.Gateway, ...Object.values(pool.AuxiliaryAddresses ?? {})]);
  if (asked !== undefined && asked !== '') {
    if (!contains(subnet, parseAddress(asked))) {
      throw invalid(`no configured subnet or ip-range contain the IP address ${asked}`);
    }
    if (used.has(asked) || reserved.has(asked))
      throw conflict('Address already in use', { hint: `${asked} is taken` });
    return asked;
  }
  const range = pool.IPRange === undefined || pool.IPRange === '' ? subnet : parseSubnet(pool.IPRange);
  const last = range.base + subnetSize(range) - 1;
  for (let address = range.base; address <= last; address++) {
    // The first and last of the subnet are the network itself and its broadcast.
    if (address === subnet.base || address === subnet.base + subnetSize(subnet) - 1) continue;
    const text = formatAddress(address);
    if (!used.has(text) && !reserved.has(text)) return text;
  }
  throw unavailable(`no available IPv4 addresses on this network's address pools: ${pool.Subnet}`, {
    hint: 'Remove containers from the network, or make it with a larger --subnet.',
  });
}
