import { invalid } from '#model/errors.ts';
import { type Filters, parseUntil } from '#model/filters.ts';

/**
 * Reads the `filters` query: a JSON map of lists, or the map of maps that clients before API 1.22 send.
 * `undefined` and empty text are no filters. Keys outside `accepted` are refused, as Docker does.
 */
export function parseFilters(text: string | null, accepted: readonly string[]): Filters {
  if (text === null || text === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid(`invalid filter: ${text}`, { cause });
  }
  if (value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) throw invalid(`invalid filter: ${text}`);
  const filters: Filters = {};
  for (const [key, values] of Object.entries(value)) {
    if (!accepted.includes(key)) throw invalid(`invalid filter '${key}'`);
    filters[key] = valuesOf(key, values);
  }
  return filters;
}

function valuesOf(key: string, values: unknown): string[] {
  if (Array.isArray(values)) {
    return values.map((value) => {
      if (typeof value !== 'string') throw invalid(`invalid filter '${key}=[${JSON.stringify(value)}]'`);
      return value;
    });
  }
  if (typeof values === 'object' && values !== null) {
    return Object.entries(values).flatMap(([value, chosen]) => (chosen === true ? [value] : []));
  }
  throw invalid(`invalid filter '${key}'`);
}

/** The one truth value of a key such as `dangling`; undefined when it was not asked for. */
export function booleanFilter(filters: Filters, key: string): boolean | undefined {
  const values = filters[key];
  if (values === undefined || values.length === 0) return undefined;
  const truths = new Set(
    values.map((value) => {
      if (['1', 'true', 'True', 'TRUE', 't', 'T'].includes(value)) return true;
      if (['0', 'false', 'False', 'FALSE', 'f', 'F'].includes(value)) return false;
      throw invalid(`invalid filter '${key}=[${value}]'`);
    }),
  );
  const [truth] = truths;
  if (truths.size !== 1 || truth === undefined)
    throw invalid(`invalid filter '${key}=[${values.join(' ')}]'`);
  return truth;
}

/** The `until` of a prune as milliseconds since the epoch; undefined when it was not given. */
export function untilFilter(filters: Filters, nowMs: number): number | undefined {
  const [text, ...more] = filters['until'] ?? [];
  if (text === undefined) return undefined;
  if (more.length > 0) throw invalid('more than one until filter specified');
  const time = parseUntil(text, nowMs);
  if (time === undefined) throw invalid(`invalid filter 'until=[${text}]'`);
  return time;
}
