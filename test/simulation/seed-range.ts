import { test } from 'node:test';
import { runScenario } from './scenario.ts';

/** So many seeds are one test: what is told of each other than its failure nobody reads. */
const TOGETHER = 25;

/** Tests of the seeds from `first` to `last`. A failure names its seed: `npm run simulate -- --seed N` shows how it came to it. */
export function testSeeds(first: number, last: number): void {
  for (let from = first; from <= last; from += TOGETHER) {
    const to = Math.min(last, from + TOGETHER - 1);
    test(`a cluster in trouble, seeds ${from} to ${to}`, async () => {
      for (let seed = from; seed <= to; seed++) await runSeed(seed);
    });
  }
}

async function runSeed(seed: number): Promise<void> {
  try {
    await runScenario(seed);
  } catch (cause) {
    const what = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`seed ${seed}: ${what} (npm run simulate -- --seed ${seed})`, { cause });
  }
}
