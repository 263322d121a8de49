import { availableParallelism } from 'node:os';
import { cpuRateOf, rateOf, type ScaleResults } from './cluster-simulation.ts';
import type { LeaderScale } from './leader-scale.ts';
import type { Goal } from './report.ts';

const GOAL_RATE = 10_000;
/** What the last tenth's rate has to be of the first's; the measure itself varies by a fifth. */
const KEPT_RATE = 0.7;
/** A change among a thousand times as many tasks may take this much longer. */
const GROWN_CHANGE = 2;

/** For people: tables in Markdown. */
export function scaleReport(results: ScaleResults): string {
  const { nodes, services, deciles, loss, changes, heap, takeoverMs } = results;
  const total = totalOf(results);
  const tenths = deciles.map((decile, at) => [
    `${at * 10} to ${(at + 1) * 10} %`,
    count(decile.placed),
    count(rateOf(decile)),
    count(cpuRateOf(decile)),
    `${decile.longestDecisionMs.toFixed(1)} ms`,
    `${percent(decile.reservedCpus)} / ${percent(decile.reservedMemory)}`,
    count(decile.waiting),
  ]);
  return [
    `${count(nodes)} nodes, ${count(services)} services; the scheduler’s own time, one of ${availableParallelism()} cores`,
    '',
    markdown(
      [
        'filled',
        'placed',
        'tasks/s',
        'by CPU time',
        'longest decision',
        'CPU / memory reserved',
        'left waiting',
      ],
      tenths,
    ),
    '',
    markdown(
      ['', 'tasks', 'tasks/s', 'by CPU time', 'all together'],
      [
        ['all', count(total.placed), count(rateOf(total)), count(cpuRateOf(total)), seconds(total.wallMs)],
        [
          `${loss.nodes} nodes lost`,
          `${count(loss.placed)} of ${count(loss.tasks)}`,
          count(rateOf(loss)),
          count(cpuRateOf(loss)),
          seconds(loss.wallMs),
        ],
        ['a new leader takes over', '', '', '', seconds(takeoverMs)],
      ],
    ),
    '',
    markdown(
      ['one task fails and is placed again, among', 'median', '99 of 100'],
      changes.map(({ tasks, medianMs, p99Ms }) => [
        `${count(tasks)} tasks`,
        `${medianMs.toFixed(3)} ms`,
        `${p99Ms.toFixed(3)} ms`,
      ]),
    ),
    '',
    `Memory: ${mebibytes(heap.schedulerBytes)} for the scheduler, ${mebibytes(heap.viewBytes)} for the view.`,
    '',
    ...scaleGoals(results).map((goal) => `- ${goal.reached ? 'reached' : 'NOT reached'}: ${goal.text}`),
  ].join('\n');
}

/** What the scheduler means to be. */
function scaleGoals(results: ScaleResults): Goal[] {
  const { deciles, changes, nodes } = results;
  const rates = deciles.map(rateOf);
  const cpuRates = deciles.map(cpuRateOf);
  const [first = 0, last = 0] = [cpuRates[0], cpuRates.at(-1)];
  const [small, large] = [changes[0], changes.at(-1)];
  const goals = [
    {
      text: `the scheduler places over ${count(GOAL_RATE)} tasks a second on ${count(nodes)} nodes, in every tenth: ${count(Math.min(...rates))} at least`,
      reached: Math.min(...rates) > GOAL_RATE,
    },
    {
      text: `its rate does not fall as the cluster fills: ${count(first)} a second of CPU time at first, ${count(last)} at last`,
      reached: last >= KEPT_RATE * first,
    },
  ];
  if (small === undefined || large === undefined || small === large) return goals;
  const text = `one change costs the same among ${count(small.tasks)} and ${count(large.tasks)} tasks: ${small.medianMs.toFixed(3)} and ${large.medianMs.toFixed(3)} ms`;
  return [...goals, { text, reached: large.medianMs < GROWN_CHANGE * small.medianMs }];
}

function totalOf({ deciles }: ScaleResults): ScaleResults['deciles'][number] {
  const [first, ...others] = deciles;
  if (first === undefined) throw new Error('nothing was measured');
  return others.reduce(
    (sum, decile) => ({
      ...decile,
      placed: sum.placed + decile.placed,
      wallMs: sum.wallMs + decile.wallMs,
      cpuMs: sum.cpuMs + decile.cpuMs,
    }),
    first,
  );
}

export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]): string =>
    `| ${row.map((text, at) => (at === 0 ? text.padEnd(widths[at] ?? 0) : text.padStart(widths[at] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, at) => (at === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

function count(amount: number): string {
  return Math.round(amount).toLocaleString('en');
}

function percent(part: number): string {
  return `${(part * 100).toFixed(0)} %`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / (1 << 20))} MiB`;
}

/** What the whole leader did, as text. */
export function leaderReport({ nodes, sizes, update, loss, heapMiB }: LeaderScale): string {
  const rows = sizes.map(({ tasks, perSecond, changeMs }) => [
    tasks.toLocaleString('en'),
    Math.round(perSecond).toLocaleString('en'),
    `${changeMs.toFixed(1)} ms`,
  ]);
  return [
    `${nodes.toLocaleString('en')} nodes; from a service to its tasks running, by every controller and the store`,
    '',
    markdown(['tasks that run', 'tasks/s', 'one that fails is replaced in'], rows),
    '',
    `Memory with all of them: ${(heapMiB / 1024).toFixed(1)} GiB of heap.`,
    `A rolling update of ${update.tasks.toLocaleString('en')} tasks: ${update.seconds.toFixed(1)} s.`,
    `${loss.nodes} nodes lost: their ${loss.tasks.toLocaleString('en')} tasks run elsewhere after ${loss.seconds.toFixed(1)} s.`,
  ].join('\n');
}
