import type { DeviceMapping, HealthConfig, LogConfig, RestartPolicy, Ulimit } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import type { TaskRestartPolicy } from '#model/task-spec.ts';
import type { ComposeValue } from './compose-file.ts';
import { readDeploy } from './deploy-reader.ts';
import { type MountContext, readMount } from './mounts.ts';
import { readPorts } from './ports.ts';
import type { Dependency, Service } from './project.ts';
import { readContentReference } from './project-content.ts';
import { checkKeys } from './supported-keys.ts';
import {
  boolean,
  bytes,
  command,
  duration,
  given,
  integer,
  list,
  map,
  nanoCpus,
  oneOf,
  pairs,
  reader,
  table,
  text,
  texts,
} from './value-reader.ts';

export interface ServiceContext extends MountContext {
  /** Variables of the machine, for names without a value. */
  environment: (name: string) => string | undefined;
  /** Lines of an env_file, read by the caller. */
  envFile: (path: string, place: string) => Map<string, string>;
  hasNetwork: (key: string) => boolean;
  hasSecret: (key: string) => boolean;
  hasConfig: (key: string) => boolean;
}

/** Reads one service; every key is taken or refused by name. */
export function readService(name: string, value: ComposeValue, context: ServiceContext): Service {
  checkKeys(value, 'service', `services.${name}`);
  const get = reader(value);
  const image = get('image', text);
  const build = get('build', readBuild);
  if (image === undefined) throw missingImage(value, name, build);
  const deploy = get('deploy', (found) => readDeploy(found, name)) ?? {};
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
    place: value.place,
    image,
    build,
    deploy,
    pullPolicy: get('pull_policy', text),
    platform: get('platform', text),
    containerName: get('container_name', text),
    replicas: get('scale', integer) ?? deploy.replicas ?? 1,
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
    secrets: (get('secrets', list) ?? []).map((each) =>
      readContentReference(each, 'secret', context.hasSecret),
    ),
    configs: (get('configs', list) ?? []).map((each) =>
      readContentReference(each, 'config', context.hasConfig),
    ),
    healthcheck: get('healthcheck', readHealthcheck),
    config: given({
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
      Labels: get('labels', table) ?? {},
      ExposedPorts: Object.fromEntries(
        (get('expose', texts) ?? []).map((port) => [port.includes('/') ? port : `${port}/tcp`, {}]),
      ),
    }),
    hostConfig: given({
      RestartPolicy: get('restart', readRestart) ?? restartOf(deploy.restartPolicy),
      Init: get('init', boolean),
      Privileged: get('privileged', boolean),
      CapAdd: get('cap_add', texts),
      CapDrop: get('cap_drop', texts),
      ReadonlyRootfs: get('read_only', boolean),
      Tmpfs: get('tmpfs', (found) => Object.fromEntries(texts(found).map((each) => splitOnce(each, ':')))),
      Ulimits: get('ulimits', readUlimits),
      Sysctls: get('sysctls', table),
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
      Memory: get('mem_limit', bytes) ?? deploy.limits?.memoryBytes,
      MemoryReservation: get('mem_reservation', bytes) ?? deploy.reservations?.memoryBytes,
      MemorySwap: get('memswap_limit', bytes),
      NanoCpus: get('cpus', nanoCpus) ?? deploy.limits?.nanoCpus,
      CpuShares: get('cpu_shares', integer),
      CpusetCpus: get('cpuset', text),
      PidsLimit: get('pids_limit', integer) ?? deploy.limits?.pids,
      PidMode: get('pid', text),
      IpcMode: get('ipc', text),
      LogConfig: get('logging', readLogging),
    }),
  };
}

function readBuild(value: ComposeValue): string {
  if (value.kind === 'scalar') return text(value);
  const context = map(value).get('context');
  return context === undefined ? '.' : text(context);
}

function missingImage(value: ComposeValue, name: string, build: string | undefined): Error {
  if (build === undefined) return invalid(`${value.place}: services.${name}: image is missing`);
  return invalid(`${value.place}: services.${name}: image is missing: give what build makes a name`, {
    hint: `Set image, and build it first: drover build -t IMAGE ${build}`,
  });
}

/** For one machine, where the file speaks to a cluster only. */
function restartOf(policy: TaskRestartPolicy | undefined): RestartPolicy | undefined {
  if (policy === undefined) return undefined;
  const MaximumRetryCount = policy.MaxAttempts ?? 0;
  switch (policy.Condition ?? 'any') {
    case 'none':
      return { Name: 'no', MaximumRetryCount: 0 };
    case 'on-failure':
      return { Name: 'on-failure', MaximumRetryCount };
    case 'any':
      return MaximumRetryCount > 0
        ? { Name: 'on-failure', MaximumRetryCount }
        : { Name: 'always', MaximumRetryCount: 0 };
  }
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

const CONDITIONS = ['service_started', 'service_healthy', 'service_completed_successfully'] as const;

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
          condition: condition === undefined ? 'service_started' : oneOf(condition, CONDITIONS),
          required: required === undefined ? true : boolean(required),
        },
      ];
    }),
  );
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

const RESTART_NAMES = ['no', 'always', 'unless-stopped', 'on-failure'] as const;

function readRestart(value: ComposeValue): RestartPolicy {
  const match = /^(no|false|always|unless-stopped|on-failure)(?::(\d+))?$/.exec(text(value));
  if (match === null)
    throw invalid(`${value.place}: restart must be no, always, unless-stopped or on-failure[:retries]`);
  const [, word = 'no', retries = '0'] = match;
  return {
    Name: RESTART_NAMES.find((name) => name === word) ?? 'no',
    MaximumRetryCount: Number(retries),
  };
}

function readUlimits(value: ComposeValue): Ulimit[] {
  return [...map(value)].map(([Name, each]) => {
    if (each.kind === 'scalar') return { Name, Soft: integer(each), Hard: integer(each) };
    const soft = map(each).get('soft');
    const hard = map(each).get('hard');
    if (soft === undefined || hard === undefined) throw invalid(`${each.place}: soft and hard are needed`);
    return { Name, Soft: integer(soft), Hard: integer(hard) };
  });
}

function readDevice(device: string): DeviceMapping {
  const [PathOnHost = '', PathInContainer = PathOnHost, CgroupPermissions = 'rwm'] = device.split(':');
  return { PathOnHost, PathInContainer, CgroupPermissions };
}

function readLogging(value: ComposeValue): LogConfig {
  checkKeys(value, 'logging', 'logging');
  const get = reader(value);
  return { Type: get('driver', text) ?? '', Config: get('options', table) ?? {} };
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
