import { closeSync, openSync } from 'node:fs';
import {
  addressBytes,
  formatAddress,
  formatMac,
  IFF_UP,
  IFLA,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  linkHeader,
  linkIndex,
  macBytes,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  RTM,
} from './link-messages.ts';
import { attribute, attributeText, NetlinkSocket, nested, parseAttributes } from './netlink.ts';
import { inNetworkNamespace } from './network-namespace.ts';
import { hasCode } from './system-call-error.ts';

const NLA_F_NESTED = 0x8000;
const IFLA_BRPORT_MODE = 4;
const VETH_INFO_PEER = 1;
const AF_INET = 2;
const AF_BRIDGE = 7;
const AF_INET6 = 10;
const IFA_F_NODAD = 2;

/** A network interface (rtnetlink(7), ifinfomsg). */
export interface Link {
  index: number;
  name: string;
  mac: string;
  mtu: number;
  up: boolean;
  /** `bridge`, `veth`, …; empty for hardware. */
  kind: string;
  /** Index of the bridge it is a port of, or 0. */
  masterIndex: number;
}

/** The interfaces of the current network namespace. */
export function listLinks(): Link[] {
  using route = new NetlinkSocket();
  return dumpLinks(route);
}

function dumpLinks(route: NetlinkSocket): Link[] {
  return route.dump('RTM_GETLINK', RTM.getLink, linkHeader(0, 0, 0)).map((body) => {
    const attributes = parseAttributes(body, 16);
    const info = attributes.get(IFLA.linkInfo);
    return {
      index: body.readInt32LE(4),
      name: attributeText(attributes.get(IFLA.ifname)),
      mac: formatMac(attributes.get(IFLA.address)),
      mtu: attributes.get(IFLA.mtu)?.readUInt32LE(0) ?? 0,
      up: (body.readUInt32LE(8) & IFF_UP) !== 0,
      kind: info === undefined ? '' : attributeText(parseAttributes(info, 0).get(IFLA_INFO_KIND)),
      masterIndex: attributes.get(IFLA.master)?.readUInt32LE(0) ?? 0,
    };
  });
}

/**
 * Makes a bridge, down and without an IP address; SystemCallError EEXIST where the name is taken. Without a MAC address it has
 * the lowest one of its ports, which changes as they come and go, and those who know the old one are cut off for a while.
 */
export function createBridge(o: { name: string; mac?: string; mtu?: number }): void {
  using route = new NetlinkSocket();
  const payload = Buffer.concat([
    linkHeader(0, 0, 0),
    attribute(IFLA.ifname, o.name),
    ...(o.mac === undefined ? [] : [attribute(IFLA.address, macBytes(o.mac))]),
    ...(o.mtu === undefined ? [] : [attribute(IFLA.mtu, o.mtu)]),
    nested(IFLA.linkInfo, attribute(IFLA_INFO_KIND, 'bridge')),
  ]);
  route.request('RTM_NEWLINK', RTM.newLink, NLM_F_CREATE | NLM_F_EXCL, payload, o.name);
}

export function setLinkUp(name: string): void {
  using route = new NetlinkSocket();
  linkUp(route, linkIndex(route, name));
}

/** Changes an interface that is there, and takes it up; what is left out stays as it is. */
export function changeLink(o: { name: string; mac?: string; mtu?: number; bridge?: string }): void {
  using route = new NetlinkSocket();
  const payload = Buffer.concat([
    linkHeader(linkIndex(route, o.name), IFF_UP, IFF_UP),
    ...(o.mac === undefined ? [] : [attribute(IFLA.address, macBytes(o.mac))]),
    ...(o.mtu === undefined ? [] : [attribute(IFLA.mtu, o.mtu)]),
    ...(o.bridge === undefined ? [] : [attribute(IFLA.master, linkIndex(route, o.bridge))]),
  ]);
  route.request('RTM_NEWLINK', RTM.newLink, 0, payload, o.name);
}

/** Deletes an interface; one that is not there is success. */
export function deleteLink(name: string): void {
  using route = new NetlinkSocket();
  try {
    route.request(
      'RTM_DELLINK',
      RTM.delLink,
      0,
      Buffer.concat([linkHeader(0, 0, 0), attribute(IFLA.ifname, name)]),
      name,
    );
  } catch (error) {
    if (!hasCode(error, 'ENODEV')) throw error;
  }
}

/** Gives an interface an address in CIDR notation; one it already has is success. */
export function addAddress(o: { link: string; address: string }): void {
  using route = new NetlinkSocket();
  assignAddress(route, linkIndex(route, o.link), o.address);
}

/** Takes an address in CIDR notation from an interface; one that it does not have is success. */
export function removeAddress(o: { link: string; address: string }): void {
  using route = new NetlinkSocket();
  try {
    const payload = addressMessage(linkIndex(route, o.link), o.address);
    route.request('RTM_DELADDR', RTM.delAddress, 0, payload, o.address);
  } catch (error) {
    if (!hasCode(error, 'EADDRNOTAVAIL', 'ENODEV')) throw error;
  }
}

export function listAddresses(): { linkIndex: number; address: string }[] {
  using route = new NetlinkSocket();
  return route.dump('RTM_GETADDR', RTM.getAddress, Buffer.alloc(8)).map((body) => {
    const attributes = parseAttributes(body, 8);
    const bytes = attributes.get(2) ?? attributes.get(1) ?? Buffer.alloc(4);
    return { linkIndex: body.readUInt32LE(4), address: `${formatAddress(bytes)}/${body.readUInt8(1)}` };
  });
}

/** Routes of the main table that name an interface; the default route is `0.0.0.0/0`. */
export function listRoutes(): { destination: string; linkIndex: number }[] {
  using route = new NetlinkSocket();
  const MAIN_TABLE = 254;
  return route.dump('RTM_GETROUTE', RTM.getRoute, Buffer.alloc(12)).flatMap((body) => {
    if (body.readUInt8(4) !== MAIN_TABLE) return [];
    const attributes = parseAttributes(body, 12);
    const bytes = attributes.get(1) ?? Buffer.alloc(body.readUInt8(0) === AF_INET6 ? 16 : 4);
    return [
      {
        destination: `${formatAddress(bytes)}/${body.readUInt8(1)}`,
        linkIndex: attributes.get(4)?.readUInt32LE(0) ?? 0,
      },
    ];
  });
}

/**
 * Puts a container on a bridge: a veth pair whose peer is born inside the namespace, in one message, then addresses and
 * the default route through a socket opened there. About a millisecond; on error the pair is gone again.
 */
export function attachToNamespace(o: {
  namespacePath: string;
  bridge: string;
  hostName: string;
  interfaceName: string;
  mac: string;
  mtu?: number;
  /** CIDR. */
  addresses: string[];
  gateway?: string;
}): void {
  using host = new NetlinkSocket();
  const namespace = openSync(o.namespacePath, 'r');
  try {
    const mtu = o.mtu === undefined ? [] : [attribute(IFLA.mtu, o.mtu)];
    const peer = Buffer.concat([
      linkHeader(0, 0, 0),
      attribute(IFLA.ifname, o.interfaceName),
      attribute(IFLA.address, macBytes(o.mac)),
      ...mtu,
      attribute(IFLA.netnsFd, namespace),
    ]);
    const payload = Buffer.concat([
      linkHeader(0, IFF_UP, IFF_UP),
      attribute(IFLA.ifname, o.hostName),
      ...mtu,
      attribute(IFLA.master, linkIndex(host, o.bridge)),
      nested(
        IFLA.linkInfo,
        attribute(IFLA_INFO_KIND, 'veth'),
        nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer)),
      ),
    ]);
    host.request('RTM_NEWLINK', RTM.newLink, NLM_F_CREATE | NLM_F_EXCL, payload, o.hostName);
  } finally {
    closeSync(namespace);
  }
  try {
    letReflect(host, o.hostName);
    using inside = socketInside(o.namespacePath);
    const index = linkIndex(inside, o.interfaceName);
    for (const address of o.addresses) assignAddress(inside, index, address);
    linkUp(inside, index);
    linkUp(inside, 1);
    if (o.gateway !== undefined) addDefaultRoute(inside, o.gateway);
  } catch (error) {
    deleteLink(o.hostName);
    throw error;
  }
}

/**
 * Lets a bridge send a frame back out of the port that it came in by (hairpin mode): a container that calls its own published
 * port needs it where br_netfilter rewrites frames on the bridge.
 */
function letReflect(route: NetlinkSocket, port: string): void {
  const header = linkHeader(linkIndex(route, port), 0, 0);
  header.writeUInt8(AF_BRIDGE, 0);
  const mode = nested(NLA_F_NESTED | IFLA.protocolInfo, attribute(IFLA_BRPORT_MODE, Buffer.from([1])));
  route.request('RTM_SETLINK', RTM.setLink, 0, Buffer.concat([header, mode]), port);
}

export function bringLoopbackUp(namespacePath: string): void {
  using inside = socketInside(namespacePath);
  linkUp(inside, 1);
}

/** Makes `gateway` the default route of a namespace, or removes the default route. */
export function replaceDefaultRoute(o: { namespacePath: string; gateway: string | undefined }): void {
  using inside = socketInside(o.namespacePath);
  if (o.gateway !== undefined) {
    addDefaultRoute(inside, o.gateway);
    return;
  }
  try {
    inside.request('RTM_DELROUTE', RTM.delRoute, 0, routeHeader(AF_INET), 'default');
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}

function socketInside(namespacePath: string): NetlinkSocket {
  return inNetworkNamespace(namespacePath, () => new NetlinkSocket());
}

function linkUp(route: NetlinkSocket, index: number): void {
  route.request('RTM_NEWLINK', RTM.newLink, 0, linkHeader(index, IFF_UP, IFF_UP), String(index));
}

function assignAddress(route: NetlinkSocket, index: number, cidr: string): void {
  const payload = addressMessage(index, cidr);
  route.request('RTM_NEWADDR', RTM.newAddress, NLM_F_CREATE | NLM_F_REPLACE, payload, cidr);
}

/** struct ifaddrmsg and the address. */
function addressMessage(index: number, cidr: string): Buffer {
  const [address = '', prefix = '32'] = cidr.split('/');
  const bytes = addressBytes(address);
  const header = Buffer.alloc(8);
  header.writeUInt8(bytes.length === 16 ? AF_INET6 : AF_INET, 0);
  header.writeUInt8(Number(prefix), 1);
  header.writeUInt8(bytes.length === 16 ? IFA_F_NODAD : 0, 2);
  header.writeUInt32LE(index, 4);
  return Buffer.concat([header, attribute(2, bytes), attribute(1, bytes)]);
}

function addDefaultRoute(route: NetlinkSocket, gateway: string): void {
  const bytes = addressBytes(gateway);
  const payload = Buffer.concat([routeHeader(bytes.length === 16 ? AF_INET6 : AF_INET), attribute(5, bytes)]);
  route.request(
    'RTM_NEWROUTE',
    RTM.newRoute,
    NLM_F_CREATE | NLM_F_REPLACE,
    payload,
    `default via ${gateway}`,
  );
}

/** struct rtmsg for a default route of the main table. */
function routeHeader(family: number): Buffer {
  const header = Buffer.alloc(12);
  const [MAIN_TABLE, PROTOCOL_BOOT, SCOPE_UNIVERSE, UNICAST] = [254, 3, 0, 1];
  header.writeUInt8(family, 0);
  header.writeUInt8(MAIN_TABLE, 4);
  header.writeUInt8(PROTOCOL_BOOT, 5);
  header.writeUInt8(SCOPE_UNIVERSE, 6);
  header.writeUInt8(UNICAST, 7);
  return header;
}
