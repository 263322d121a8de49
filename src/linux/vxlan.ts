import {
  addressBytes,
  formatAddress,
  IFF_UP,
  IFLA,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  linkHeader,
  linkIndex,
  NLM_F_CREATE,
  NLM_F_EXCL,
  RTM,
} from './link-messages.ts';
import { attribute, attributeText, NetlinkSocket, nested, parseAttributes } from './netlink.ts';

const IFLA_VXLAN = { id: 1, local: 4, learning: 7, proxy: 11, port: 15 };

/** A VXLAN device (RFC 7348) as the kernel has it. */
export interface Vxlan {
  readonly name: string;
  readonly index: number;
  /** VXLAN network identifier, 24 bits. */
  readonly vni: number;
  /** The IPv4 address that packets are sent from; empty where the kernel chooses. */
  readonly local: string;
  /** UDP. */
  readonly port: number;
  readonly mtu: number;
  readonly up: boolean;
  /** Index of the bridge it is a port of, or 0. */
  readonly masterIndex: number;
}

/**
 * Makes a VXLAN device that learns nothing by itself, up and on a bridge: where packets go is in its forwarding database, and
 * it answers ARP from its neighbours. SystemCallError EEXIST where the name is taken or another device has the same VNI and port.
 */
export function createVxlan(o: {
  name: string;
  vni: number;
  local: string;
  port: number;
  mtu: number;
  bridge: string;
}): void {
  using route = new NetlinkSocket();
  const port = Buffer.alloc(2);
  port.writeUInt16BE(o.port, 0);
  const payload = Buffer.concat([
    linkHeader(0, IFF_UP, IFF_UP),
    attribute(IFLA.ifname, o.name),
    attribute(IFLA.mtu, o.mtu),
    attribute(IFLA.master, linkIndex(route, o.bridge)),
    nested(
      IFLA.linkInfo,
      attribute(IFLA_INFO_KIND, 'vxlan'),
      nested(
        IFLA_INFO_DATA,
        attribute(IFLA_VXLAN.id, o.vni),
        attribute(IFLA_VXLAN.local, addressBytes(o.local)),
        attribute(IFLA_VXLAN.learning, Buffer.from([0])),
        attribute(IFLA_VXLAN.proxy, Buffer.from([1])),
        attribute(IFLA_VXLAN.port, port),
      ),
    ),
  ]);
  route.request('RTM_NEWLINK', RTM.newLink, NLM_F_CREATE | NLM_F_EXCL, payload, `${o.name} (VNI ${o.vni})`);
}

/** The VXLAN devices of the current network namespace, whoever made them. */
export function listVxlans(): Vxlan[] {
  using route = new NetlinkSocket();
  return route.dump('RTM_GETLINK', RTM.getLink, linkHeader(0, 0, 0)).flatMap((body) => {
    const attributes = parseAttributes(body, 16);
    const info = parseAttributes(attributes.get(IFLA.linkInfo) ?? Buffer.alloc(0), 0);
    if (attributeText(info.get(IFLA_INFO_KIND)) !== 'vxlan') return [];
    const data = parseAttributes(info.get(IFLA_INFO_DATA) ?? Buffer.alloc(0), 0);
    const local = data.get(IFLA_VXLAN.local);
    return [
      {
        name: attributeText(attributes.get(IFLA.ifname)),
        index: body.readInt32LE(4),
        vni: data.get(IFLA_VXLAN.id)?.readUInt32LE(0) ?? 0,
        local: local === undefined ? '' : formatAddress(local),
        port: data.get(IFLA_VXLAN.port)?.readUInt16BE(0) ?? 0,
        mtu: attributes.get(IFLA.mtu)?.readUInt32LE(0) ?? 0,
        up: (body.readUInt32LE(8) & IFF_UP) !== 0,
        masterIndex: attributes.get(IFLA.master)?.readUInt32LE(0) ?? 0,
      },
    ];
  });
}
