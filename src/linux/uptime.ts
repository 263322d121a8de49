import { readFileSync } from 'node:fs';

/**
 * Milliseconds since the machine started, also those that it slept (CLOCK_BOOTTIME, proc(5)), in steps of ten. Every process reads the
 * same, and nobody sets it.
 */
export function uptimeMs(): number {
  const [seconds = ''] = readFileSync('/proc/uptime', 'utf8').split(' ');
  return Math.round(Number(seconds) * 1000);
}
