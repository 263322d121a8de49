import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { HttpLoad } from './http-load.ts';

/**
 * Steady HTTP load as a process of its own: `FILE PER_SECOND URL…`. Appends a line of JSON to the file for each interval. URLs that come
 * on standard input, on one line, take the others' place.
 */
const TIMEOUT_MS = 3000;
const INTERVAL_MS = 200;

const [, , file = '', perSecond = '25', ...urls] = process.argv;
const load = new HttpLoad({
  ...{ urls, modes: ['new', 'kept'], perSecond: Number(perSecond) },
  ...{ timeoutMs: TIMEOUT_MS, intervalMs: INTERVAL_MS },
  tell: (interval) => appendFileSync(file, `${JSON.stringify(interval)}\n`),
});
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  load.urls = line.split(' ').filter(Boolean);
});
process.once('SIGTERM', () => {
  load[Symbol.dispose]();
  process.exit(0);
});
