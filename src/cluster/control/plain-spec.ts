/** Fields whose default may be said or not: clients send back what they read with some of them filled in. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  ForceUpdate: 0,
  MaxAttempts: 0,
  Window: 0,
  MaxReplicas: 0,
  Runtime: 'container',
  Isolation: 'default',
  Condition: 'any',
  Protocol: 'tcp',
  PublishMode: 'ingress',
  PublishedPort: 0,
  Mode: 'vip',
};

/** Maps of the user's own keys and values: no key of theirs is a field with a default. */
const MAPS: readonly string[] = ['Labels', 'Options', 'Sysctls', 'DriverOpts'];

export function isUserMap(field: string): boolean {
  return MAPS.includes(field);
}

/**
 * A part of a specification without what says nothing: nothing, empty text, lists and objects, and defaults that are said; undefined where
 * that is all. `field`: what the value is called.
 */
export function plainSpec(value: unknown, field: string = ''): unknown {
  if (value === undefined || value === null || value === '' || DEFAULTS[field] === value) return undefined;
  if (Array.isArray(value)) {
    return value.length === 0 ? undefined : value.map((each) => plainSpec(each) ?? {});
  }
  if (typeof value !== 'object') return value;
  const fields = Object.entries(value)
    .map(([key, each]) => [key, isUserMap(field) ? each : plainSpec(each, key)] as const)
    .filter(([, each]) => each !== undefined);
  return fields.length === 0 ? undefined : Object.fromEntries(fields);
}
