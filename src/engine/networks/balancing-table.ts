import { z } from 'zod';

/** Destinations by key, both as nftables writes them. A key without destinations is refused, not passed on. */
export type Balances = ReadonlyMap<string, readonly string[]>;

/**
 * An nftables table that spreads connections over destinations. Its rules are fixed: they look a key up in the map `balanced`, whose
 * elements lead to a chain a key, and refuse what stays in the set `keys`. A changed chain is for new connections; those that are
 * there go on where they are.
 */
export interface BalancingTable {
  readonly name: string;
  /** nftables' type of a key. */
  readonly keyType: string;
  /** The fixed chains, by name, with their rules. */
  readonly chains: Readonly<Record<string, readonly string[]>>;
  /** Other sets, as declared. */
  readonly sets?: readonly string[];
  /** What a rule has to ask before it can send a key's packets to its destinations. */
  guard(key: string): string;
}

/** The commands that replace the whole table in one transaction. */
export function wholeBalancing(table: BalancingTable, wanted: Balances): string {
  const chains = Object.entries(table.chains).map(
    ([name, rules]) => `chain ${name} {\n${rules.join('\n')}\n}\n`,
  );
  return [
    `add table ip ${table.name}\ndelete table ip ${table.name}\n`,
    `table ip ${table.name} {\n`,
    `set keys { type ${table.keyType}; }\nmap balanced { type ${table.keyType} : verdict; }\n`,
    ...(table.sets ?? []).map((set) => `${set}\n`),
    ...chains,
    '}\n',
    ...[...wanted].map(([key, destinations]) => added(table, key, destinations)),
  ].join('');
}

/** The commands of one transaction that make `programmed` the wanted balances; empty where they are. */
export function balancingChanges(table: BalancingTable, programmed: Balances, wanted: Balances): string {
  const commands: string[] = [];
  for (const [key, destinations] of wanted) {
    const old = programmed.get(key);
    if (old === undefined) commands.push(added(table, key, destinations));
    else if (old.join() !== destinations.join()) commands.push(changed(table, key, old, destinations));
  }
  for (const [key, old] of programmed) {
    if (wanted.has(key)) continue;
    if (old.length > 0) commands.push(emptied(table, key));
    commands.push(`delete element ip ${table.name} keys { ${key} }\n`);
  }
  return commands.join('');
}

/** What is programmed but not wanted, and the other way round, as sentences; `name` says what a key is. */
export function balancingDifferences(
  programmed: Balances | undefined,
  wanted: Balances,
  name: (key: string) => string,
): string[] {
  if (programmed === undefined) return ['the table is missing, or its rules were changed'];
  const found: string[] = [];
  for (const [key, destinations] of wanted) {
    const old = programmed.get(key);
    if (old?.join() === destinations.join()) continue;
    found.push(`${name(key)} leads to ${words(old ?? [])}, not to ${words(destinations)}`);
  }
  for (const key of programmed.keys()) if (!wanted.has(key)) found.push(`${name(key)} should not be there`);
  return found;
}

const listing = z.object({
  nftables: z.array(
    z.object({
      chain: z.object({ name: z.string() }).optional(),
      rule: z.object({ chain: z.string(), expr: z.array(z.unknown()) }).optional(),
      set: z.object({ name: z.string(), elem: z.array(z.unknown()).optional() }).optional(),
      map: z.object({ name: z.string(), elem: z.array(z.unknown()).optional() }).optional(),
    }),
  ),
});
const balancedElement = z.tuple([z.unknown(), z.object({ goto: z.object({ target: z.string() }) })]);
const balancingRule = z.object({
  dnat: z.object({
    addr: z.object({
      map: z.object({ data: z.object({ set: z.array(z.tuple([z.number(), z.unknown()])) }) }),
    }),
  }),
});

/** Reads `list table` (JSON) back; undefined where the fixed chains are not as they were made. */
export function readBalances(table: BalancingTable, json: unknown): Balances | undefined {
  const entries = listing.parse(json).nftables;
  const rules = entries.flatMap(({ rule }) => (rule === undefined ? [] : [rule]));
  for (const [chain, own] of Object.entries(table.chains)) {
    if (rules.filter((rule) => rule.chain === chain).length !== own.length) return undefined;
  }
  const destinations = new Map<string, string[]>();
  for (const { chain, expr } of rules) {
    const parsed = balancingRule.safeParse(expr.at(-1));
    if (parsed.success)
      destinations.set(
        chain,
        parsed.data.dnat.addr.map.data.set.map(([, value]) => textOf(value)),
      );
  }
  const keys = entries.find(({ set }) => set?.name === 'keys')?.set?.elem ?? [];
  const balanced = new Map<string, string>();
  for (const element of entries.find(({ map }) => map?.name === 'balanced')?.map?.elem ?? []) {
    const parsed = balancedElement.safeParse(element);
    if (parsed.success) balanced.set(textOf(parsed.data[0]), parsed.data[1].goto.target);
  }
  const known = new Set([...keys.map(textOf), ...balanced.keys()]);
  return new Map([...known].map((key) => [key, destinations.get(balanced.get(key) ?? '') ?? []]));
}

function added(table: BalancingTable, key: string, destinations: readonly string[]): string {
  return `add element ip ${table.name} keys { ${key} }\n${filled(table, key, destinations)}`;
}

function changed(
  table: BalancingTable,
  key: string,
  old: readonly string[],
  wanted: readonly string[],
): string {
  return wanted.length === 0 && old.length > 0 ? emptied(table, key) : filled(table, key, wanted);
}

function filled(table: BalancingTable, key: string, destinations: readonly string[]): string {
  if (destinations.length === 0) return '';
  const chain = `ip ${table.name} ${chainOf(key)}`;
  const elements = destinations.map((destination, index) => `${index} : ${destination}`).join(', ');
  const spread = `dnat ip to numgen random mod ${destinations.length} map { ${elements} }`;
  return [
    `add chain ${chain}\nflush chain ${chain}\n`,
    `add rule ${chain} ${table.guard(key)} ${spread}\n`,
    `add element ip ${table.name} balanced { ${key} : goto ${chainOf(key)} }\n`,
  ].join('');
}

function emptied(table: BalancingTable, key: string): string {
  const chain = `ip ${table.name} ${chainOf(key)}`;
  return `delete element ip ${table.name} balanced { ${key} }\nflush chain ${chain}\ndelete chain ${chain}\n`;
}

function chainOf(key: string): string {
  return `to_${key.replace(/[^0-9a-z]+/g, '_')}`;
}

const concatenation = z.object({ concat: z.array(z.union([z.string(), z.number()])) });

/** An element as it is written in a command. */
function textOf(value: unknown): string {
  const parsed = concatenation.safeParse(value);
  return parsed.success ? parsed.data.concat.join(' . ') : String(value);
}

function words(destinations: readonly string[]): string {
  return destinations.length === 0 ? 'nothing' : destinations.join(', ').replaceAll(' . ', ':');
}
