import { invalid } from '#model/errors.ts';

/** A range of IPv4 addresses as numbers. */
export interface Subnet {
  base: number;
  prefix: number;
}

export function parseAddress(text: string): number {
  const parts = text.split('.').map(Number);
  if (parts.length !== 4 || !/^[\d.]+$/.test(text) || parts.some((part) => part > 255)) {
    throw invalid(`invalid IP address: ${text}`);
  }
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

export function formatAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}

/** The address of a CIDR, without its prefix length; an address alone is itself. */
export function withoutPrefix(cidr: string): string {
  return cidr.split('/', 1)[0] ?? '';
}

/** CIDR; host bits are cut off. */
export function parseSubnet(text: string): Subnet {
  const match = /^([\d.]+)\/(\d{1,2})$/.exec(text);
  const prefix = Number(match?.[2] ?? 33);
  if (match === null || prefix > 32) throw invalid(`invalid CIDR address: ${text}`);
  const size = subnetSize({ base: 0, prefix });
  return { base: Math.floor(parseAddress(match[1] ?? '') / size) * size, prefix };
}

export function formatSubnet(subnet: Subnet): string {
  return `${formatAddress(subnet.base)}/${subnet.prefix}`;
}

export function subnetSize(subnet: Subnet): number {
  return 2 ** (32 - subnet.prefix);
}

export function contains(subnet: Subnet, address: number): boolean {
  return address >= subnet.base && address < subnet.base + subnetSize(subnet);
}

export function overlaps(a: Subnet, b: Subnet): boolean {
  return a.base < b.base + subnetSize(b) && b.base < a.base + subnetSize(a);
}
