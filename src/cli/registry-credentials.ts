import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { invalid, messageOf } from '#model/errors.ts';

const { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } =
  process.getBuiltinModule('node:fs');

/** Docker's own key for its hub. */
const HUB = 'https://index.docker.io/v1/';
const HELPER_LIMIT_MS = 30_000;

export interface Credentials {
  username?: string;
  password?: string;
  identitytoken?: string;
  serveraddress?: string;
}

interface ConfigFile {
  auths?: Record<string, { auth?: string; identitytoken?: string }>;
  credsStore?: string;
  credHelpers?: Record<string, string>;
}

/** Where Docker's command line keeps who is logged in. */
function configPath(): string {
  return join(process.env['DOCKER_CONFIG'] ?? join(homedir(), '.docker'), 'config.json');
}

function readConfig(): ConfigFile {
  const path = configPath();
  if (!existsSync(path)) return {};
  try {
    const config: ConfigFile = JSON.parse(readFileSync(path, 'utf8'));
    return config;
  } catch (cause) {
    throw invalid(`cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
}

function writeConfig(config: ConfigFile): void {
  const path = configPath();
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(`${path}.new`, `${JSON.stringify(config, undefined, '\t')}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** The key under which a registry's credentials are kept. */
export function registryKey(host: string): string {
  return host === 'docker.io' || host === 'index.docker.io' || host === '' ? HUB : host;
}

/** The registry of an image's name: `docker.io` where it names none. */
export function registryOf(image: string): string {
  const [first = '', ...rest] = image.split('/');
  return rest.length > 0 && (/[.:]/.test(first) || first === 'localhost') ? first : 'docker.io';
}

/** What is known for a registry: from its credential helper, or the file itself. */
function credentialsOf(host: string): Credentials | undefined {
  const config = readConfig();
  const key = registryKey(host);
  const helper = config.credHelpers?.[host] ?? config.credHelpers?.[key] ?? config.credsStore;
  if (helper !== undefined) {
    const found = askHelper(helper, 'get', key);
    if (found !== undefined) {
      const { Username = '', Secret = '' }: { Username?: string; Secret?: string } = JSON.parse(found);
      return Username === '<token>'
        ? { identitytoken: Secret, serveraddress: key }
        : { username: Username, password: Secret, serveraddress: key };
    }
  }
  const entry = config.auths?.[key] ?? config.auths?.[`https://${key}`];
  if (entry === undefined) return undefined;
  const text = Buffer.from(entry.auth ?? '', 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return {
    ...(colon < 0 ? {} : { username: text.slice(0, colon), password: text.slice(colon + 1) }),
    ...(entry.identitytoken ? { identitytoken: entry.identitytoken } : {}),
    serveraddress: key,
  };
}

/** For `X-Registry-Auth`. */
export function registryAuthHeader(host: string): Record<string, string> {
  const credentials = credentialsOf(host);
  return credentials === undefined ? {} : { 'X-Registry-Auth': encode(credentials) };
}

/** For `X-Registry-Config`: everybody that the file knows, as a build may pull from anywhere. */
export function registryConfigHeader(): Record<string, string> {
  const { auths = {}, credHelpers = {} } = readConfig();
  const hosts = new Set([...Object.keys(auths), ...Object.keys(credHelpers)]);
  const known = [...hosts].flatMap((host) => {
    const credentials = credentialsOf(host);
    return credentials === undefined ? [] : [[host, credentials] as const];
  });
  return known.length === 0 ? {} : { 'X-Registry-Config': encode(Object.fromEntries(known)) };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** Keeps credentials where the configuration says: in a helper, or in the file. */
export function storeCredentials(host: string, o: { username: string; password: string }): void {
  const config = readConfig();
  const key = registryKey(host);
  const helper = config.credHelpers?.[host] ?? config.credsStore;
  if (helper !== undefined) {
    askHelper(helper, 'store', JSON.stringify({ ServerURL: key, Username: o.username, Secret: o.password }));
    writeConfig({ ...config, auths: { ...config.auths, [key]: {} } });
    return;
  }
  const auth = Buffer.from(`${o.username}:${o.password}`).toString('base64');
  writeConfig({ ...config, auths: { ...config.auths, [key]: { auth } } });
}

/** False where nobody was logged in. */
export function removeCredentials(host: string): boolean {
  const config = readConfig();
  const key = registryKey(host);
  const helper = config.credHelpers?.[host] ?? config.credsStore;
  if (helper !== undefined) askHelper(helper, 'erase', key);
  const { [key]: entry, ...rest } = config.auths ?? {};
  if (entry === undefined) return false;
  writeConfig({ ...config, auths: rest });
  return true;
}

/** Docker's credential helper protocol: a program, a verb, and the key on standard input. */
function askHelper(helper: string, verb: 'get' | 'store' | 'erase', input: string): string | undefined {
  if (!/^[A-Za-z0-9._-]+$/.test(helper))
    throw invalid(`credential helper ${JSON.stringify(helper)} is no program's name`);
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  const done = spawnSync(`docker-credential-${helper}`, [verb], {
    input,
    encoding: 'utf8',
    timeout: HELPER_LIMIT_MS,
  });
  if (done.error !== undefined)
    throw invalid(`cannot run docker-credential-${helper}: ${done.error.message}`, { cause: done.error });
  if (done.status === 0) return done.stdout;
  if (/credentials not found/.test(done.stdout + done.stderr)) return undefined;
  throw invalid(`docker-credential-${helper} ${verb}: ${(done.stdout + done.stderr).trim()}`);
}
