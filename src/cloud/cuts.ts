import { invalid } from '#model/errors.ts';
import type { Cuts } from './cloud-state.ts';

/** The cuts when `node` no longer reaches `others`, or anybody at all where none are named. */
export function withCut(cuts: Cuts, node: string, others: readonly string[]): Cuts {
  if (others.includes(node)) throw invalid(`node ${node} cannot be cut off from itself`);
  if (others.length === 0)
    return { ...cuts, isolated: [...cuts.isolated.filter((name) => name !== node), node] };
  const kept = cuts.links.filter((link) => !others.some((other) => joins(link, node, other)));
  return {
    ...cuts,
    links: [...kept, ...[...new Set(others)].map((other): [string, string] => [node, other])],
  };
}

/** The cuts without those that `node` has a part in, or without any. */
export function withoutCuts(cuts: Cuts, node: string | undefined): Cuts {
  if (node === undefined) return { isolated: [], links: [] };
  return {
    isolated: cuts.isolated.filter((name) => name !== node),
    links: cuts.links.filter((link) => !link.includes(node)),
  };
}

/** Whom a node does not reach: `*` for anybody. */
export function cutFrom(cuts: Cuts, node: string): string[] {
  if (cuts.isolated.includes(node)) return ['*'];
  return cuts.links.flatMap(([one, two]) => (one === node ? [two] : two === node ? [one] : []));
}

function joins([a, b]: readonly [string, string], one: string, two: string): boolean {
  return (a === one && b === two) || (a === two && b === one);
}
