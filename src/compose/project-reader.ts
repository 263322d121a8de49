import { invalid } from '#model/errors.ts';
import { type ComposeValue, mergeCompose, parseComposeFile } from './compose-file.ts';
import { type Environment, parseEnvFile } from './interpolation.ts';
import type { Project, ProjectNetwork, ProjectVolume } from './project.ts';
import { readContents } from './project-content.ts';
import { readService } from './service-reader.ts';
import { checkKeys } from './supported-keys.ts';
import { boolean, given, list, map, reader, table, text } from './value-reader.ts';

export interface ProjectInput {
  files: { name: string; text: string }[];
  /** Where relative paths start. */
  directory: string;
  /** From -p or COMPOSE_PROJECT_NAME; otherwise the file's `name`, or the directory's. */
  name: string | undefined;
  environment: Environment;
  profiles: readonly string[];
  /** Makes a path absolute, from the project's directory, `~` expanded. */
  resolvePath: (path: string) => string;
  /** Contents of an env_file; undefined where there is none. */
  readFile: (path: string) => string | undefined;
  warn: (message: string) => void;
}

/** Reads a project from its files; everything that is wrong or not supported is an `invalid` error with its place. */
export function readProject(o: ProjectInput): Project {
  const missing = new Set<string>();
  const [first, ...rest] = o.files.map((file) =>
    parseComposeFile({ ...file, environment: o.environment, missing: (name) => missing.add(name) }),
  );
  if (first === undefined) throw invalid('no Compose file given');
  const whole = rest.reduce((base, over) => mergeCompose(base, over), first);
  for (const name of missing)
    o.warn(`The ${JSON.stringify(name)} variable is not set. Defaulting to a blank string.`);
  checkKeys(whole, 'top', 'Compose file');
  const top = map(whole);
  const written = top.get('name');
  const name = projectName(
    o.name ?? (written === undefined ? o.directory.split('/').at(-1) : text(written)) ?? '',
  );
  const networks = readNetworks(top.get('networks'), name);
  const volumes = readVolumes(top.get('volumes'), name);
  const secrets = readContents(top.get('secrets'), 'secret', o);
  const configs = readContents(top.get('configs'), 'config', o);
  const services: Project['services'] = new Map();
  for (const [key, value] of section(top.get('services'))) {
    const service = readService(key, value, {
      resolvePath: o.resolvePath,
      environment: o.environment,
      envFile: (path, place) => {
        const content = o.readFile(path);
        if (content === undefined) throw invalid(`${place}: env file ${path} not found`);
        return parseEnvFile(content);
      },
      hasNetwork: (network) => networks.has(network),
      hasSecret: (secret) => secrets.has(secret),
      hasConfig: (config) => configs.has(config),
      volumeName: (volume, place) => {
        const found = volumes.get(volume);
        if (found === undefined) throw invalid(`${place}: volume ${volume} is not declared under volumes`);
        return found.name;
      },
    });
    const active =
      service.profiles.length === 0 ||
      service.profiles.some((profile) => o.profiles.includes(profile) || o.profiles.includes('*'));
    if (active) services.set(key, service);
  }
  if (services.size === 0) throw invalid(`${whole.place}: no service selected`);
  checkDependencies(services);
  return {
    name,
    directory: o.directory,
    files: o.files.map((file) => file.name),
    services,
    networks,
    volumes,
    secrets,
    configs,
  };
}

/** Compose's rule for names: lower case letters, digits, dashes and underscores. */
function projectName(text: string): string {
  const name = text
    .toLowerCase()
    .replace(/[^a-z0-9_-]/g, '')
    .replace(/^[_-]+/, '');
  if (name === '') throw invalid(`invalid project name ${JSON.stringify(text)}: give one with -p`);
  return name;
}

function section(value: ComposeValue | undefined): Map<string, ComposeValue> {
  return value === undefined ? new Map() : map(value);
}

function readNetworks(value: ComposeValue | undefined, project: string): Map<string, ProjectNetwork> {
  const declared = new Map(section(value));
  const networks = new Map<string, ProjectNetwork>();
  for (const [key, each] of declared) {
    checkKeys(each, 'network', `networks.${key}`);
    const keys = map(each);
    const { external, name } = identity(keys, key, project);
    const labels = {
      ...labelsOf(keys),
      'com.docker.compose.network': key,
      'com.docker.compose.project': project,
    };
    const get = reader(each);
    networks.set(key, {
      key,
      name,
      external,
      body: {
        Name: name,
        Labels: labels,
        ...given({
          Driver: get('driver', text),
          Internal: get('internal', boolean),
          Attachable: get('attachable', boolean),
          Options: get('driver_opts', table),
          IPAM: get('ipam', ipam),
        }),
      },
    });
  }
  if (!networks.has('default')) {
    const name = `${project}_default`;
    const Labels = { 'com.docker.compose.network': 'default', 'com.docker.compose.project': project };
    networks.set('default', { key: 'default', name, external: false, body: { Name: name, Labels } });
  }
  return networks;
}

function ipam(value: ComposeValue): NonNullable<ProjectNetwork['body']['IPAM']> {
  const pools = reader(value)('config', list) ?? [];
  return {
    Driver: 'default',
    Config: pools.map((pool) => {
      const get = reader(pool);
      return given({
        Subnet: get('subnet', text),
        Gateway: get('gateway', text),
        IPRange: get('ip_range', text),
      });
    }),
  };
}

function readVolumes(value: ComposeValue | undefined, project: string): Map<string, ProjectVolume> {
  const volumes = new Map<string, ProjectVolume>();
  for (const [key, each] of section(value)) {
    checkKeys(each, 'volume', `volumes.${key}`);
    const keys = map(each);
    const { external, name } = identity(keys, key, project);
    const get = reader(each);
    const Labels = {
      ...labelsOf(keys),
      'com.docker.compose.project': project,
      'com.docker.compose.volume': key,
    };
    volumes.set(key, {
      key,
      name,
      external,
      body: {
        Name: name,
        Labels,
        ...given({ Driver: get('driver', text), DriverOpts: get('driver_opts', table) }),
      },
    });
  }
  return volumes;
}

function identity(
  keys: Map<string, ComposeValue>,
  key: string,
  project: string,
): { external: boolean; name: string } {
  const written = keys.get('external');
  const external = written === undefined ? false : boolean(written);
  const name = keys.get('name');
  return { external, name: name === undefined ? (external ? key : `${project}_${key}`) : text(name) };
}

function labelsOf(keys: Map<string, ComposeValue>): Record<string, string> {
  const labels = keys.get('labels');
  return labels === undefined ? {} : table(labels);
}

/** Names have to exist, and nothing may wait for itself. */
function checkDependencies(services: Project['services']): void {
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name)) throw invalid(`dependency cycle detected: ${[...path, name].join(' -> ')}`);
    for (const [dependency, { required }] of services.get(name)?.dependsOn ?? []) {
      if (services.has(dependency)) visit(dependency, [...path, name]);
      else if (required)
        throw invalid(
          `service ${JSON.stringify(name)} depends on undefined service ${JSON.stringify(dependency)}`,
        );
    }
  };
  for (const name of services.keys()) visit(name, []);
}
