import { closeSync, openSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { attribute, attributeText, nested, parseAttributes, RouteSocket } from './netlink.ts';
import { inNetworkNamespace } from './network-namespace.ts';
import { hasCode, SystemCallError } from './system-call-error.ts';

const RTM = {
  newLink: 16,
  delLink: 17,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  getAddress: 22,
  newRoute: 24,
  delRoute: 25,
  getRoute: 26,
};
const NLA_F_NESTED = 0x8000;
const NLM_F_REPLACE = 0x100;
const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;
const IFLA = { address: 1, ifname: 3, mtu: 4, master: 10, protocolInfo: 12, linkInfo: 18, netnsFd: 28 };
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_BRPORT_MODE = 4;
const VETH_INFO_PEER = 1;
const IFF_UP = 1;
const AF_INET = 2;
const AF_BRIDGE = 7;
const AF_INET6 = 10;
const IFA_F_NODAD = 2;
const ENODEV = 19;

/** A network interface (rtnetlink(7), ifinfomsg). */
export interface Link {
  name: string;
  mac: string;
}

/** The interfaces of the current network namespace. */
export function listLinks(): Link[] {
  using route = new RouteSocket();
  return route.dump('RTM_GETLINK', RTM.getLink, linkHeader(0, 0, 0)).map((body) => {
    const attributes = parseAttributes(body, 16);
    return {
      name: attributeText(attributes.get(IFLA.ifname)),
      mac: [...(attributes.get(IFLA.address) ?? [])]
        .map((byte) => byte.toString(16).padStart(2, '0'))
        .join(':'),
    };
  });
}

/**
 * Makes a bridge, down and without an IP address; SystemCallError EEXIST where the name is taken. Without a MAC address it has
 * the lowest one of its ports, which changes as they come and go, and those who know the old one are cut off for a while.
 */
export function createBridge(o: { name: string; mac?: string; mtu?: number }): void {
  using route = new RouteSocket();
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
  using route = new RouteSocket();
  linkUp(route, linkIndex(route, name));
}

/** Deletes an interface; one that is not there is success. */
export function deleteLink(name: string): void {
  using route = new RouteSocket();
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
  using route = new RouteSocket();
  assignAddress(route, linkIndex(route, o.link), o.address);
}

/** The addresses of all interfaces, in CIDR notation. */
export function listAddresses(): string[] {
  using route = new RouteSocket();
  return route.dump('RTM_GETADDR', RTM.getAddress, Buffer.alloc(8)).map((body) => {
    const attributes = parseAttributes(body, 8);
    const bytes = attributes.get(2) ?? attributes.get(1) ?? Buffer.alloc(4);
    return `${formatAddress(bytes)}/${body.readUInt8(1)}`;
  });
}

/** Where the routes of the main table lead, in CIDR notation; the default route is `0.0.0.0/0`. */
export function listRoutes(): string[] {
  using route = new RouteSocket();
  const MAIN_TABLE = 254;
  return route.dump('RTM_GETROUTE', RTM.getRoute, Buffer.alloc(12)).flatMap((body) => {
    if (body.readUInt8(4) !== MAIN_TABLE) return [];
    const attributes = parseAttributes(body, 12);
    const bytes = attributes.get(1) ?? Buffer.alloc(body.readUInt8(0) === AF_INET6 ? 16 : 4);
    return [`${formatAddress(bytes)}/${body.readUInt8(1)}`];
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
  using host = new RouteSocket();
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
function letReflect(route: RouteSocket, port: string): void {
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

function socketInside(namespacePath: string): RouteSocket {
  return inNetworkNamespace(namespacePath, () => new RouteSocket());
}

function linkIndex(route: RouteSocket, name: string): number {
  const payload = Buffer.concat([linkHeader(0, 0, 0), attribute(IFLA.ifname, name)]);
  const [link] = route.request('RTM_GETLINK', RTM.getLink, 0, payload, name);
  if (link === undefined) throw new SystemCallError('RTM_GETLINK', ENODEV, name);
  return link.readInt32LE(4);
}

function linkUp(route: RouteSocket, index: number): void {
  route.request('RTM_NEWLINK', RTM.newLink, 0, linkHeader(index, IFF_UP, IFF_UP), String(index));
}

function assignAddress(route: RouteSocket, index: number, cidr: string): void {
  const [address = '', prefix = '32'] = cidr.split('/');
  const bytes = parseAddress(address);
  const header = Buffer.alloc(8);
  header.writeUInt8(bytes.length === 16 ? AF_INET6 : AF_INET, 0);
  header.writeUInt8(Number(prefix), 1);
  header.writeUInt8(bytes.length === 16 ? IFA_F_NODAD : 0, 2);
  header.writeUInt32LE(index, 4);
  const payload = Buffer.concat([header, attribute(2, bytes), attribute(1, bytes)]);
  route.request('RTM_NEWADDR', RTM.newAddress, NLM_F_CREATE | NLM_F_REPLACE, payload, cidr);
}

function addDefaultRoute(route: RouteSocket, gateway: string): void {
  const bytes = parseAddress(gateway);
  const payload = Buffer.concat([routeHeader(bytes.length === 16 ? AF_INET6 : AF_INET), attribute(5, bytes)]);
  route.request(
    'RTM_NEWROUTE',
    RTM.newRoute,
    NLM_F_CREATE | NLM_F_REPLACE,
    payload,
    `default via ${gateway}`,
  );
}

/** struct ifinfomsg. */
function linkHeader(index: number, flags: number, change: number): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(change, 12);
  return header;
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

function parseAddress(text: string): Buffer {
  if (!isIPv6(text)) return Buffer.from(text.split('.').map(Number));
  const [head = '', tail] = text.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? [] : Array<string>(8 - left.length - right.length).fill('0');
  return Buffer.concat(
    [...left, ...zeros, ...right].map((group) => Buffer.from(group.padStart(4, '0'), 'hex')),
  );
}

function formatAddress(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16));
  return groups.join(':');
}

function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}
