import { isDeepStrictEqual } from 'node:util';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ServiceSpec } from '#model/service.ts';
import type { FieldChange } from '#model/stack-plan.ts';
import { isUserMap, plainSpec } from './plain-spec.ts';

/** Lists whose entries stand for something with a name of its own, by which they are compared. */
const ENTRY_NAMES: Readonly<Record<string, (entry: unknown) => string>> = {
  Env: (entry) => String(entry).split('=', 1)[0] ?? '',
  Mounts: (entry) => text(entry, 'Target'),
  Ports: (entry) => `${text(entry, 'TargetPort')}/${text(entry, 'Protocol') || 'tcp'}`,
  Networks: (entry) => text(entry, 'Target'),
  Secrets: (entry) => text(record(entry)['File'], 'Name'),
  Configs: (entry) => text(record(entry)['File'], 'Name'),
  Ulimits: (entry) => text(entry, 'Name'),
};

/**
 * What of a service is not as it is to be, field by field. Both are specifications by names: those of {@link namedSpec}. Fields that say
 * nothing, and defaults that are said, are no differences.
 */
export function specDifferences(before: ServiceSpec, after: ServiceSpec): FieldChange[] {
  return differences(before, after, '', '');
}

function differences(before: unknown, after: unknown, path: string, field: string): FieldChange[] {
  const isMap = isUserMap(field);
  const [a, b] = [fieldsOf(before, field), fieldsOf(after, field)];
  if (a === undefined || b === undefined || a.isList !== b.isList) {
    const [plainBefore, plainAfter] = [plainSpec(before, field), plainSpec(after, field)];
    if (isDeepStrictEqual(plainBefore, plainAfter)) return [];
    return [
      {
        path,
        ...(plainBefore === undefined ? {} : { before: plainBefore }),
        ...(plainAfter === undefined ? {} : { after: plainAfter }),
      },
    ];
  }
  const keys = new Set([...a.fields.keys(), ...b.fields.keys()]);
  return [...keys].flatMap((key) => {
    const below = a.isList ? `${path}[${key}]` : isMap ? `${path}[${key}]` : joined(path, key);
    return differences(a.fields.get(key), b.fields.get(key), below, a.isList || isMap ? '' : key);
  });
}

function joined(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

interface Fields {
  readonly isList: boolean;
  readonly fields: ReadonlyMap<string, unknown>;
}

/** What a value consists of; undefined for what is compared whole. Nothing is an empty value of its kind. */
function fieldsOf(value: unknown, field: string): Fields | undefined {
  const nameOf = ENTRY_NAMES[field];
  if (nameOf !== undefined && (value === undefined || Array.isArray(value))) {
    const list: readonly unknown[] = value ?? [];
    const fields = new Map(list.map((entry) => [nameOf(entry), entry]));
    // one port may be published twice: names that are no names are not compared by
    return fields.size === list.length ? { isList: true, fields } : undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return value === undefined && isUserMap(field) ? { isList: false, fields: new Map() } : undefined;
  }
  return { isList: false, fields: new Map(Object.entries(value)) };
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function text(value: unknown, key: string): string {
  const found = record(value)[key];
  return found === undefined ? '' : String(found);
}

/** A service's specification by the names of networks, secrets and configs instead of their IDs, as stacks have it. */
export function namedSpec(view: ClusterView, spec: ServiceSpec): ServiceSpec {
  const { ForceUpdate: _asked, ...template } = spec.TaskTemplate;
  const { Secrets, Configs } = template.ContainerSpec;
  const { Networks } = template;
  return {
    ...spec,
    TaskTemplate: {
      ...template,
      ContainerSpec: {
        ...template.ContainerSpec,
        ...(Secrets === undefined ? {} : { Secrets: Secrets.map((each) => ({ ...each, SecretID: '' })) }),
        ...(Configs === undefined ? {} : { Configs: Configs.map((each) => ({ ...each, ConfigID: '' })) }),
      },
      ...(Networks === undefined
        ? {}
        : {
            Networks: Networks.map((each) => ({
              ...each,
              Target: view.get('network', each.Target)?.Name ?? each.Target,
            })),
          }),
    },
  };
}
