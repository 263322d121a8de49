import { setTimeout as delay } from 'node:timers/promises';
import type { Engine } from './engines.ts';
import { run, timed, timedTogether } from './process.ts';

export const IMAGE = 'bench-busybox';
const CONTAINERS = 50;
const AT_A_TIME = 8;
/** Ends at once when it is asked to: what is measured is the engine's stop, not the container's. */
const OBEDIENT = ['sh', '-c', 'trap exit TERM; sleep 1000 & wait'];
const SETTLE_MS = 1500;

export type MeasureKey =
  | 'run-none'
  | 'run-bridge'
  | 'parallel'
  | 'stop-remove'
  | 'remove-many'
  | 'load'
  | 'memory-idle'
  | 'memory-container';

export interface Measure {
  key: MeasureKey;
  title: string;
  unit: 'ms' | 'bytes';
}

/** What is measured, in the order of the table. */
export const MEASURES: readonly Measure[] = [
  { key: 'run-none', title: '`run --rm`, no network', unit: 'ms' },
  { key: 'run-bridge', title: '`run --rm`, bridge', unit: 'ms' },
  { key: 'parallel', title: `${CONTAINERS} × \`run -d\`, bridge, ${AT_A_TIME} at a time`, unit: 'ms' },
  { key: 'stop-remove', title: '`stop`, then `rm`', unit: 'ms' },
  { key: 'remove-many', title: `\`rm -f\` of ${CONTAINERS}`, unit: 'ms' },
  { key: 'load', title: '`load` of an image (110 MB, 4,000 files)', unit: 'ms' },
  { key: 'memory-idle', title: 'memory, idle', unit: 'bytes' },
  { key: 'memory-container', title: 'memory per running container', unit: 'bytes' },
];

/** Imports the small image and takes the first run, which is slower than all others, off the books. */
export function prepare(engine: Engine, rootfsArchive: string): void {
  run([...engine.client, 'import', rootfsArchive, IMAGE]);
  run([...engine.client, 'run', '--rm', ...engine.runOptions, IMAGE, 'true']);
}

/** One `run --rm` on a network. */
export function runOnce(engine: Engine, network: 'none' | 'bridge'): number {
  const options = ['--rm', '--network', network, ...engine.runOptions];
  return timed([...engine.client, 'run', ...options, IMAGE, 'echo', 'hi']);
}

export function stopAndRemove(engine: Engine): number {
  const id =
    run([...engine.client, 'run', '-d', ...engine.runOptions, IMAGE, ...OBEDIENT])
      .split('\n')
      .at(-1) ?? '';
  return timed([...engine.client, 'stop', id]) + timed([...engine.client, 'rm', id]);
}

/** Starts many containers, looks at the memory, removes them. */
export async function many(engine: Engine): Promise<[MeasureKey, number][]> {
  await delay(SETTLE_MS);
  const idle = engine.memory();
  const command = [
    ...engine.client,
    'run',
    '-d',
    '--network',
    'bridge',
    ...engine.runOptions,
    IMAGE,
    'sleep',
  ];
  const seconds = Array.from({ length: CONTAINERS }, (_, index) => String(1000 + index));
  const parallel = timedTogether(command, seconds, AT_A_TIME);
  await delay(SETTLE_MS);
  const busy = engine.memory();
  const ids = run([...engine.client, 'ps', '-aq']).split('\n');
  const removed = timed([...engine.client, 'rm', '-f', ...engine.removeOptions, ...ids]);
  return [
    ['parallel', parallel],
    ['remove-many', removed],
    ['memory-idle', idle],
    ['memory-container', (busy - idle) / CONTAINERS],
  ];
}

/** Loads an image that is not there, and removes it again. */
export function load(engine: Engine, archive: string, reference: string): number {
  const taken = timed([...engine.client, 'load', '--input', archive]);
  run([...engine.client, 'rmi', reference]);
  return taken;
}
