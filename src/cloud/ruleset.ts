import type { CloudPlace } from './cloud-place.ts';
import type { CloudState } from './cloud-state.ts';

/**
 * Commands in nft's language that replace all rules of a cloud by those that its record asks for. Cuts are made on the bridge, by
 * the host's ends of the cables: they hold for everything that a node sends, and outlast its crash.
 */
export function ruleset({ table, bridge }: CloudPlace, state: CloudState): string {
  const { isolated, links } = state.cuts;
  const port = new Map(state.nodes.map((node) => [node.name, `"${node.port}"`]));
  const single = (one: string, two: string): string =>
    `iifname ${port.get(one) ?? '""'} oifname ${port.get(two) ?? '""'} drop`;
  const rules: Record<string, string[]> = {
    prerouting: isolated.map((name) => `iifname ${port.get(name) ?? '""'} drop`),
    forward: links.flatMap(([one, two]) => [single(one, two), single(two, one)]),
    postrouting: isolated.map((name) => `oifname ${port.get(name) ?? '""'} drop`),
  };
  const chains = Object.entries(rules).flatMap(([hook, lines]) =>
    lines.length === 0
      ? []
      : [`  chain ${hook} {\n    type filter hook ${hook} priority 0;\n    ${lines.join('\n    ')}\n  }`],
  );
  const masquerade = `  chain postrouting {\n    type nat hook postrouting priority 100;\n    ip saddr ${state.subnet} oifname != "${bridge}" masquerade\n  }`;
  return [
    emptied('bridge', table),
    ...(chains.length > 0 ? [`table bridge ${table} {\n${chains.join('\n')}\n}`] : []),
    emptied('ip', table),
    ...(state.internet ? [`table ip ${table} {\n${masquerade}\n}`] : []),
  ].join('\n');
}

/** Takes every rule of a cloud away. */
export function noRuleset({ table }: CloudPlace): string {
  return `${emptied('bridge', table)}\n${emptied('ip', table)}`;
}

/** A table can only be deleted where it is. */
function emptied(family: string, table: string): string {
  return `add table ${family} ${table}\ndelete table ${family} ${table}`;
}
