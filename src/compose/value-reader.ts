import { invalid } from '#model/errors.ts';
import { parseSize } from './byte-text.ts';
import type { ComposeValue } from './compose-file.ts';

/** Reads a value as what a key takes; what it is not is an `invalid` error with its place. */
export function text(value: ComposeValue): string {
  if (value.kind !== 'scalar' || value.value === null) throw invalid(`${value.place}: must be a string`);
  return String(value.value);
}

/** One of a few words. */
export function oneOf<T extends string>(value: ComposeValue, words: readonly T[]): T {
  const written = text(value);
  const word = words.find((each) => each === written);
  if (word === undefined) throw invalid(`${value.place}: must be one of ${words.join(', ')}`);
  return word;
}

export function integer(value: ComposeValue): number {
  const number = Number(text(value));
  if (!Number.isSafeInteger(number)) throw invalid(`${value.place}: must be a whole number`);
  return number;
}

export function boolean(value: ComposeValue): boolean {
  const word = text(value).toLowerCase();
  if (word !== 'true' && word !== 'false') throw invalid(`${value.place}: must be true or false`);
  return word === 'true';
}

export function list(value: ComposeValue): ComposeValue[] {
  if (value.kind !== 'list') throw invalid(`${value.place}: must be a list`);
  return value.items;
}

export function texts(value: ComposeValue): string[] {
  return value.kind === 'scalar' ? [text(value)] : list(value).map(text);
}

export function map(value: ComposeValue): Map<string, ComposeValue> {
  if (value.kind === 'scalar' && value.value === null) return new Map();
  if (value.kind !== 'map') throw invalid(`${value.place}: must be a mapping`);
  return value.entries;
}

/** `NAME: value` or `- NAME=value`; a name without a value maps to undefined. */
export function pairs(value: ComposeValue): Map<string, string | undefined> {
  if (value.kind === 'list') {
    return new Map(
      value.items.map((item) => {
        const pair = text(item);
        const equals = pair.indexOf('=');
        return equals === -1 ? [pair, undefined] : [pair.slice(0, equals), pair.slice(equals + 1)];
      }),
    );
  }
  return new Map(
    [...map(value)].map(([name, each]) => [
      name,
      each.kind === 'scalar' && each.value === null ? undefined : text(each),
    ]),
  );
}

/** A command: a list as it is, a string split like a shell's words. */
export function command(value: ComposeValue): string[] {
  if (value.kind === 'list') return value.items.map(text);
  return [...text(value).matchAll(/(?:[^\s"']|"(?:[^"\\]|\\.)*"|'[^']*')+/gs)].map(([word]) =>
    word.replace(/"((?:[^"\\]|\\.)*)"|'([^']*)'/gs, (_, double?: string, single?: string) =>
      double === undefined ? (single ?? '') : double.replace(/\\(.)/gs, '$1'),
    ),
  );
}

/** A number of CPUs such as `0.5`, in billionths of one. */
export function nanoCpus(value: ComposeValue): number {
  const cpus = Number(text(value));
  if (!(cpus >= 0)) throw invalid(`${value.place}: must be a number of CPUs`);
  return Math.round(cpus * 1e9);
}

/** `NAME: value` or `- NAME=value` as a table; a name without a value has an empty one. */
export function table(value: ComposeValue): Record<string, string> {
  return Object.fromEntries([...pairs(value)].map(([name, each]) => [name, each ?? '']));
}

/** `64m`, `1.5gb`, in bytes. */
export function bytes(value: ComposeValue): number {
  const size = parseSize(text(value));
  if (size === undefined) throw invalid(`${value.place}: must be a size such as 64m`);
  return size;
}

const UNITS: Record<string, number> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** `1m30s`, in nanoseconds. */
export function duration(value: ComposeValue): number {
  const written = text(value);
  const parts = [...written.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== written) {
    throw invalid(`${value.place}: must be a duration such as 1m30s`);
  }
  return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (UNITS[unit ?? ''] ?? 0), 0);
}

/** Reads a mapping's keys: what is not there, or empty, is undefined. */
export function reader(
  value: ComposeValue,
): <T>(key: string, read: (value: ComposeValue) => T) => T | undefined {
  const keys = map(value);
  return (key, read) => {
    const found = keys.get(key);
    return found === undefined || (found.kind === 'scalar' && found.value === null) ? undefined : read(found);
  };
}

/** A type's keys without those whose value is undefined. */
export type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without the keys that were not given. */
export function given<T extends object>(value: T): Given<T> {
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  // the same keys and values, less those the type leaves out
  return Object.fromEntries(entries) as Given<T>;
}
