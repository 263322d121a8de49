import { MEASURES, type MeasureKey } from './measures.ts';

/** All samples of a run: by measure, then by engine. */
export type Results = Map<MeasureKey, Map<string, number[]>>;

export interface Goal {
  text: string;
  reached: boolean;
}

export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const high = sorted[Math.floor(middle)] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** A Markdown table of medians; behind each of the others' what it is of Drover's. */
export function table(results: Results, columns: readonly string[]): string {
  const rows = [['', ...columns]];
  for (const { key, title, unit } of MEASURES) {
    const byEngine = results.get(key);
    if (byEngine === undefined) continue;
    const own = byEngine.get(columns[0] ?? '');
    const cells = columns.map((name, index) => cell(byEngine.get(name), unit, index === 0 ? undefined : own));
    rows.push([title, ...cells]);
  }
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((text, at) => (at === 0 ? text.padEnd(widths[at] ?? 0) : text.padStart(widths[at] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, at) => (at === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  const [head = [], ...body] = rows;
  return [line(head), rule, ...body.map(line)].join('\n');
}

function cell(
  samples: readonly number[] | undefined,
  unit: 'ms' | 'bytes',
  own: readonly number[] | undefined,
): string {
  if (samples === undefined) return '–';
  const value = median(samples);
  const text = unit === 'ms' ? milliseconds(value) : megabytes(value);
  return own === undefined ? text : `${text} (${(value / median(own)).toFixed(1)}×)`;
}

function milliseconds(value: number): string {
  return value < 1000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(2)} s`;
}

function megabytes(value: number): string {
  return `${(value / (1 << 20)).toFixed(1)} MiB`;
}

/** What Drover means to be, against dockerd measured in the same run; none where dockerd was not measured. */
export function goals(results: Results): Goal[] {
  const ratio = (key: MeasureKey): number | undefined => {
    const [theirs, own] = [results.get(key)?.get('dockerd'), results.get(key)?.get('drover')];
    return theirs === undefined || own === undefined ? undefined : median(theirs) / median(own);
  };
  const wanted: [MeasureKey, number, string][] = [
    ['run-bridge', 5, '`run --rm` on a bridge takes at most a fifth of dockerd’s time'],
    ['parallel', 5, 'parallel starts are at least five times as fast as dockerd’s'],
    ['memory-idle', 1, 'the idle daemon takes less memory than dockerd and containerd'],
    ['memory-container', 4, 'a running container takes at most a quarter of dockerd’s memory'],
  ];
  return wanted.flatMap(([key, least, text]) => {
    const reached = ratio(key);
    return reached === undefined
      ? []
      : [{ text: `${text}: ${reached.toFixed(1)}×`, reached: reached >= least }];
  });
}
