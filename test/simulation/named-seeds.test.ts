import { test } from 'node:test';
import { runScenario } from './scenario.ts';

/** Seeds that failed once, and what they showed. What they do changes with the simulation; the unit tests keep the cause. */
const SEEDS: readonly (readonly [number, string])[] = [
  [175, 'start-first ended a task that was about to run'],
  [178, 'a place was left empty when the task died that a failed update had left there'],
  [1460, 'a second change in the middle of an update had one task more down than it may'],
  [3718, 'a single writer that is scaled up while it waits for its lost node may start'],
  [
    22,
    'a task that was to start first ran beside the one before when their service had become a single writer',
  ],
  [98, 'a manager that was demoted while it was away, and was back at once, stayed one by its record'],
  [270, 'the only task of a service did not wait for a writer that an older template had in another place'],
  [
    368,
    'the scheduler was faster than what keeps a task waiting that was let run before its service had a single writer',
  ],
];

for (const [seed, showed] of SEEDS) {
  test(`seed ${seed}: ${showed}`, () => runScenario(seed));
}
