import { writeFileSync } from 'node:fs';
import {
  addAddress,
  createBridge,
  deleteLink,
  listAddresses,
  listLinks,
  listRoutes,
  setLinkUp,
} from '#linux/links.ts';
import { Nftables } from '#linux/nftables.ts';
import { hasCode } from '#linux/system-call-error.ts';
import type { CloudPlace } from './cloud-place.ts';
import type { CloudState } from './cloud-state.ts';
import { noRuleset, ruleset } from './ruleset.ts';
import { addressOf, chooseSubnet } from './subnet.ts';

/** A subnet that nothing on this host has, nor a cloud that is stopped. */
export function freeSubnet(place: CloudPlace, ofClouds: readonly string[]): string {
  const taken = [
    ...listAddresses().map(({ address }) => address),
    ...listRoutes().map(({ destination }) => destination),
    ...ofClouds,
  ];
  return chooseSubnet({ seed: Number.parseInt(place.id, 16), taken });
}

/** The bridge, the host's address on it, and the rules; what is there already stays. */
export function ensureNetwork(place: CloudPlace, state: CloudState): void {
  try {
    createBridge({ name: place.bridge, mac: macOf(place, 0) });
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
  addAddress({ link: place.bridge, address: addressOf(state.subnet, 1) });
  setLinkUp(place.bridge);
  if (state.internet) writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
  applyRules(place, state);
}

/** Puts the rules of the record into the kernel, in one transaction. */
export function applyRules(place: CloudPlace, state: CloudState): void {
  using tables = new Nftables();
  tables.run(ruleset(place, state));
}

/** Takes the bridge, every cable and every rule of a cloud away. */
export function removeNetwork(place: CloudPlace): void {
  for (const { name } of listLinks().filter((link) => link.name.startsWith(place.bridge))) deleteLink(name);
  using tables = new Nftables();
  tables.run(noRuleset(place));
}

/** The same for a node each time it starts, so that nobody has to learn it anew; 0 is the bridge's. */
export function macOf({ id }: CloudPlace, index: number): string {
  const digits = `02${id}${index.toString(16).padStart(2, '0')}`;
  return digits.replaceAll(/..(?=.)/g, '$&:');
}
