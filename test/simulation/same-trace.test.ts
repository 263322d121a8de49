import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runScenario } from './scenario.ts';

async function traceOf(seed: number): Promise<string[]> {
  const lines: string[] = [];
  await runScenario(seed, (line) => lines.push(line));
  return lines;
}

for (const seed of [3, 5, 44]) {
  test(`seed ${seed} tells the same story each time`, async () => {
    const first = await traceOf(seed);
    const second = await traceOf(seed);
    assert.ok(first.length > 100, `it has ${first.length} lines`);
    // compared by line, for a difference of ten thousand lines says nothing
    const at = first.findIndex((line, i) => line !== second[i]);
    assert.deepEqual([first[at], first.length], [second[at], second.length]);
  });
}
