/** What a list or prune call is narrowed to: each key is a condition, its values are alternatives. */
export type Filters = Record<string, string[]>;

/** True when every `label` condition (`key` or `key=value`) holds and no `label!` condition does. */
export function matchesLabels(filters: Filters, labels: Readonly<Record<string, string>>): boolean {
  const wanted = filters['label'] ?? [];
  const unwanted = filters['label!'] ?? [];
  return (
    wanted.every((condition) => hasLabel(labels, condition)) &&
    !unwanted.some((condition) => hasLabel(labels, condition))
  );
}

function hasLabel(labels: Readonly<Record<string, string>>, condition: string): boolean {
  const equals = condition.indexOf('=');
  if (equals < 0) return Object.hasOwn(labels, condition);
  const key = condition.slice(0, equals);
  return Object.hasOwn(labels, key) && labels[key] === condition.slice(equals + 1);
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/**
 * A prune's `until` as milliseconds since the epoch: Unix seconds, an RFC 3339 time, or a Go duration before `nowMs`.
 * undefined when the text is none of these.
 */
export function parseUntil(text: string, nowMs: number): number | undefined {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  if (/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) {
    let ms = 0;
    for (const [, count = '0', , unit = 's'] of text.matchAll(/(\d+(\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) {
      ms += Number(count) * (UNIT_MS[unit] ?? 0);
    }
    return nowMs - ms;
  }
  const time = Date.parse(text);
  return Number.isNaN(time) ? undefined : time;
}
