import {
  addressBytes,
  formatAddress,
  formatMac,
  linkHeader,
  linkIndex,
  macBytes,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_REPLACE,
  RTM,
} from './link-messages.ts';
import { attribute, NetlinkSocket, parseAttributes } from './netlink.ts';
import { hasCode } from './system-call-error.ts';

const AF_INET = 2;
const AF_BRIDGE = 7;
const NDA = { destination: 1, linkAddress: 2 };
const NTF_SELF = 2;
const NUD_PERMANENT = 0x80;
const NUD_NOARP = 0x40;

/** The MAC address of everything that has no entry of its own, broadcasts too. */
export const EVERY_OTHER = '00:00:00:00:00:00';

/** Where a VXLAN device sends frames to a MAC address. */
export interface ForwardingEntry {
  readonly mac: string;
  /** IPv4, of the node. */
  readonly address: string;
}

/** Which MAC address an IPv4 address has on an interface (arp(7)). */
export interface Neighbour {
  readonly address: string;
  readonly mac: string;
}

/** What is known for good on one interface: a VXLAN device's forwarding database, and neighbours. Synchronous. */
export class NeighbourTable implements Disposable {
  readonly #route = new NetlinkSocket();
  readonly #index: number;

  /** SystemCallError ENODEV where there is no such interface. */
  constructor(link: string) {
    try {
      this.#index = linkIndex(this.#route, link);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  forwarding(): ForwardingEntry[] {
    const header = linkHeader(this.#index, 0, 0);
    header.writeUInt8(AF_BRIDGE, 0);
    return this.#route.dump('RTM_GETNEIGH', RTM.getNeighbour, header).flatMap((body) => {
      const attributes = parseAttributes(body, 12);
      const destination = attributes.get(NDA.destination);
      if (body.readInt32LE(4) !== this.#index || destination === undefined) return [];
      return [{ mac: formatMac(attributes.get(NDA.linkAddress)), address: formatAddress(destination) }];
    });
  }

  /** Takes the place of an entry of the same MAC address; of {@link EVERY_OTHER} there are as many as there are nodes. */
  addForwarding(entry: ForwardingEntry): void {
    const flags = NLM_F_CREATE | (entry.mac === EVERY_OTHER ? NLM_F_APPEND : NLM_F_REPLACE);
    try {
      this.#route.request('RTM_NEWNEIGH', RTM.newNeighbour, flags, this.#forwardingMessage(entry), entry.mac);
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
    }
  }

  /** One that is not there is success. */
  removeForwarding(entry: ForwardingEntry): void {
    try {
      this.#route.request('RTM_DELNEIGH', RTM.delNeighbour, 0, this.#forwardingMessage(entry), entry.mac);
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
    }
  }

  neighbours(): Neighbour[] {
    const header = Buffer.alloc(12);
    header.writeUInt8(AF_INET, 0);
    return this.#route.dump('RTM_GETNEIGH', RTM.getNeighbour, header).flatMap((body) => {
      const attributes = parseAttributes(body, 12);
      const address = attributes.get(NDA.destination);
      const isPermanent = (body.readUInt16LE(8) & NUD_PERMANENT) !== 0;
      if (body.readInt32LE(4) !== this.#index || address === undefined || !isPermanent) return [];
      return [{ address: formatAddress(address), mac: formatMac(attributes.get(NDA.linkAddress)) }];
    });
  }

  /** Takes the place of what was known of the address. */
  addNeighbour({ address, mac }: Neighbour): void {
    const payload = Buffer.concat([
      this.#header(AF_INET, NUD_PERMANENT, 0),
      attribute(NDA.destination, addressBytes(address)),
      attribute(NDA.linkAddress, macBytes(mac)),
    ]);
    this.#route.request('RTM_NEWNEIGH', RTM.newNeighbour, NLM_F_CREATE | NLM_F_REPLACE, payload, address);
  }

  /** One that is not there is success. */
  removeNeighbour(address: string): void {
    const payload = Buffer.concat([
      this.#header(AF_INET, 0, 0),
      attribute(NDA.destination, addressBytes(address)),
    ]);
    try {
      this.#route.request('RTM_DELNEIGH', RTM.delNeighbour, 0, payload, address);
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#route[Symbol.dispose]();
  }

  #forwardingMessage({ mac, address }: ForwardingEntry): Buffer {
    return Buffer.concat([
      this.#header(AF_BRIDGE, NUD_PERMANENT | NUD_NOARP, NTF_SELF),
      attribute(NDA.destination, addressBytes(address)),
      attribute(NDA.linkAddress, macBytes(mac)),
    ]);
  }

  /** struct ndmsg. */
  #header(family: number, state: number, flags: number): Buffer {
    const header = Buffer.alloc(12);
    header.writeUInt8(family, 0);
    header.writeInt32LE(this.#index, 4);
    header.writeUInt16LE(state, 8);
    header.writeUInt8(flags, 10);
    return header;
  }
}
