import { z } from 'zod';
import type { Ulimit } from '#model/container.ts';
import { invalid, messageOf } from '#model/errors.ts';

export interface AddressPool {
  /** CIDR that subnets are cut from. */
  base: string;
  /** Prefix length of each. */
  size: number;
}

/** What can be set, by the names that daemon.json uses. Absent is "not set". */
export interface Settings {
  hosts?: string[] | undefined;
  'data-root'?: string | undefined;
  'exec-root'?: string | undefined;
  pidfile?: string | undefined;
  'log-level'?: string | undefined;
  debug?: boolean | undefined;
  bridge?: string | undefined;
  bip?: string | undefined;
  'default-address-pools'?: AddressPool[] | undefined;
  dns?: string[] | undefined;
  group?: string | undefined;
  'default-runtime'?: string | undefined;
  'cgroup-parent'?: string | undefined;
  'default-ulimits'?: Ulimit[] | undefined;
  labels?: string[] | undefined;
  'registry-mirrors'?: string[] | undefined;
  'registry-addr'?: string | undefined;
  'registry-config'?: string | undefined;
  'insecure-registries'?: string[] | undefined;
  'node-generic-resources'?: string[] | undefined;
}

const list = z.array(z.string());

const fields = {
  hosts: list.optional(),
  'data-root': z.string().optional(),
  'exec-root': z.string().optional(),
  pidfile: z.string().optional(),
  'log-level': z.string().optional(),
  debug: z.boolean().optional(),
  bridge: z.string().optional(),
  bip: z.string().optional(),
  'default-address-pools': z
    .array(z.strictObject({ base: z.cidrv4(), size: z.int().min(1).max(30) }))
    .optional(),
  dns: list.optional(),
  group: z.string().optional(),
  'default-runtime': z.string().optional(),
  'cgroup-parent': z.string().optional(),
  'default-ulimits': z
    .record(z.string(), z.strictObject({ Name: z.string().optional(), Soft: z.int(), Hard: z.int() }))
    .transform((limits): Ulimit[] =>
      Object.entries(limits).map(([name, { Soft, Hard }]) => ({ Name: name, Soft, Hard })),
    )
    .optional(),
  labels: list.optional(),
  'registry-mirrors': list.optional(),
  'registry-addr': z.string().optional(),
  'registry-config': z.string().optional(),
  'insecure-registries': list.optional(),
  'node-generic-resources': list.optional(),
};

const schema: z.ZodType<Settings> = z.object(fields);

/** Reads dockerd's daemon.json. `invalid` names every setting that Drover does not have. */
export function configFileSettings(text: string, file: string): Settings {
  let value: unknown;
  try {
    value = text.trim() === '' ? {} : JSON.parse(text);
  } catch (cause) {
    throw invalid(`unable to configure the daemon with file ${file}: ${messageOf(cause)}`, { cause });
  }
  if (typeof value === 'object' && value !== null) {
    const unknown = Object.keys(value).filter((key) => !(key in fields));
    if (unknown.length > 0) {
      throw invalid(
        `unable to configure the daemon with file ${file}: the following directives don't match any configuration option: ${unknown.join(', ')}`,
      );
    }
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    (issue) => `${issue.path.map(String).join('.')}: ${issue.message}`,
  );
  throw invalid(`unable to configure the daemon with file ${file}: ${problems.join('; ')}`);
}
