import { BlockList, isIP } from 'node:net';

/** What kind of network an address is of (IANA's special-purpose registries). */
export type AddressClass = 'loopback' | 'link-local' | 'private' | 'public';

const RANGES: readonly (readonly [AddressClass, string, number, 'ipv4' | 'ipv6'])[] = [
  ['loopback', '127.0.0.0', 8, 'ipv4'],
  ['loopback', '::1', 128, 'ipv6'],
  ['link-local', '169.254.0.0', 16, 'ipv4'],
  ['link-local', 'fe80::', 10, 'ipv6'],
  ['private', '0.0.0.0', 8, 'ipv4'],
  ['private', '10.0.0.0', 8, 'ipv4'],
  ['private', '100.64.0.0', 10, 'ipv4'],
  ['private', '172.16.0.0', 12, 'ipv4'],
  ['private', '192.168.0.0', 16, 'ipv4'],
  ['private', 'fc00::', 7, 'ipv6'],
  ['private', '::', 128, 'ipv6'],
];

/** The class of an IP address; IPv4 in IPv6 is what it is in IPv4. */
export function addressClass(address: string): AddressClass {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
  const family = isIP(mapped) === 6 ? 'ipv6' : 'ipv4';
  for (const [kind, network, prefix, of] of RANGES) {
    if (of !== family) continue;
    const list = new BlockList();
    list.addSubnet(network, prefix, of);
    if (list.check(mapped, family)) return kind;
  }
  return 'public';
}

/** Whether a registry at an address of class `from` may send its clients on to one of class `to`. */
export function mayRedirect(from: AddressClass, to: AddressClass): boolean {
  if (to === 'public') return true;
  // Machines' own metadata services live there: no registry does.
  if (to === 'link-local') return false;
  return from === to;
}
