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
const CTA = { original: 1, reply: 2, id: 12, filter: 25 };
const TUPLE = { ip: 1, protocol: 2 };
const IP = { source: 1, destination: 2 };
const PROTOCOL_NUMBER = 1;
const FILTER_ORIGINAL_FLAGS = 1;
const FILTER_BY_PROTOCOL = 1 << 3;

const COUNT = '/proc/sys/net/netfilter/nf_conntrack_count';

/**
 * Forgets where datagrams were translated to addresses that are no longer there, in the current network namespace: to UDP, a sender
 * that goes on from the same port is the same connection for ever, and would be sent there for as long as it goes on. Gives how many.
 * Ten milliseconds, for the kernel looks through the connections of all namespaces; at once where this one has none.
 */
export function forgetDatagramsTo(addresses: ReadonlySet<string>): number {
  if (!existsSync(COUNT) || readFileSync(COUNT, 'utf8').trim() === '0') return 0;
  using netfilter = new NetlinkSocket('netfilter');
  const udpOnly = Buffer.concat([
    header(),
    nested(
      NLA_F_NESTED | CTA.original,
      nested(NLA_F_NESTED | TUPLE.protocol, attribute(PROTOCOL_NUMBER, Buffer.from([UDP]))),
    ),
    nested(NLA_F_NESTED | CTA.filter, attribute(FILTER_ORIGINAL_FLAGS, FILTER_BY_PROTOCOL)),
  ]);
  let forgotten = 0;
  for (const body of netfilter.dump('CTNETLINK_GET', GET, udpOnly)) {
    const attributes = parseAttributes(body, 4);
    const [original, reply, id] = [CTA.original, CTA.reply, CTA.id].map((type) => attributes.get(type));
    if (original === undefined || reply === undefined || id === undefined) continue;
    // A kernel that knows no filter (before 5.8) gives everything.
    const target = addressIn(reply, IP.source);
    if (protocolOf(reply) !== UDP || !addresses.has(target)) continue;
    if (addressIn(original, IP.destination) === target) continue;
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
  return forgotten;
}

/** struct nfgenmsg. */
function header(): Buffer {
  return Buffer.from([AF_INET, 0, 0, 0]);
}

function addressIn(tuple: Buffer, which: number): string {
  const ip = parseAttributes(tuple, 0).get(TUPLE.ip) ?? Buffer.alloc(0);
  return formatAddress(parseAttributes(ip, 0).get(which) ?? Buffer.alloc(4));
}

function protocolOf(tuple: Buffer): number | undefined {
  const protocol = parseAttributes(tuple, 0).get(TUPLE.protocol) ?? Buffer.alloc(0);
  return parseAttributes(protocol, 0).get(PROTOCOL_NUMBER)?.[0];
}
