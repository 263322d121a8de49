import { isIP } from 'node:net';
import { MASKED_PATHS, READONLY_PATHS } from '#engine/runtime/oci-specification.ts';
import { parseByteSize } from '#model/byte-size.ts';
import type { ContainerConfig, HostConfig, LogConfig, Ulimit } from '#model/container.ts';
import { invalid, notImplemented } from '#model/errors.ts';
import { expandPorts } from './container-config.ts';
import { checkResources } from './resource-limits.ts';
import { checkRestartPolicy } from './restart-policy.ts';

const DEFAULT_SHM_BYTES = 64 * 1024 * 1024;

/** What the daemon knows about the machine and itself that defaults depend on. */
export interface HostFacts {
  cpus: number;
  cgroupVersion: 1 | 2;
  runtimeName: string;
  /** Of containers that set none of that name. */
  defaultUlimits?: readonly Ulimit[];
}

/** What was asked for, completed by Docker's defaults and checked. Throws `invalid` in Docker's words. */
export function completeHostConfig(asked: Partial<HostConfig>, facts: HostFacts): HostConfig {
  const privileged = asked.Privileged ?? false;
  const memory = asked.Memory ?? 0;
  const config: HostConfig = {
    Binds: asked.Binds ?? null,
    Mounts: asked.Mounts ?? [],
    Tmpfs: asked.Tmpfs ?? {},
    ContainerIDFile: asked.ContainerIDFile ?? '',
    LogConfig: completeLogConfig(asked.LogConfig),
    NetworkMode: networkMode(asked.NetworkMode),
    PortBindings: asked.PortBindings ?? {},
    PublishAllPorts: asked.PublishAllPorts ?? false,
    RestartPolicy: asked.RestartPolicy ?? { Name: 'no', MaximumRetryCount: 0 },
    AutoRemove: asked.AutoRemove ?? false,
    VolumeDriver: asked.VolumeDriver ?? '',
    VolumesFrom: asked.VolumesFrom ?? null,
    CapAdd: asked.CapAdd ?? null,
    CapDrop: asked.CapDrop ?? null,
    CgroupnsMode: asked.CgroupnsMode || (facts.cgroupVersion === 2 && !privileged ? 'private' : 'host'),
    Dns: asked.Dns ?? [],
    DnsOptions: asked.DnsOptions ?? [],
    DnsSearch: asked.DnsSearch ?? [],
    ExtraHosts: asked.ExtraHosts ?? null,
    GroupAdd: asked.GroupAdd ?? null,
    IpcMode: asked.IpcMode || 'private',
    Links: asked.Links ?? null,
    OomScoreAdj: asked.OomScoreAdj ?? 0,
    PidMode: asked.PidMode ?? '',
    Privileged: privileged,
    ReadonlyRootfs: asked.ReadonlyRootfs ?? false,
    SecurityOpt: asked.SecurityOpt ?? null,
    UTSMode: asked.UTSMode ?? '',
    UsernsMode: asked.UsernsMode ?? '',
    ShmSize: asked.ShmSize || DEFAULT_SHM_BYTES,
    Sysctls: asked.Sysctls ?? {},
    Runtime: asked.Runtime || facts.runtimeName,
    CgroupParent: asked.CgroupParent ?? '',
    Devices: asked.Devices ?? [],
    DeviceCgroupRules: asked.DeviceCgroupRules ?? null,
    Init: asked.Init ?? false,
    Memory: memory,
    MemoryReservation: asked.MemoryReservation ?? 0,
    // as much swap as memory
    MemorySwap: asked.MemorySwap || (memory > 0 ? memory * 2 : 0),
    MemorySwappiness: asked.MemorySwappiness ?? null,
    OomKillDisable: asked.OomKillDisable ?? false,
    NanoCpus: asked.NanoCpus ?? 0,
    CpuShares: asked.CpuShares ?? 0,
    CpuPeriod: asked.CpuPeriod ?? 0,
    CpuQuota: asked.CpuQuota ?? 0,
    CpusetCpus: asked.CpusetCpus ?? '',
    CpusetMems: asked.CpusetMems ?? '',
    BlkioWeight: asked.BlkioWeight ?? 0,
    PidsLimit: asked.PidsLimit && asked.PidsLimit > 0 ? asked.PidsLimit : null,
    Ulimits: ulimitsOf(asked.Ulimits, facts.defaultUlimits ?? []),
    MaskedPaths: asked.MaskedPaths ?? (privileged ? [] : [...MASKED_PATHS]),
    ReadonlyPaths: asked.ReadonlyPaths ?? (privileged ? [] : [...READONLY_PATHS]),
    ...(asked.Annotations === undefined ? {} : { Annotations: asked.Annotations }),
  };
  checkResources(asked, facts.cpus);
  checkHostConfig(config, facts);
  return config;
}

function ulimitsOf(asked: Ulimit[] | null | undefined, defaults: readonly Ulimit[]): Ulimit[] | null {
  const missing = defaults.filter(({ Name }) => asked?.some((limit) => limit.Name === Name) !== true);
  return missing.length === 0 ? (asked ?? null) : [...(asked ?? []), ...missing];
}

/** Docker calls its default network `bridge`, whichever interface is behind it. */
function networkMode(asked: string | undefined): string {
  return asked === undefined || asked === '' || asked === 'default' ? 'bridge' : asked;
}

const LOG_DRIVERS: readonly string[] = ['json-file', 'local', 'none'];
const LOG_OPTIONS: readonly string[] = ['max-size', 'max-file', 'compress', 'mode', 'max-buffer-size'];

function completeLogConfig(asked: LogConfig | undefined): LogConfig {
  const config = { Type: asked?.Type || 'json-file', Config: asked?.Config ?? {} };
  if (!LOG_DRIVERS.includes(config.Type)) {
    throw invalid(`logger: no log driver named '${config.Type}' is registered`);
  }
  const unknown = Object.keys(config.Config).find((key) => !LOG_OPTIONS.includes(key));
  if (unknown !== undefined) throw invalid(`unknown log opt '${unknown}' for ${config.Type} log driver`);
  logMaximumBytes(config);
  return config;
}

/** False for `--log-driver none`. */
export function keepsLog({ LogConfig }: Pick<HostConfig, 'LogConfig'>): boolean {
  return LogConfig.Type !== 'none';
}

/** The `max-size` of a log in bytes; undefined when it has none. */
export function logMaximumBytes(config: LogConfig): number | undefined {
  const text = config.Config['max-size'];
  if (text === undefined || text === '' || text === '-1') return undefined;
  const bytes = parseByteSize(text);
  if (bytes === undefined || bytes === 0) throw invalid(`invalid size: '${text}' in log option max-size`);
  return bytes;
}

function checkHostConfig(config: HostConfig, facts: HostFacts): void {
  checkRestartPolicy(config.RestartPolicy);
  if (config.AutoRemove && !['', 'no'].includes(config.RestartPolicy.Name)) {
    throw invalid("can't create 'AutoRemove' container with restart policy");
  }
  checkModes(config);
  for (const [key, bindings] of Object.entries(config.PortBindings)) {
    expandPorts(key);
    for (const { HostPort } of bindings ?? []) {
      if (HostPort !== '' && !/^\d{1,5}(-\d{1,5})?$/.test(HostPort)) {
        throw invalid(`invalid port specification: "${HostPort}"`);
      }
    }
  }
  for (const entry of config.ExtraHosts ?? []) checkExtraHost(entry);
  for (const address of config.Dns) {
    if (isIP(address) === 0) throw invalid(`bad parameter: HostConfig.Dns: ${address} is not an IP address`);
  }
  if (!['runc', 'crun', 'io.containerd.runc.v2', facts.runtimeName].includes(config.Runtime)) {
    throw invalid(`unknown or invalid runtime name: ${config.Runtime}`);
  }
}

function checkModes(config: HostConfig): void {
  const { IpcMode, PidMode, UTSMode, CgroupnsMode, UsernsMode } = config;
  if (!['private', 'host', 'shareable', 'none'].includes(IpcMode) && !isContainerMode(IpcMode)) {
    throw invalid(`invalid IPC mode: ${IpcMode}`);
  }
  if (!['', 'host', 'private'].includes(PidMode) && !isContainerMode(PidMode)) {
    throw invalid(`invalid PID mode: ${PidMode}`);
  }
  if (!['', 'host'].includes(UTSMode)) throw invalid(`invalid UTS mode: ${UTSMode}`);
  if (!['', 'host', 'private'].includes(CgroupnsMode)) {
    throw invalid(`invalid cgroup namespace mode: ${CgroupnsMode}`);
  }
  if (UsernsMode !== '' && UsernsMode !== 'host') {
    throw notImplemented(`HostConfig.UsernsMode "${UsernsMode}": user namespaces are not there yet`);
  }
}

function isContainerMode(mode: string): boolean {
  return containerOfMode(mode) !== undefined;
}

/** The container named in `container:x`, of a network, PID or IPC mode. */
export function containerOfMode(mode: string): string | undefined {
  const prefix = 'container:';
  return mode.startsWith(prefix) && mode.length > prefix.length ? mode.slice(prefix.length) : undefined;
}

function checkExtraHost(entry: string): void {
  // host:address or host=address; an address may itself contain colons
  const [, name, address] = /^([^:=]+)[:=](.+)$/.exec(entry) ?? [];
  if (name === undefined || address === undefined) throw invalid(`bad format for add-host: "${entry}"`);
  const bare = address.replace(/^\[(.*)\]$/, '$1');
  if (bare !== 'host-gateway' && isIP(bare) === 0) {
    throw invalid(`invalid IP address in add-host: "${address}"`);
  }
}

/** Options that contradict each other between the container's own and its host's part. */
export function checkConflicts(asked: Partial<ContainerConfig>, host: HostConfig): void {
  const hostname = asked.Hostname ?? '';
  if (host.UTSMode === 'host' && hostname !== '') {
    throw invalid('conflicting options: hostname and the UTS mode');
  }
  const hasLinks = (host.Links ?? []).length > 0;
  if (host.NetworkMode === 'host' && hasLinks) {
    throw invalid(
      "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
    );
  }
  if (containerOfMode(host.NetworkMode) === undefined) return;
  if (hostname !== '') throw invalid('conflicting options: hostname and the network mode');
  if (hasLinks) {
    throw invalid(
      "conflicting options: container type network can't be used with links. This would result in undefined behavior",
    );
  }
  if (host.Dns.length > 0) throw invalid('conflicting options: dns and the network mode');
  if ((host.ExtraHosts ?? []).length > 0) {
    throw invalid('conflicting options: custom host-to-IP mapping and the network mode');
  }
  if (Object.keys(host.PortBindings).length > 0 || host.PublishAllPorts) {
    throw invalid('conflicting options: port publishing and the container type network mode');
  }
  if (Object.keys(asked.ExposedPorts ?? {}).length > 0) {
    throw invalid('conflicting options: port exposing and the container type network mode');
  }
}
