import { z } from 'zod';
import { invalid } from '#model/errors.ts';

/** How a client of the API says who it is at a registry (`X-Registry-Auth`). */
export interface RegistryCredentials {
  username?: string | null | undefined;
  password?: string | null | undefined;
  /** A refresh token instead of a password. */
  identitytoken?: string | null | undefined;
  /** A token to be used as it is. */
  registrytoken?: string | null | undefined;
  serveraddress?: string | null | undefined;
  /** `user:password` in base 64. */
  auth?: string | null | undefined;
}

export const RegistryCredentials: z.ZodType<RegistryCredentials> = z.object({
  username: z.string().nullish(),
  password: z.string().nullish(),
  identitytoken: z.string().nullish(),
  registrytoken: z.string().nullish(),
  serveraddress: z.string().nullish(),
  auth: z.string().nullish(),
});

/** The `X-Registry-Auth` header: JSON in base64url. Empty without one; `invalid` where it is neither. */
export function parseRegistryAuth(header: string | undefined): RegistryCredentials {
  return header === undefined || header === '' ? {} : decode(header, RegistryCredentials, 'X-Registry-Auth');
}

/** The `X-Registry-Config` header of a build: credentials for each registry. */
export function parseRegistryConfig(header: string | undefined): Record<string, RegistryCredentials> {
  return header === undefined || header === ''
    ? {}
    : decode(header, z.record(z.string(), RegistryCredentials), 'X-Registry-Config');
}

function decode<T>(header: string, schema: z.ZodType<T>, name: string): T {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(header, 'base64').toString('utf8'));
  } catch (cause) {
    throw invalid(`invalid ${name} header: it is not JSON in base64url`, { cause });
  }
  const parsed = schema.safeParse(value ?? {});
  if (!parsed.success) throw invalid(`invalid ${name} header: it is no auth configuration`);
  return parsed.data;
}

/** User and password, wherever they stand; undefined where there are none. */
export function basicCredentials(
  credentials: RegistryCredentials,
): { username: string; password: string } | undefined {
  if (credentials.username) return { username: credentials.username, password: credentials.password ?? '' };
  if (!credentials.auth) return undefined;
  const text = Buffer.from(credentials.auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

const HUB_KEYS = ['https://index.docker.io/v1/', 'index.docker.io', 'docker.io', 'registry-1.docker.io'];

/** The credentials for `host` in a configuration file's or a build's table, whose keys are hosts or URLs. */
export function credentialsFor(
  host: string,
  table: Readonly<Record<string, RegistryCredentials>>,
): RegistryCredentials {
  const keys = host === 'docker.io' ? HUB_KEYS : [host, `https://${host}`, `http://${host}`];
  for (const [key, credentials] of Object.entries(table)) {
    const bare = key.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
    if (keys.includes(key) || keys.includes(bare)) return credentials;
  }
  return {};
}
