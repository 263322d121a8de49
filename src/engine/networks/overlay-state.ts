import { EVERY_OTHER } from '#linux/neighbours.ts';
import type { NetworkPlan, PlannedNetwork } from '#model/network-plan.ts';
import { encryptedPort } from './encryption-state.ts';
import { macOf } from './mac-address.ts';

/** What VXLAN puts before each frame: Ethernet, IPv4, UDP and its own header. */
const VXLAN_BYTES = 50;
const IP_HEADER_BYTES = 20;
/** ESP's SPI and sequence number, AES-GCM's initialization vector and tag. */
const ESP_BYTES = 8 + 8 + 16;
/** ESP fills up to whole words; the last two bytes of them are its own. */
const ESP_WORD_BYTES = 4;
const ESP_TRAILER_BYTES = 2;

/** What an overlay network is in the kernel of one node. */
export interface OverlayState {
  readonly bridge: {
    readonly mtu: number;
    /** The host's own address on it (CIDR), or empty. */
    readonly address: string;
  };
  readonly vxlan: {
    readonly vni: number;
    readonly local: string;
    readonly port: number;
    readonly mtu: number;
  };
  /** Where frames to a MAC address go, as `MAC ADDRESS`; broadcasts, under MAC address 0, to every peer. */
  readonly forwarding: ReadonlySet<string>;
  /** By IPv4 address, the MAC addresses that ARP is answered with for other nodes. */
  readonly neighbours: ReadonlyMap<string, string>;
}

/** What is in the kernel; undefined is a link that is missing or is none of a kind that could be mended. */
export type ActualState = Pick<OverlayState, 'forwarding' | 'neighbours'> & {
  readonly [Part in 'bridge' | 'vxlan']: OverlayState[Part] | undefined;
};

export const NOTHING: ActualState = {
  bridge: undefined,
  vxlan: undefined,
  forwarding: new Set(),
  neighbours: new Map(),
};

/** One thing that differs, and what makes it right. */
export type OverlayChange =
  | { readonly kind: 'bridge'; readonly wanted: OverlayState['bridge']; readonly isNew: boolean }
  | { readonly kind: 'vxlan'; readonly wanted: OverlayState['vxlan']; readonly isNew: boolean }
  | { readonly kind: 'forward' | 'unforward'; readonly mac: string; readonly address: string }
  | { readonly kind: 'neighbour' | 'forget-neighbour'; readonly address: string; readonly mac: string };

/** `pathMtu` is that of the interface with the node's data path address. */
export function wantedState(plan: NetworkPlan, network: PlannedNetwork, pathMtu: number): OverlayState {
  const mtu = network.mtu > 0 ? network.mtu : network.encrypted ? mtuInEsp(pathMtu) : pathMtu - VXLAN_BYTES;
  const port = network.encrypted ? encryptedPort(plan) : plan.dataPathPort;
  const peers = new Map(network.peers.map(({ nodeId, address }) => [nodeId, address]));
  const forwarding = new Set([...peers.values()].map((address) => `${EVERY_OTHER} ${address}`));
  const neighbours = new Map<string, string>();
  const remote = [
    ...network.peers.map(({ nodeId, nodeAddress }) => ({ nodeId, address: nodeAddress })),
    ...network.endpoints,
  ];
  for (const { nodeId, address } of remote) {
    const peer = peers.get(nodeId);
    if (peer === undefined || nodeId === plan.nodeId || address === '') continue;
    forwarding.add(`${macOf(address)} ${peer}`);
    neighbours.set(address, macOf(address));
  }
  return {
    bridge: { mtu, address: network.nodeAddress },
    vxlan: { vni: network.vni, local: plan.dataPathAddress, port, mtu },
    forwarding,
    neighbours,
  };
}

/** What of a packet is left for a frame's content when VXLAN is in ESP in transport mode (RFC 4303). */
function mtuInEsp(pathMtu: number): number {
  const words = Math.floor((pathMtu - IP_HEADER_BYTES - ESP_BYTES) / ESP_WORD_BYTES);
  return words * ESP_WORD_BYTES - ESP_TRAILER_BYTES - (VXLAN_BYTES - IP_HEADER_BYTES);
}

/** What makes `actual` the wanted state, in order: links, what is added, what goes. */
export function overlayChanges(actual: ActualState, wanted: OverlayState): OverlayChange[] {
  const changes: OverlayChange[] = [];
  if (!isSame(actual.bridge, wanted.bridge))
    changes.push({ kind: 'bridge', wanted: wanted.bridge, isNew: actual.bridge === undefined });
  if (!isSame(actual.vxlan, wanted.vxlan))
    changes.push({ kind: 'vxlan', wanted: wanted.vxlan, isNew: actual.vxlan === undefined });
  // A device that is made anew knows nothing.
  const known = keepsEntries(actual.vxlan, wanted.vxlan) ? actual : NOTHING;
  for (const entry of wanted.forwarding) {
    if (!known.forwarding.has(entry)) changes.push({ kind: 'forward', ...forwardingOf(entry) });
  }
  for (const [address, mac] of wanted.neighbours) {
    if (known.neighbours.get(address) !== mac) changes.push({ kind: 'neighbour', address, mac });
  }
  const moved = new Set([...wanted.forwarding].map((entry) => forwardingOf(entry).mac));
  for (const entry of known.forwarding) {
    const { mac, address } = forwardingOf(entry);
    if (wanted.forwarding.has(entry) || (moved.has(mac) && mac !== EVERY_OTHER)) continue;
    changes.push({ kind: 'unforward', mac, address });
  }
  for (const [address, mac] of known.neighbours) {
    if (!wanted.neighbours.has(address)) changes.push({ kind: 'forget-neighbour', address, mac });
  }
  return changes;
}

/** The change as what is wrong without it. */
export function sentenceOf(change: OverlayChange, network: { name: string }): string {
  const on = `network ${network.name}`;
  switch (change.kind) {
    case 'bridge':
      return change.isNew
        ? `${on}: its bridge is missing`
        : `${on}: its bridge has not MTU ${change.wanted.mtu} and ${addressWords(change.wanted.address)}`;
    case 'vxlan':
      return change.isNew
        ? `${on}: its VXLAN device is missing`
        : `${on}: its VXLAN device is not VNI ${change.wanted.vni} on ${change.wanted.local}:${change.wanted.port} with MTU ${change.wanted.mtu}`;
    case 'forward':
      return change.mac === EVERY_OTHER
        ? `${on}: broadcasts do not go to node ${change.address}`
        : `${on}: frames to ${change.mac} do not go to node ${change.address}`;
    case 'unforward':
      return change.mac === EVERY_OTHER
        ? `${on}: broadcasts go to node ${change.address}, which takes no part`
        : `${on}: frames to ${change.mac} go to node ${change.address}, where it is not`;
    case 'neighbour':
      return `${on}: ARP for ${change.address} is not answered with ${change.mac}`;
    case 'forget-neighbour':
      return `${on}: ARP for ${change.address} is answered, but there is no such task`;
  }
}

/** Whether a VXLAN device can be changed into the wanted one, in place of being made anew. */
export function keepsEntries(actual: ActualState['vxlan'], wanted: OverlayState['vxlan']): boolean {
  return (
    actual !== undefined &&
    actual.vni === wanted.vni &&
    actual.local === wanted.local &&
    actual.port === wanted.port
  );
}

function addressWords(address: string): string {
  return address === '' ? 'no address' : `the address ${address}`;
}

function isSame<T extends object>(a: T | undefined, b: T): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function forwardingOf(entry: string): { mac: string; address: string } {
  const [mac = '', address = ''] = entry.split(' ');
  return { mac, address };
}
