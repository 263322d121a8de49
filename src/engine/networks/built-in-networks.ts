import { randomBytes } from 'node:crypto';
import { listAddresses, listRoutes } from '#linux/links.ts';
import type { IpamPool, NetworkRecord } from '#model/network.ts';
import { type AddressPool, completePool } from './ipam.ts';
import { formatAddress, parseAddress, parseSubnet, type Subnet } from './ipv4.ts';
import { defaultBridgeOptions } from './network-options.ts';

/** The networks that are always there; those in `existing` keep what they are known by. */
export function builtInNetworks(o: {
  existing: readonly NetworkRecord[];
  bridge: string;
  bip: string | undefined;
  pools: readonly AddressPool[];
}): NetworkRecord[] {
  const existing = new Map(o.existing.map((network) => [network.Name, network]));
  return (
    [
      ['bridge', 'bridge'],
      ['host', 'host'],
      ['none', 'null'],
    ] as const
  ).map(([Name, Driver]) => {
    const old = existing.get(Name);
    return {
      Id: old?.Id ?? randomBytes(32).toString('hex'),
      Name,
      Created: old?.Created ?? new Date().toISOString(),
      Driver,
      Internal: false,
      Attachable: false,
      EnableIPv4: true,
      EnableIPv6: false,
      IPAM: { Driver: 'default', Options: null, Config: Driver === 'bridge' ? [defaultPool(old, o)] : [] },
      Options: Driver === 'bridge' ? defaultBridgeOptions(o.bridge) : {},
      Labels: {},
      bridgeName: Driver === 'bridge' ? o.bridge : '',
    };
  });
}

function defaultPool(
  old: NetworkRecord | undefined,
  o: { existing: readonly NetworkRecord[]; bip: string | undefined; pools: readonly AddressPool[] },
): IpamPool {
  const [kept] = old?.IPAM.Config ?? [];
  if (o.bip === undefined) return kept ?? completePool(undefined, o.pools, takenSubnets(o.existing));
  const [address = '', prefix = ''] = o.bip.split('/');
  const subnet = parseSubnet(`${address}/${prefix}`);
  return {
    Subnet: `${formatAddress(subnet.base)}/${prefix}`,
    Gateway: formatAddress(parseAddress(address)),
  };
}

/** Subnets that a new network must not touch: the networks' own, and what the host has a route to. */
export function takenSubnets(networks: readonly NetworkRecord[]): { networks: Subnet[]; routes: Subnet[] } {
  const known = [
    ...listRoutes().map(({ destination }) => destination),
    ...listAddresses().map(({ address }) => address),
  ];
  return {
    networks: networks.flatMap(({ IPAM }) => IPAM.Config.map(({ Subnet }) => parseSubnet(Subnet))),
    routes: known.filter((cidr) => !cidr.includes(':') && !cidr.endsWith('/0')).map(parseSubnet),
  };
}
