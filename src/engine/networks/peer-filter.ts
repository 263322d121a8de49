import { z } from 'zod';
import { Nftables, NftablesError } from '#linux/nftables.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import { encryptedPort } from './encryption-state.ts';

/** VXLAN's network identifier in a UDP packet: after UDP's 8 bytes, 4 of flags. */
const VNI = '@th,96,24';

/**
 * Drops VXLAN packets for the plan's networks that come from no node of theirs: VXLAN itself asks nobody who he is, and whoever
 * reaches the port could put frames on a network. What of encrypted networks came or would leave in plaintext is dropped, whatever the
 * policies of IPsec say: a lock of its own. One table of the host; other programs' VXLAN on the same port is none of its business.
 */
export class PeerFilter implements Disposable {
  readonly #table: string;
  readonly #nftables = new Nftables();
  #programmed: string | undefined;

  constructor(bridge: string) {
    this.#table = `drover_vxlan_${bridge.replace(/[^a-zA-Z0-9_]/g, '_')}`;
  }

  /** Replaces the table in one transaction where it is another; `encrypts` where the node has encrypted networks. */
  program(plan: NetworkPlan, encrypts: boolean): void {
    const wanted = peerFilterOf(this.#table, plan, encrypts);
    if (this.#programmed === wanted) return;
    this.#nftables.run(wanted);
    this.#programmed = wanted;
  }

  /** What the table has that differs from the plan, as sentences. */
  differences(plan: NetworkPlan, encrypts: boolean): string[] {
    if (plan.networks.length === 0) return [];
    const { sources, vnis, rules } = this.#read();
    const wanted = { sources: peerAddresses(plan), vnis: plan.networks.map(({ vni }) => String(vni)) };
    const isSame = (a: readonly string[], b: readonly string[]): boolean =>
      a.toSorted().join() === b.toSorted().join();
    if (rules === (encrypts ? 3 : 1) && isSame(sources, wanted.sources) && isSame(vnis, wanted.vnis))
      return [];
    return ['VXLAN packets are not filtered by the nodes that they may come from'];
  }

  distrust(): void {
    this.#programmed = undefined;
  }

  remove(): void {
    this.#nftables.run(`add table ip ${this.#table}\ndelete table ip ${this.#table}\n`);
    this.#programmed = undefined;
  }

  [Symbol.dispose](): void {
    this.#nftables[Symbol.dispose]();
  }

  #read(): { sources: string[]; vnis: string[]; rules: number } {
    try {
      const { nftables } = listing.parse(this.#nftables.list(`list table ip ${this.#table}`));
      const elements = (name: string): string[] =>
        (nftables.find(({ set }) => set?.name === name)?.set?.elem ?? []).map(String);
      return {
        sources: elements('sources'),
        vnis: elements('vnis'),
        rules: nftables.filter(({ rule }) => rule !== undefined).length,
      };
    } catch (error) {
      if (!(error instanceof NftablesError)) throw error;
      return { sources: [], vnis: [], rules: 0 };
    }
  }
}

const listing = z.object({
  nftables: z.array(
    z.object({
      set: z.object({ name: z.string(), elem: z.array(z.unknown()).optional() }).optional(),
      rule: z.unknown().optional(),
    }),
  ),
});

/** The commands of one transaction that make the table the plan's, or take it away. */
function peerFilterOf(table: string, plan: NetworkPlan, encrypts: boolean): string {
  const gone = `add table ip ${table}\ndelete table ip ${table}\n`;
  if (plan.networks.length === 0) return gone;
  const port = encryptedPort(plan);
  const elements = (list: readonly string[]): string =>
    list.length === 0 ? '' : `elements = { ${list.join(', ')} }; `;
  return `${gone}table ip ${table} {
  set vnis { typeof ${VNI}; ${elements(plan.networks.map(({ vni }) => String(vni)))}}
  set sources { type ipv4_addr; ${elements(peerAddresses(plan))}}
  chain input {
    type filter hook input priority filter; policy accept;
    udp dport ${plan.dataPathPort} ${VNI} @vnis ip saddr != @sources drop
    ${encrypts ? `udp dport ${port} meta ipsec missing drop` : ''}
  }
  chain output {
    type filter hook output priority filter; policy accept;
    ${encrypts ? `udp dport ${port} rt ipsec missing drop` : ''}
  }
}
`;
}

function peerAddresses(plan: NetworkPlan): string[] {
  return [...new Set(plan.networks.flatMap(({ peers }) => peers.map(({ address }) => address)))].sort();
}
