import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { invalid, messageOf } from '#model/errors.ts';
import type { S3Settings } from './s3-blob-storage.ts';

export type RegistryAction = 'pull' | 'push' | 'delete';

/** Who may do what where. The first rule that names user and repository decides. */
export interface AccessRule {
  /** `*` is everybody who logged in, `anonymous` who did not. */
  users: string[];
  /** Names; `*` stands for anything but a slash, `**` for anything. */
  repositories: string[];
  actions: RegistryAction[];
}

export interface Webhook {
  url: string;
  /** Signs each call: X-Drover-Signature is the body's HMAC with SHA-256. */
  secret?: string | undefined;
  events: ('push' | 'pull' | 'delete')[];
  repositories: string[];
}

/** What the registry server can be told; everything is optional in the file. */
export interface RegistryConfiguration {
  auth: { method: 'none' | 'htpasswd' | 'token'; htpasswd?: string | undefined; service: string };
  access: AccessRule[];
  tls?: { certificate: string; key: string } | undefined;
  quotas: { repositories: string; bytes: number }[];
  /** `repository:tag` patterns whose tags are never moved or deleted. */
  immutableTags: string[];
  webhooks: Webhook[];
  /** Another registry that this one stands in for. */
  proxy?:
    | {
        remote: string;
        username?: string | undefined;
        password?: string | undefined;
        /** How long a tag is taken to mean what it meant. */
        ttlSeconds: number;
      }
    | undefined;
  storage?: { s3: S3Settings } | undefined;
  allowDelete: boolean;
}

const UNITS: Record<string, number> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };

const bytes = z.union([z.int().nonnegative(), z.string()]).transform((value, context) => {
  if (typeof value === 'number') return value;
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?$/i.exec(value);
  if (match !== null) return Math.floor(Number(match[1]) * (UNITS[(match[2] ?? '').toUpperCase()] ?? 1));
  context.addIssue({ code: 'custom', message: `${value} is no size such as 10GiB` });
  return z.NEVER;
});

const action = z.enum(['pull', 'push', 'delete']);

const schema = z.strictObject({
  auth: z
    .strictObject({
      method: z.enum(['none', 'htpasswd', 'token']).default('htpasswd'),
      htpasswd: z.string().optional(),
      service: z.string().default('drover-registry'),
    })
    .default({ method: 'none', service: 'drover-registry' }),
  access: z
    .array(
      z.strictObject({
        users: z.array(z.string()),
        repositories: z.array(z.string()).default(['**']),
        actions: z.array(action),
      }),
    )
    .default([]),
  tls: z.strictObject({ certificate: z.string(), key: z.string() }).optional(),
  quotas: z.array(z.strictObject({ repositories: z.string(), bytes })).default([]),
  immutableTags: z.array(z.string()).default([]),
  webhooks: z
    .array(
      z.strictObject({
        url: z.url({ protocol: /^https?$/ }),
        secret: z.string().optional(),
        events: z.array(z.enum(['push', 'pull', 'delete'])).default(['push', 'delete']),
        repositories: z.array(z.string()).default(['**']),
      }),
    )
    .default([]),
  proxy: z
    .strictObject({
      remote: z.string(),
      username: z.string().optional(),
      password: z.string().optional(),
      ttlSeconds: z.number().nonnegative().default(60),
    })
    .optional(),
  storage: z
    .strictObject({
      s3: z.strictObject({
        endpoint: z.url({ protocol: /^https?$/ }),
        bucket: z.string(),
        region: z.string().default('us-east-1'),
        accessKeyId: z.string(),
        secretAccessKey: z.string(),
        prefix: z.string().default(''),
      }),
    })
    .optional(),
  allowDelete: z.boolean().default(true),
});

/** Reads the registry's configuration, YAML or JSON; without a file everything is at its default. `invalid` names what is wrong. */
export function readRegistryConfiguration(file: string | undefined): RegistryConfiguration {
  if (file === undefined) return schema.parse({});
  let value: unknown;
  try {
    value = parse(readFileSync(file, 'utf8')) ?? {};
  } catch (cause) {
    throw invalid(`cannot read the registry's configuration ${file}: ${messageOf(cause)}`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(
      ({ path, message }) => `${path.map(String).join('.')}: ${message}`,
    );
    throw invalid(`the registry's configuration ${file}: ${problems.join('; ')}`);
  }
  const configuration: RegistryConfiguration = parsed.data;
  if (configuration.auth.method !== 'none' && configuration.auth.htpasswd === undefined)
    throw invalid(`the registry's configuration ${file}: auth.htpasswd names no file`);
  return configuration;
}

/** Whether a name matches a pattern: `*` stands for anything but a slash, `**` for anything. */
export function matchesPattern(name: string, pattern: string): boolean {
  const source = pattern
    .split('**')
    .map((part) =>
      part
        .split('*')
        .map((text) => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
        .join('[^/]*'),
    )
    .join('.*');
  return new RegExp(`^${source}$`).test(name);
}
