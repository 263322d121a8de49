import { z } from 'zod';
import type {
  ContainerConfig,
  EndpointSettings,
  HealthConfig,
  HostConfig,
  MountSpec,
  PortBinding,
  RestartPolicy,
} from '#model/container.ts';
import { notImplemented } from '#model/errors.ts';
import { mountFields } from './mount-fields.ts';
import { integer, present, textMap, words } from './request-body.ts';

/** What `POST /containers/create` and `/update` send, read into the model's types. Null is "not given" everywhere. */

const list = z.array(z.string());
const set = z
  .record(z.string(), z.unknown())
  .transform((keys): Record<string, object> => Object.fromEntries(Object.keys(keys).map((key) => [key, {}])));

export const health: z.ZodType<HealthConfig> = z
  .object({
    Test: list.nullish(),
    Interval: integer.nullish(),
    Timeout: integer.nullish(),
    Retries: integer.nullish(),
    StartPeriod: integer.nullish(),
    StartInterval: integer.nullish(),
  })
  .transform((value): HealthConfig => ({ Test: [], ...present(value) }));

const configFields = {
  Hostname: z.string().nullish(),
  Domainname: z.string().nullish(),
  User: z.string().nullish(),
  AttachStdin: z.boolean().nullish(),
  AttachStdout: z.boolean().nullish(),
  AttachStderr: z.boolean().nullish(),
  Tty: z.boolean().nullish(),
  OpenStdin: z.boolean().nullish(),
  StdinOnce: z.boolean().nullish(),
  Env: list.nullish(),
  Cmd: words.nullish(),
  Entrypoint: words.nullish(),
  Image: z.string().nullish(),
  Labels: textMap.nullish(),
  Volumes: set.nullish(),
  WorkingDir: z.string().nullish(),
  ExposedPorts: set.nullish(),
  Healthcheck: health.nullish(),
  StopSignal: z.string().nullish(),
  StopTimeout: integer.nullish(),
  Shell: words.nullish(),
  NetworkDisabled: z.boolean().nullish(),
};

const RESTART_POLICIES = ['', 'no', 'always', 'unless-stopped', 'on-failure'] as const;

const restartPolicy = z
  .object({ Name: z.string().nullish(), MaximumRetryCount: integer.nullish() })
  .transform((value, context): RestartPolicy => {
    const name = RESTART_POLICIES.find((known) => known === (value.Name ?? ''));
    if (name === undefined) {
      context.addIssue(
        `invalid restart policy: unknown policy '${value.Name ?? ''}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
      );
      return z.NEVER;
    }
    return { Name: name, MaximumRetryCount: value.MaximumRetryCount ?? 0 };
  });

const portBindings = z.record(
  z.string(),
  z
    .array(
      z
        .object({ HostIp: z.string().nullish(), HostPort: z.string().nullish() })
        .transform(
          ({ HostIp, HostPort }): PortBinding => ({ HostIp: HostIp ?? '', HostPort: HostPort ?? '' }),
        ),
    )
    .nullable(),
);

const mount = z
  .object({
    Type: z.enum(['bind', 'volume', 'tmpfs']),
  })
  .and(mountFields)
  .transform((value): MountSpec => {
    const { Type, Source, Target, ReadOnly, BindOptions, VolumeOptions, TmpfsOptions } = value;
    const options = present({ ReadOnly, BindOptions, VolumeOptions, TmpfsOptions });
    return { Type, Source: Source ?? '', Target: Target ?? '', ...options };
  });

const device = z
  .object({
    PathOnHost: z.string().nullish(),
    PathInContainer: z.string().nullish(),
    CgroupPermissions: z.string().nullish(),
  })
  .transform(({ PathOnHost, PathInContainer, CgroupPermissions }) => ({
    PathOnHost: PathOnHost ?? '',
    PathInContainer: PathInContainer ?? PathOnHost ?? '',
    CgroupPermissions: CgroupPermissions ?? 'rwm',
  }));

const ulimit = z
  .object({ Name: z.string(), Soft: integer.nullish(), Hard: integer.nullish() })
  .transform(({ Name, Soft, Hard }) => ({ Name, Soft: Soft ?? 0, Hard: Hard ?? 0 }));

const logConfig = z
  .object({ Type: z.string().nullish(), Config: textMap.nullish() })
  .transform(({ Type, Config }) => ({ Type: Type ?? '', Config: Config ?? {} }));

const hostConfigFields = {
  Binds: list.nullish(),
  Mounts: z.array(mount).nullish(),
  Tmpfs: textMap.nullish(),
  ContainerIDFile: z.string().nullish(),
  LogConfig: logConfig.nullish(),
  NetworkMode: z.string().nullish(),
  PortBindings: portBindings.nullish(),
  PublishAllPorts: z.boolean().nullish(),
  RestartPolicy: restartPolicy.nullish(),
  AutoRemove: z.boolean().nullish(),
  VolumeDriver: z.string().nullish(),
  VolumesFrom: list.nullish(),
  CapAdd: words.nullish(),
  CapDrop: words.nullish(),
  CgroupnsMode: z.string().nullish(),
  Dns: list.nullish(),
  DnsOptions: list.nullish(),
  DnsSearch: list.nullish(),
  ExtraHosts: list.nullish(),
  GroupAdd: list.nullish(),
  IpcMode: z.string().nullish(),
  Links: list.nullish(),
  OomScoreAdj: integer.nullish(),
  PidMode: z.string().nullish(),
  Privileged: z.boolean().nullish(),
  ReadonlyRootfs: z.boolean().nullish(),
  SecurityOpt: list.nullish(),
  UTSMode: z.string().nullish(),
  UsernsMode: z.string().nullish(),
  ShmSize: integer.nullish(),
  Sysctls: textMap.nullish(),
  Runtime: z.string().nullish(),
  CgroupParent: z.string().nullish(),
  Devices: z.array(device).nullish(),
  DeviceCgroupRules: list.nullish(),
  Init: z.boolean().nullish(),
  Memory: integer.nullish(),
  MemoryReservation: integer.nullish(),
  MemorySwap: integer.nullish(),
  MemorySwappiness: integer.nullish(),
  OomKillDisable: z.boolean().nullish(),
  NanoCpus: integer.nullish(),
  CpuShares: integer.nullish(),
  CpuPeriod: integer.nullish(),
  CpuQuota: integer.nullish(),
  CpusetCpus: z.string().nullish(),
  CpusetMems: z.string().nullish(),
  BlkioWeight: integer.nullish(),
  PidsLimit: integer.nullish(),
  Ulimits: z.array(ulimit).nullish(),
  MaskedPaths: list.nullish(),
  ReadonlyPaths: list.nullish(),
  Annotations: textMap.nullish(),
};

const hostConfigShape = z.object(hostConfigFields);

/** Fields of HostConfig that Docker has and Drover does not: asked for, they are refused by name, not dropped. */
const UNSUPPORTED_HOST_FIELDS = [
  'BlkioWeightDevice',
  'BlkioDeviceReadBps',
  'BlkioDeviceWriteBps',
  'BlkioDeviceReadIOps',
  'BlkioDeviceWriteIOps',
  'CpuRealtimePeriod',
  'CpuRealtimeRuntime',
  'DeviceRequests',
  'StorageOpt',
  'Cgroup',
] as const;

const hostConfig = z.looseObject(hostConfigFields).transform((value): Partial<HostConfig> => {
  for (const field of UNSUPPORTED_HOST_FIELDS) {
    if (isGiven(value[field])) throw notImplemented(`HostConfig.${field} is not there yet`);
  }
  return present(hostConfigShape.parse(value));
});

function isGiven(value: unknown): boolean {
  if (value === null || value === undefined || value === 0 || value === '' || value === false) return false;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}

/** An endpoint as create and `docker network connect` send it; addresses that Docker assigned are not taken over. */
export const endpointSchema: z.ZodType<Partial<EndpointSettings>> = z
  .object({
    IPAMConfig: z
      .object({ IPv4Address: z.string().nullish(), IPv6Address: z.string().nullish() })
      .transform(present)
      .nullish(),
    Links: list.nullish(),
    Aliases: list.nullish(),
    MacAddress: z.string().nullish(),
    DriverOpts: textMap.nullish(),
    GwPriority: integer.nullish(),
  })
  .transform((value): Partial<EndpointSettings> => present(value));

export interface CreateRequest {
  config: Partial<ContainerConfig>;
  hostConfig: Partial<HostConfig>;
  endpoints: Record<string, Partial<EndpointSettings>>;
}

export const createSchema: z.ZodType<CreateRequest> = z
  .object({
    ...configFields,
    /** Before API 1.44 a container has one MAC address, and it is its first endpoint's. */
    MacAddress: z.string().nullish(),
    HostConfig: hostConfig.nullish(),
    NetworkingConfig: z
      .object({ EndpointsConfig: z.record(z.string(), endpointSchema.nullable()).nullish() })
      .nullish(),
  })
  .transform(({ HostConfig, NetworkingConfig, MacAddress, ...config }): CreateRequest => {
    const endpoints: Record<string, Partial<EndpointSettings>> = {};
    for (const [network, endpoint] of Object.entries(NetworkingConfig?.EndpointsConfig ?? {})) {
      endpoints[networkName(network)] = endpoint ?? {};
    }
    const hostConfiguration = HostConfig ?? {};
    if (MacAddress !== null && MacAddress !== undefined && MacAddress !== '') {
      const network = networkName(hostConfiguration.NetworkMode ?? 'default');
      const endpoint = endpoints[network] ?? {};
      endpoints[network] = { MacAddress, ...endpoint };
    }
    return { config: present(config), hostConfig: hostConfiguration, endpoints };
  });

/** What `POST /commit` sends: nothing, null, or settings over the container's own. */
export const commitSchema: z.ZodType<Partial<ContainerConfig>> = z
  .object(configFields)
  .nullish()
  .transform((value): Partial<ContainerConfig> => present(value ?? {}));

/** The CLI calls the default bridge `default`, everybody else by its name. */
function networkName(asked: string): string {
  return asked === 'default' ? 'bridge' : asked;
}

/** The fields that `docker update` may change, all of them HostConfig's. */
const UPDATABLE = [
  'BlkioWeight',
  'CpuShares',
  'CpuPeriod',
  'CpuQuota',
  'CpusetCpus',
  'CpusetMems',
  'Memory',
  'MemorySwap',
  'MemoryReservation',
  'NanoCpus',
  'PidsLimit',
  'RestartPolicy',
] as const satisfies readonly (keyof HostConfig)[];

export const updateSchema: z.ZodType<Partial<HostConfig>> = hostConfig.transform((given) => {
  const change: Partial<HostConfig> = {};
  for (const field of UPDATABLE) {
    if (field in given) Object.assign(change, { [field]: given[field] });
  }
  return change;
});
