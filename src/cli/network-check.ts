import type { ApiClient } from './api-client.ts';
import { formatTable } from './table.ts';

interface CheckedNode {
  NodeID: string;
  Hostname: string;
  Differences: string[];
  Problem: string | null;
}

/** `drover network check`. Gives whether all is as it should be. */
export async function printCheck(
  client: ApiClient,
  o: { format: 'table' | 'json'; heal: boolean },
): Promise<boolean> {
  const nodes = await client.call<CheckedNode[]>('POST', `/cluster/networks/check?heal=${o.heal}`);
  if (o.format === 'json') console.log(JSON.stringify(nodes, undefined, 2));
  else {
    const rows = nodes.flatMap(({ Hostname, Differences, Problem }) => {
      if (Problem !== null) return [[Hostname, `not asked: ${Problem}`]];
      if (Differences.length === 0) return [[Hostname, 'as it should be']];
      return Differences.map((each) => [Hostname, o.heal ? `mended: ${each}` : each]);
    });
    process.stdout.write(formatTable(['NODE', 'NETWORKS'], rows));
  }
  return nodes.every(({ Differences, Problem }) => Problem === null && (o.heal || Differences.length === 0));
}

interface Reasons {
  Hostname: string;
  Reasons: string[];
  Problem: string | null;
}

/** `drover network why`. Gives whether nothing is in the way. */
export async function printWhy(
  client: ApiClient,
  from: string,
  to: string,
  format: 'table' | 'json',
): Promise<boolean> {
  const query = new URLSearchParams({ from, to });
  const nodes = await client.call<Reasons[]>('GET', `/cluster/networks/why?${query}`);
  const isFree = nodes.every(({ Reasons: reasons, Problem }) => reasons.length === 0 && Problem === null);
  if (format === 'json') {
    console.log(JSON.stringify(nodes, undefined, 2));
    return isFree;
  }
  if (isFree) {
    console.log(
      `Nothing is known that keeps ${from} from ${to}; asked on ${nodes.map(({ Hostname }) => Hostname).join(', ')}.`,
    );
    return true;
  }
  const rows = nodes.flatMap(({ Hostname, Reasons: reasons, Problem }) => {
    if (Problem !== null) return [[Hostname, `not asked: ${Problem}`]];
    return reasons.length === 0
      ? [[Hostname, 'nothing in the way']]
      : reasons.map((each) => [Hostname, each]);
  });
  process.stdout.write(formatTable(['NODE', 'BECAUSE'], rows));
  return false;
}
