import type { HealthConfig } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import type { ComposeValue } from './compose-file.ts';
import { type MountContext, readMount } from './mounts.ts';
import { readPorts } from './ports.ts';
import type { Dependency, DependencyCondition, Service } from './project.ts';
import { checkKeys } from './supported-keys.ts';
import { boolean, bytes, command, duration, integer, list, map, pairs, text, texts } from './value-reader.ts';

export interface ServiceContext extends MountContext {
  /** Variables of the machine, for names without a value. */
  environment: (name: string) => string | undefined;
  /** Lines of an env_file, read by the caller. */
  envFile: (path: string, place: string) => Map<string, string>;
  hasNetwork: (key: string) => boolean;
}

/** Reads one service; every key is taken or refused by name. */
export function readService(name: string, value: ComposeValue, context: ServiceContext): Service {
  checkKeys(value, 'service', `services.${name}`);
  const keys = map(value);
  const get = <T>(key: string, read: (value: ComposeValue) => T): T | undefined => {
    const found = keys.get(key);
    return found === undefined || (found.kind === 'scalar' && found.value === null) ? undefined : read(found);
  };
  const image = get('image', text);
  if (image === undefined) throw invalid(`${value.place}: services.${name}: image is missing`);
  const deploy = get('deploy', (found) => readDeploy(found, name));
  const networkMode = get('network_mode', text);
  const env = new Map<string, string>();
  for (const [key, each] of get('env_file', (found) => readEnvFiles(found, context)) ?? [])
    env.set(key, each);
  for (const [key, each] of get('environment', pairs) ?? []) {
    const resolved = each ?? context.environment(key);
    if (resolved !== undefined) env.set(key, resolved);
  }
  return {
    name,
    image,
    containerName: get('container_name', text),
    replicas: get('scale', integer) ?? deploy?.replicas ?? 1,
    profiles: get('profiles', texts) ?? [],
    dependsOn: get('depends_on', readDependencies) ?? new Map(),
    networks:
      networkMode === undefined
        ? (get('networks', (found) => readNetworks(found, context)) ??
          new Map([['default', { aliases: [], address: undefined }]]))
        : new Map(),
    networkMode,
    ports: (get('ports', list) ?? []).flatMap(readPorts),
    mounts: (get('volumes', list) ?? []).map((each) => readMount(each, context)),
    healthcheck: get('healthcheck', readHealthcheck),
    config: defined({
      Image: image,
      Cmd: get('command', command),
      Entrypoint: get('entrypoint', command),
      Env: [...env].map(([key, each]) => `${key}=${each}`),
      Hostname: get('hostname', text),
      Domainname: get('domainname', text),
      User: get('user', text),
      WorkingDir: get('working_dir', text),
      Tty: get('tty', boolean),
      OpenStdin: get('stdin_open', boolean),
      StopSignal: get('stop_signal', text),
      StopTimeout: get('stop_grace_period', (found) => Math.ceil(duration(found) / 1e9)),
      Labels: Object.fromEntries([...(get('labels', pairs) ?? [])].map(([key, each]) => [key, each ?? ''])),
      ExposedPorts: Object.fromEntries(
        (get('expose', texts) ?? []).map((port) => [port.includes('/') ? port : `${port}/tcp`, {}]),
      ),
    }),
    hostConfig: defined({
      RestartPolicy: get('restart', readRestart),
      Init: get('init', boolean),
      Privileged: get('privileged', boolean),
      CapAdd: get('cap_add', texts),
      CapDrop: get('cap_drop', texts),
      ReadonlyRootfs: get('read_only', boolean),
      Tmpfs: get('tmpfs', (found) => Object.fromEntries(texts(found).map((each) => splitOnce(each, ':')))),
      Ulimits: get('ulimits', readUlimits),
      Sysctls: get('sysctls', (found) => Object.fromEntries(pairs(found))),
      SecurityOpt: get('security_opt', texts),
      Devices: get('devices', (found) => texts(found).map(readDevice)),
      Dns: get('dns', texts),
      DnsSearch: get('dns_search', texts),
      DnsOptions: get('dns_opt', texts),
      ExtraHosts: get('extra_hosts', (found) =>
        (found.kind === 'list' ? texts(found) : [...pairs(found)].map(([host, ip]) => `${host}:${ip}`)).map(
          (pair) => pair.replace('=', ':'),
        ),
      ),
      GroupAdd: get('group_add', texts),
      ShmSize: get('shm_size', bytes),
      Memory: get('mem_limit', bytes) ?? deploy?.memory,
      MemoryReservation: get('mem_reservation', bytes) ?? deploy?.memoryReservation,
      MemorySwap: get('memswap_limit', bytes),
      NanoCpus: get('cpus', nanoCpus) ?? deploy?.nanoCpus,
      CpuShares: get('cpu_shares', integer),
      CpusetCpus: get('cpuset', text),
      PidsLimit: get('pids_limit', integer) ?? deploy?.pids,
      PidMode: get('pid', text),
      IpcMode: get('ipc', text),
      LogConfig: get('logging', readLogging),
    }),
  };
}

function readDeploy(
  value: ComposeValue,
  name: string,
): {
  replicas?: number;
  memory?: number;
  memoryReservation?: number;
  nanoCpus?: number;
  pids?: number;
} {
  checkKeys(value, 'deploy', `services.${name}.deploy`);
  const keys = map(value);
  const replicas = keys.get('replicas');
  const resources = keys.get('resources');
  if (resources !== undefined) checkKeys(resources, 'resources', `services.${name}.deploy.resources`);
  const below = (key: 'limits' | 'reservations'): Map<string, ComposeValue> => {
    const found = resources === undefined ? undefined : map(resources).get(key);
    if (found === undefined) return new Map();
    checkKeys(found, key, `services.${name}.deploy.resources.${key}`);
    return map(found);
  };
  const limits = below('limits');
  const memory = limits.get('memory');
  const cpus = limits.get('cpus');
  const pids = limits.get('pids');
  const reserved = below('reservations').get('memory');
  return {
    ...(replicas === undefined ? {} : { replicas: integer(replicas) }),
    ...(memory === undefined ? {} : { memory: bytes(memory) }),
    ...(cpus === undefined ? {} : { nanoCpus: nanoCpus(cpus) }),
    ...(pids === undefined ? {} : { pids: integer(pids) }),
    ...(reserved === undefined ? {} : { memoryReservation: bytes(reserved) }),
  };
}

function readEnvFiles(value: ComposeValue, context: ServiceContext): Map<string, string> {
  const files = value.kind === 'list' ? value.items : [value];
  const all = new Map<string, string>();
  for (const file of files) {
    const path = file.kind === 'map' ? file.entries.get('path') : file;
    if (path === undefined) throw invalid(`${file.place}: path is missing`);
    for (const [key, each] of context.envFile(context.resolvePath(text(path)), file.place))
      all.set(key, each);
  }
  return all;
}

const CONDITIONS: readonly string[] = [
  'service_started',
  'service_healthy',
  'service_completed_successfully',
];

function readDependencies(value: ComposeValue): Map<string, Dependency> {
  if (value.kind === 'list') {
    return new Map(value.items.map((item) => [text(item), { condition: 'service_started', required: true }]));
  }
  return new Map(
    [...map(value)].map(([name, each]) => {
      checkKeys(each, 'dependency', `depends_on.${name}`);
      const keys = map(each);
      const condition = keys.get('condition');
      const required = keys.get('required');
      return [
        name,
        {
          condition: condition === undefined ? 'service_started' : readCondition(condition),
          required: required === undefined ? true : boolean(required),
        },
      ];
    }),
  );
}

function readCondition(value: ComposeValue): DependencyCondition {
  const word = text(value);
  if (word === 'service_started' || word === 'service_healthy' || word === 'service_completed_successfully')
    return word;
  throw invalid(`${value.place}: condition must be one of ${CONDITIONS.join(', ')}`);
}

function readNetworks(value: ComposeValue, context: ServiceContext): Service['networks'] {
  const named: [string, ComposeValue][] =
    value.kind === 'list' ? value.items.map((item) => [text(item), item]) : [...map(value)];
  return new Map(
    named.map(([key, each]) => {
      if (!context.hasNetwork(key))
        throw invalid(`${each.place}: network ${key} is not declared under networks`);
      if (each.kind !== 'map') return [key, { aliases: [], address: undefined }];
      checkKeys(each, 'service network', `networks.${key}`);
      const aliases = each.entries.get('aliases');
      const address = each.entries.get('ipv4_address');
      return [
        key,
        {
          aliases: aliases === undefined ? [] : texts(aliases),
          address: address === undefined ? undefined : text(address),
        },
      ];
    }),
  );
}

function readHealthcheck(value: ComposeValue): HealthConfig {
  checkKeys(value, 'healthcheck', 'healthcheck');
  const keys = map(value);
  const disable = keys.get('disable');
  if (disable !== undefined && boolean(disable)) return { Test: ['NONE'] };
  const test = keys.get('test');
  const result: HealthConfig = {
    Test: test === undefined ? [] : test.kind === 'list' ? texts(test) : ['CMD-SHELL', text(test)],
  };
  for (const [key, field] of [
    ['interval', 'Interval'],
    ['timeout', 'Timeout'],
    ['start_period', 'StartPeriod'],
    ['start_interval', 'StartInterval'],
  ] as const) {
    const found = keys.get(key);
    if (found !== undefined) result[field] = duration(found);
  }
  const retries = keys.get('retries');
  if (retries !== undefined) result.Retries = integer(retries);
  return result;
}

function readRestart(value: ComposeValue): { Name: string; MaximumRetryCount: number } {
  const match = /^(no|false|always|unless-stopped|on-failure)(?::(\d+))?$/.exec(text(value));
  if (match === null)
    throw invalid(`${value.place}: restart must be no, always, unless-stopped or on-failure[:retries]`);
  const [, name = 'no', retries = '0'] = match;
  return { Name: name === 'false' ? 'no' : name, MaximumRetryCount: Number(retries) };
}

function readUlimits(value: ComposeValue): object[] {
  return [...map(value)].map(([Name, each]) => {
    if (each.kind === 'scalar') return { Name, Soft: integer(each), Hard: integer(each) };
    const soft = map(each).get('soft');
    const hard = map(each).get('hard');
    if (soft === undefined || hard === undefined) throw invalid(`${each.place}: soft and hard are needed`);
    return { Name, Soft: integer(soft), Hard: integer(hard) };
  });
}

function readDevice(device: string): object {
  const [PathOnHost = '', PathInContainer = PathOnHost, CgroupPermissions = 'rwm'] = device.split(':');
  return { PathOnHost, PathInContainer, CgroupPermissions };
}

function readLogging(value: ComposeValue): object {
  checkKeys(value, 'logging', 'logging');
  const driver = map(value).get('driver');
  const options = map(value).get('options');
  return {
    Type: driver === undefined ? '' : text(driver),
    Config: options === undefined ? {} : Object.fromEntries(pairs(options)),
  };
}

function nanoCpus(value: ComposeValue): number {
  const cpus = Number(text(value));
  if (!(cpus >= 0)) throw invalid(`${value.place}: must be a number of CPUs`);
  return Math.round(cpus * 1e9);
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** Without the keys that were not given. */
function defined(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined));
}
