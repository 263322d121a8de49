import type { ProgressLine } from '#model/image.ts';

/** A terminal shows no more than this of a transfer. */
const INTERVAL_MS = 100;
const BAR = 50;

/** Tells Docker's clients how transfers get on: lines by the short name of each. */
export class TransferProgress {
  readonly #report: (line: ProgressLine) => void;
  readonly #last = new Map<string, number>();

  constructor(report: (line: ProgressLine) => void) {
    this.#report = report;
  }

  say(status: string): void {
    this.#report({ status });
  }

  state(id: string, status: string): void {
    this.#report({ status, progressDetail: {}, id });
  }

  /** A part of `total` bytes is done; said at most ten times a second for each `id`. */
  part(id: string, status: string, current: number, total: number): void {
    const now = performance.now();
    if (now - (this.#last.get(id) ?? Number.NEGATIVE_INFINITY) < INTERVAL_MS && current < total) return;
    this.#last.set(id, now);
    this.#report({
      status,
      progressDetail: { current, total },
      progress: progressBar(current, total),
      id,
    });
  }

  aux(value: object): void {
    this.#report({ progressDetail: {}, aux: value });
  }
}

/** How Docker names a layer in its progress. */
export function shortDigest(digest: string): string {
  return digest.replace(/^sha256:/, '').slice(0, 12);
}

function progressBar(current: number, total: number): string {
  const share = total <= 0 ? 1 : Math.min(1, current / total);
  const filled = Math.floor(share * BAR);
  const bar = `${'='.repeat(filled)}>${' '.repeat(BAR - filled)}`.slice(0, BAR + 1);
  return `[${bar}]  ${humanBytes(current)}/${humanBytes(total)}`;
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** Four significant digits at most, in powers of a thousand, as Docker prints them. */
export function humanBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${Number(value.toPrecision(4))}${UNITS[unit] ?? ''}`;
}
