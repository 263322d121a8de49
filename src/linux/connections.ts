import { existsSync, readFileSync } from 'node:fs';
import { formatAddress } from './link-messages.ts';
import { attribute, NetlinkSocket, nested, parseAttributes } from './netlink.ts';
import { hasCode } from './system-call-error.ts';

const CONNTRACK = 1 << 8;
const GET = CONNTRACK | 1;
const DELETE = CONNTRACK | 2;
const NLA_F_NESTED = 0x8000;
const AF_INET = 2;
const UDP = 17;
const CTA = { original: 1, reply: 2, status: 3, id: 12, filter: 25 };
const TUPLE = { ip: 1, protocol: 2 };
const IP = { source: 1, destination: 2 };
const PROTOCOL_NUMBER = 1;
/** IPS_SEEN_REPLY */
const ANSWERED = 1 << 1;
const FILTER_REPLY_FLAGS = 2;
const FILTER_BY_SOURCE = 1 << 0;

const COUNT = '/proc/sys/net/netfilter/nf_conntrack_count';
/** So many connections are read here in the ten milliseconds that the kernel takes to pick out those of one address. */
const READ_MEANWHILE = 2000;

/** Addresses that new connections are not led to any more. */
export interface LeftAddresses {
  /** Nobody is there, or somebody else. */
  readonly gone: ReadonlySet<string>;
  /** Those of them where somebody else is. */
  readonly inUse: ReadonlySet<string>;
  /** Who is there keeps the connections it has. */
  readonly draining: ReadonlySet<string>;
}

/**
 * Forgets what was translated to addresses that are left, in the current network namespace. To UDP, a sender that goes on
 * from the same port is the same connection for ever. To TCP, a client that comes again from a port of which a connection was
 * never answered, or never ended, would be led to where that went, for minutes or days; but where an address is in use,
 * only the TCP connections that nobody has answered are forgotten. Gives how many.
 * Ten milliseconds, for the kernel looks through the connections of all namespaces; at once where this one has none.
 */
export function forgetConnectionsTo({ gone, inUse, draining }: LeftAddresses): number {
  const addresses = gone.union(draining);
  const count = existsSync(COUNT) ? Number(readFileSync(COUNT, 'utf8')) : 0;
  if (count === 0) return 0;
  using netfilter = new NetlinkSocket('netfilter');
  let forgotten = 0;
  for (const filter of count > READ_MEANWHILE * addresses.size
    ? [...addresses].map(fromAddress)
    : [header()]) {
    for (const body of netfilter.dump('CTNETLINK_GET', GET, filter)) {
      const attributes = parseAttributes(body, 4);
      const [original, reply, id] = [CTA.original, CTA.reply, CTA.id].map((type) => attributes.get(type));
      if (original === undefined || reply === undefined || id === undefined) continue;
      // A kernel that knows no filter (before 5.8) gives everything.
      const target = addressIn(reply, IP.source);
      if (!addresses.has(target) || addressIn(original, IP.destination) === target) continue;
      const isUdp = protocolOf(reply) === UDP;
      const isAnswered = (statusIn(attributes) & ANSWERED) !== 0;
      const isKept = gone.has(target) ? !isUdp && inUse.has(target) && isAnswered : isUdp || isAnswered;
      if (isKept) continue;
      try {
        const payload = Buffer.concat([
          header(),
          attribute(NLA_F_NESTED | CTA.original, original),
          attribute(CTA.id, id),
        ]);
        netfilter.request('CTNETLINK_DELETE', DELETE, 0, payload, target);
        forgotten += 1;
      } catch (error) {
        // It has ended by itself meanwhile.
        if (!hasCode(error, 'ENOENT')) throw error;
      }
    }
  }
  return forgotten;
}

/** Asks for the connections alone that are answered from an address. */
function fromAddress(address: string): Buffer {
  const source = attribute(IP.source, Buffer.from(address.split('.').map(Number)));
  return Buffer.concat([
    header(),
    nested(NLA_F_NESTED | CTA.reply, nested(NLA_F_NESTED | TUPLE.ip, source)),
    nested(NLA_F_NESTED | CTA.filter, attribute(FILTER_REPLY_FLAGS, FILTER_BY_SOURCE)),
  ]);
}

/** struct nfgenmsg. */
function header(): Buffer {
  return Buffer.from([AF_INET, 0, 0, 0]);
}

function statusIn(attributes: ReadonlyMap<number, Buffer>): number {
  return attributes.get(CTA.status)?.readUInt32BE(0) ?? ANSWERED;
}

function addressIn(tuple: Buffer, which: number): string {
  const ip = parseAttributes(tuple, 0).get(TUPLE.ip) ?? Buffer.alloc(0);
  return formatAddress(parseAttributes(ip, 0).get(which) ?? Buffer.alloc(4));
}

function protocolOf(tuple: Buffer): number | undefined {
  const protocol = parseAttributes(tuple, 0).get(TUPLE.protocol) ?? Buffer.alloc(0);
  return parseAttributes(protocol, 0).get(PROTOCOL_NUMBER)?.[0];
}
