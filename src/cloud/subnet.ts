import { BlockList } from 'node:net';
import { conflict, invalid } from '#model/errors.ts';

/** Clouds take their networks from 10.208.0.0/12, which neither Docker's own networks nor overlays are cut from by default. */
const FIRST_CHOICE = 10 * 2 ** 24 + 208 * 2 ** 16;
const CHOICES = 16 * 256;

/**
 * A /24 that overlaps none of `taken` (CIDR; other than IPv4, and default routes, do not count). `seed` says where to begin, so that
 * clouds that are made at the same time do not ask for the same one. `conflict` when none is left.
 */
export function chooseSubnet(o: { seed: number; taken: readonly string[] }): string {
  const taken = o.taken.filter((cidr) => /^[\d.]+\/([1-9]|[12]\d|3[0-2])$/.test(cidr));
  for (let step = 0; step < CHOICES; step += 1) {
    const subnet = `${format(FIRST_CHOICE + ((o.seed + step) % CHOICES) * 256)}/24`;
    if (!taken.some((cidr) => overlap(cidr, subnet))) return subnet;
  }
  throw conflict('no free subnet is left in 10.208.0.0/12; name one with --subnet');
}

/** Address `index` of a subnet with its prefix length: 1 is the host's, 2 that of node 1. `invalid` where there are not so many. */
export function addressOf(subnet: string, index: number): string {
  const [base = '', prefix = ''] = subnet.split('/');
  if (index >= 2 ** (32 - Number(prefix)) - 1)
    throw invalid(`the subnet ${subnet} is too small for so many nodes`);
  const size = 2 ** (32 - Number(prefix));
  return `${format(Math.floor(parse(base) / size) * size + index)}/${prefix}`;
}

/** CIDR as it was given; `invalid` for what is none. */
export function checkSubnet(text: string): string {
  const match = /^((?:\d{1,3}\.){3}\d{1,3})\/(\d{1,2})$/.exec(text);
  const prefix = Number(match?.[2] ?? 0);
  if (
    match === null ||
    prefix < 8 ||
    prefix > 29 ||
    (match[1] ?? '').split('.').some((byte) => Number(byte) > 255)
  )
    throw invalid(`invalid subnet ${text}: write it as 10.20.0.0/24, with a prefix length of 8 to 29`);
  return text;
}

function overlap(one: string, two: string): boolean {
  const covers = (cidr: string, other: string): boolean => {
    const [base = '', prefix = ''] = cidr.split('/');
    const list = new BlockList();
    list.addSubnet(base, Number(prefix));
    return list.check(other.split('/')[0] ?? '');
  };
  return covers(one, two) || covers(two, one);
}

function parse(address: string): number {
  return address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
}

function format(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}
