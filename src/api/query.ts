import { invalid } from '#model/errors.ts';

/** Docker's reading of a boolean in a query: absent, empty, `0`, `no`, `false` and `none` are false. */
export function booleanOf(query: URLSearchParams, name: string, fallback = false): boolean {
  const value = query.get(name);
  if (value === null) return fallback;
  return !['', '0', 'no', 'false', 'none'].includes(value.trim().toLowerCase());
}

/** A whole number, or undefined when it is absent or empty; `invalid` names the parameter otherwise. */
export function integerOf(query: URLSearchParams, name: string): number | undefined {
  const value = query.get(name);
  if (value === null || value === '') return undefined;
  if (!/^[+-]?\d{1,15}$/.test(value))
    throw invalid(`invalid value "${value}" for ${name}: not a whole number`);
  return Number(value);
}

/** The version of a cluster's object that a client read, which every update of one has to say. */
export function versionOf(query: URLSearchParams, what: string): number {
  const value = query.get('version') ?? '';
  if (!/^\d{1,15}$/.test(value)) throw invalid(`invalid ${what} version '${value}'`);
  return Number(value);
}

/**
 * A moment in nanoseconds since the epoch, from seconds with up to nine digits of fraction.
 * Absent, empty and `0` are undefined: "from the beginning" and "without an end" to every caller.
 */
export function nanosecondsOf(query: URLSearchParams, name: string): bigint | undefined {
  const value = query.get(name);
  if (value === null || value === '') return undefined;
  const match = /^(-?\d{1,15})(?:\.(\d{1,9})\d*)?$/.exec(value);
  if (match !== null) {
    const [, seconds = '0', fraction = ''] = match;
    const nanoseconds = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'));
    return nanoseconds === 0n ? undefined : nanoseconds;
  }
  const time = Date.parse(value);
  if (Number.isNaN(time)) throw invalid(`invalid value for "${name}": ${value}`);
  return BigInt(time) * 1_000_000n;
}
