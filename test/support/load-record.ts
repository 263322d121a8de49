import { readFileSync } from 'node:fs';
import { hasCode } from '#linux/system-call-error.ts';
import type { LoadFailure, LoadInterval } from './http-load.ts';

/** What a load was answered in a stretch of time. */
export interface LoadCount {
  /** All requests, those that failed included. */
  readonly requests: number;
  readonly repeated: number;
  readonly unresolved: number;
  readonly failures: readonly LoadFailure[];
}

/** Reads what a load has written so far. */
export function readLoad(file: string): LoadInterval[] {
  try {
    const whole = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    return whole.map((line): LoadInterval => JSON.parse(line));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

/** What was sent from `fromMs` on, and before `toMs`; milliseconds since 1970. */
export function countLoad(intervals: readonly LoadInterval[], fromMs: number, toMs: number): LoadCount {
  const inside = intervals.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
  const failures = intervals
    .flatMap((interval) => interval.failures)
    .filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
  const sum = (count: (interval: LoadInterval) => number): number =>
    inside.reduce((total, interval) => total + count(interval), 0);
  return {
    requests: sum(({ answered }) => answered) + failures.length,
    repeated: sum(({ repeated }) => repeated),
    unresolved: sum(({ unresolved }) => unresolved),
    failures,
  };
}
