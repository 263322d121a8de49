import {
  addAddress,
  changeLink,
  createBridge,
  deleteLink,
  listAddresses,
  listLinks,
  removeAddress,
} from '#linux/links.ts';
import { NeighbourTable } from '#linux/neighbours.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { createVxlan, listVxlans } from '#linux/vxlan.ts';
import { unavailable } from '#model/errors.ts';
import { routeLoopback } from './bridges.ts';
import { macOf } from './mac-address.ts';
import {
  type ActualState,
  keepsEntries,
  NOTHING,
  type OverlayChange,
  type OverlayState,
} from './overlay-state.ts';

/** Of a network's ID in interface names, which have 15 characters. */
const ID_LENGTH = 12;

export function overlayBridgeName(networkId: string): string {
  return `ov-${networkId.slice(0, ID_LENGTH)}`;
}

function vxlanName(networkId: string): string {
  return `vx-${networkId.slice(0, ID_LENGTH)}`;
}

/** MTU of the interface that has the address; `unavailable` where none has. */
export function mtuOfAddress(address: string): number {
  const found = listAddresses().find((each) => each.address.split('/')[0] === address);
  const link = listLinks().find(({ index }) => index === found?.linkIndex);
  if (link !== undefined) return link.mtu;
  throw unavailable(`no interface of this node has its data path address ${address}`, {
    hint: 'Give the node an address that it has: --data-path-addr.',
  });
}

/** Reads what the kernel has of a network. */
export function readOverlay(networkId: string): ActualState {
  const links = listLinks();
  const bridge = links.find(({ name, kind }) => name === overlayBridgeName(networkId) && kind === 'bridge');
  if (bridge === undefined || !bridge.up) return NOTHING;
  const [address = ''] = listAddresses()
    .filter((each) => each.linkIndex === bridge.index && !each.address.includes(':'))
    .map((each) => each.address);
  // With another MAC address than the one that follows from it, an address is not there for the other nodes.
  const isReached = bridge.mac === macOf(withoutPrefix(address));
  const state = { ...NOTHING, bridge: { mtu: bridge.mtu, address: isReached ? address : '' } };
  const vxlan = listVxlans().find(({ name }) => name === vxlanName(networkId));
  if (vxlan === undefined || !vxlan.up || vxlan.masterIndex !== bridge.index) return state;
  const { vni, local, port, mtu } = vxlan;
  using table = new NeighbourTable(vxlan.name);
  return {
    ...state,
    vxlan: { vni, local, port, mtu },
    forwarding: new Set(table.forwarding().map((entry) => `${entry.mac} ${entry.address}`)),
    neighbours: new Map(table.neighbours().map((entry) => [entry.address, entry.mac])),
  };
}

/** Makes changes in their order. What is cut off is found by reading again. Synchronous, tens of microseconds a change. */
export function changeOverlay(
  networkId: string,
  actual: ActualState,
  changes: readonly OverlayChange[],
): void {
  const bridge = overlayBridgeName(networkId);
  const entries: OverlayChange[] = [];
  for (const change of changes) {
    if (change.kind === 'bridge') raise(bridge, actual.bridge, change.wanted);
    else if (change.kind === 'vxlan') connect(networkId, actual.vxlan, change.wanted);
    else entries.push(change);
  }
  if (entries.length === 0) return;
  using table = new NeighbourTable(vxlanName(networkId));
  for (const change of entries) changeEntry(table, change);
}

/** Takes a network's links away. Those that are not there are success. */
export function removeOverlay(networkId: string): void {
  deleteLink(vxlanName(networkId));
  deleteLink(overlayBridgeName(networkId));
}

function raise(name: string, actual: ActualState['bridge'], wanted: OverlayState['bridge']): void {
  const { mtu, address } = wanted;
  if (!listLinks().some((link) => link.name === name)) createBridge({ name, mtu });
  const old = actual?.address ?? '';
  if (old !== '' && old !== address) removeAddress({ link: name, address: old });
  changeLink({ name, mtu, ...(address === '' ? {} : { mac: macOf(withoutPrefix(address)) }) });
  if (address === '') return;
  addAddress({ link: name, address });
  routeLoopback(name);
}

function withoutPrefix(cidr: string): string {
  return cidr.split('/')[0] ?? '';
}

function connect(networkId: string, actual: ActualState['vxlan'], wanted: OverlayState['vxlan']): void {
  const name = vxlanName(networkId);
  if (keepsEntries(actual, wanted)) {
    changeLink({ name, mtu: wanted.mtu });
    return;
  }
  deleteLink(name);
  try {
    createVxlan({ name, bridge: overlayBridgeName(networkId), ...wanted });
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
    throw unavailable(
      `another VXLAN device of this node has VNI ${wanted.vni} on UDP port ${wanted.port}: remove it`,
      { cause: error },
    );
  }
}

function changeEntry(table: NeighbourTable, change: OverlayChange): void {
  if (change.kind === 'forward') table.addForwarding(change);
  if (change.kind === 'unforward') table.removeForwarding(change);
  if (change.kind === 'neighbour') table.addNeighbour(change);
  if (change.kind === 'forget-neighbour') table.removeNeighbour(change.address);
}
