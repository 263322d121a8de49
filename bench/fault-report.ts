import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg, release } from 'node:os';
import { join } from 'node:path';
import type { Fault, Outcome } from './fault-list.ts';

const README = join(import.meta.dirname, '..', 'README.md');

/** One fault, struck once. */
export interface FaultResult extends Outcome {
  readonly name: string;
  readonly title: string;
  /** When the fault was struck, in ISO 8601: what the daemons' logs go by. */
  readonly beganAt: string;
  readonly goal: NonNullable<Fault['goal']>;
  readonly failedPorts: number;
  readonly requestsPorts: number;
  readonly failedVip: number;
  readonly requestsVip: number;
  /** Sent again on another connection, since a server ended a kept one in that moment. */
  readonly repeated: number;
  /** Names that the client was not answered. */
  readonly unresolved: number;
  /** When the last request was sent that failed, in milliseconds since the fault was struck; 0 where none did. */
  readonly lastFailureMs: number;
  /** What failed, how often, where and in which second. */
  readonly reasons: readonly string[];
  /** Of the goals. */
  readonly missed: readonly string[];
}

/** A cluster that serves and that nobody changes. */
export interface IdleResult {
  readonly seconds: number;
  /** Revisions of the store. */
  readonly writes: number;
  /** Proportional set size. */
  readonly daemons: readonly { readonly name: string; readonly bytes: number }[];
}

/** A Markdown table, a row a fault. */
export function faultTable(results: readonly FaultResult[]): string {
  const rows = results.map((result) => [
    result.title,
    `${result.failedPorts} of ${result.requestsPorts}`,
    `${result.failedVip} of ${result.requestsVip}`,
    `${result.unresolved}`,
    result.detectedMs === undefined ? '–' : seconds(result.detectedMs),
    seconds(Math.max(result.recoveredMs, result.lastFailureMs)),
    goalOf(result),
    [result.note ?? '', ...result.missed.map((what) => `**missed: ${what}**`)].filter(Boolean).join('; '),
  ]);
  const head = [
    'fault',
    'failed at published ports',
    'at a virtual IP',
    'names',
    'detected',
    'recovered',
    'goal',
    '',
  ];
  return markdown([head, ...rows]);
}

export function idleTable(idle: IdleResult): string {
  const bytes = idle.daemons.map((daemon) => daemon.bytes).toSorted((a, b) => a - b);
  const middle = bytes[Math.floor(bytes.length / 2)] ?? 0;
  const sum = bytes.reduce((all, one) => all + one, 0);
  return `An idle cluster of ${bytes.length} nodes wrote ${idle.writes} times to its store in ${idle.seconds} s; memory of the daemons: ${mebibytes(middle)} (median), ${mebibytes(sum)} in all.`;
}

/** Puts the results between their markers: those of the faults where any was struck, else what an idle cluster costs. */
export function writeReadme(results: readonly FaultResult[], idle: IdleResult | undefined): void {
  if (results.length > 0) replacePart('bench-faults', [faultTable(results), machine()]);
  else if (idle !== undefined) replacePart('bench-idle', [idleTable(idle)]);
}

function replacePart(name: string, paragraphs: readonly string[]): void {
  const text = `<!-- ${name} -->\n\n${paragraphs.join('\n\n')}\n\n<!-- /${name} -->`;
  const readme = readFileSync(README, 'utf8');
  const [before, rest = ''] = readme.split(`<!-- ${name} -->`, 2);
  const [, after] = rest.split(`<!-- /${name} -->`, 2);
  if (after === undefined) throw new Error(`README.md has no place for ${name}`);
  writeFileSync(README, `${before}${text}${after}`);
}

/** Times are those of a machine that had this much else to do. */
function machine(): string {
  const [, , load = 0] = loadavg();
  return `${availableParallelism()} cores with a load average of ${load.toFixed(0)}, Linux ${release().replace(/-.*/, '')}.`;
}

function goalOf({ goal }: FaultResult): string {
  const parts = [
    ...(goal.failed === undefined ? [] : ['none lost']),
    ...(goal.recoveredMs === undefined ? [] : [`under ${goal.recoveredMs / 1000} s`]),
  ];
  return parts.join(', ');
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}

function seconds(ms: number): string {
  return Number.isFinite(ms) ? `${(ms / 1000).toFixed(2)} s` : 'never';
}

function markdown([head = [], ...body]: readonly (readonly string[])[]): string {
  const widths = head.map((_, at) => Math.max(...[head, ...body].map((row) => row[at]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((text, at) => text.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  return [line(head), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...body.map(line)].join(
    '\n',
  );
}
