/**
 * Containers, in Docker's words and Docker's spelling: what a client asks for (`ContainerConfig`, `HostConfig`)
 * is kept as it was asked, with defaults filled in, so that inspect gives it back. See decision 0003.
 */

/** Durations are nanoseconds, as in Docker's API; 0 means "the default" (interval 30 s, timeout 30 s, retries 3). */
export interface HealthConfig {
  /** `[]` inherits, `['NONE']` disables, `['CMD', …]` execs, `['CMD-SHELL', command]` runs in the shell. */
  Test: string[];
  Interval?: number;
  Timeout?: number;
  Retries?: number;
  StartPeriod?: number;
  StartInterval?: number;
}

export interface ContainerConfig {
  Hostname: string;
  Domainname: string;
  User: string;
  AttachStdin: boolean;
  AttachStdout: boolean;
  AttachStderr: boolean;
  Tty: boolean;
  OpenStdin: boolean;
  StdinOnce: boolean;
  Env: string[];
  Cmd: string[] | null;
  Entrypoint: string[] | null;
  Image: string;
  Labels: Record<string, string>;
  /** Keys are container paths; values are always `{}`. */
  Volumes: Record<string, object> | null;
  WorkingDir: string;
  /** Keys such as `80/tcp`. */
  ExposedPorts: Record<string, object> | null;
  Healthcheck?: HealthConfig;
  StopSignal?: string;
  /** Seconds. */
  StopTimeout?: number;
  Shell?: string[] | null;
  NetworkDisabled?: boolean;
}

export interface PortBinding {
  HostIp: string;
  /** Decimal port, a range `8000-8010`, or empty for an ephemeral port. */
  HostPort: string;
}

export interface RestartPolicy {
  Name: '' | 'no' | 'always' | 'unless-stopped' | 'on-failure';
  MaximumRetryCount: number;
}

export interface MountSpec {
  Type: 'bind' | 'volume' | 'tmpfs';
  Source: string;
  Target: string;
  ReadOnly?: boolean;
  BindOptions?: {
    Propagation?: string;
    NonRecursive?: boolean;
    CreateMountpoint?: boolean;
    /** What is mounted below the source stays writable. */
    ReadOnlyNonRecursive?: boolean;
    ReadOnlyForceRecursive?: boolean;
  };
  VolumeOptions?: {
    NoCopy?: boolean;
    Subpath?: string;
    Labels?: Record<string, string>;
    DriverConfig?: { Name?: string; Options?: Record<string, string> };
  };
  TmpfsOptions?: { SizeBytes?: number; Mode?: number };
}

export interface DeviceMapping {
  PathOnHost: string;
  PathInContainer: string;
  CgroupPermissions: string;
}

export interface Ulimit {
  Name: string;
  Soft: number;
  Hard: number;
}

export interface LogConfig {
  Type: string;
  Config: Record<string, string>;
}

export interface HostConfig {
  /** `src:dst[:options]`, or `name:dst[:options]` for a named volume. */
  Binds: string[] | null;
  Mounts: MountSpec[];
  /** Path → mount options. */
  Tmpfs: Record<string, string>;
  ContainerIDFile: string;
  LogConfig: LogConfig;
  /** `default` | `bridge` | `none` | `host` | `container:<name|id>` | a network's name or ID. */
  NetworkMode: string;
  /** Keys such as `80/tcp`. */
  PortBindings: Record<string, PortBinding[] | null>;
  PublishAllPorts: boolean;
  RestartPolicy: RestartPolicy;
  AutoRemove: boolean;
  VolumeDriver: string;
  VolumesFrom: string[] | null;
  CapAdd: string[] | null;
  CapDrop: string[] | null;
  CgroupnsMode: string;
  Dns: string[];
  DnsOptions: string[];
  DnsSearch: string[];
  ExtraHosts: string[] | null;
  GroupAdd: string[] | null;
  IpcMode: string;
  Links: string[] | null;
  OomScoreAdj: number;
  PidMode: string;
  Privileged: boolean;
  ReadonlyRootfs: boolean;
  SecurityOpt: string[] | null;
  UTSMode: string;
  UsernsMode: string;
  /** Bytes; 0 is Docker's default of 64 MiB. */
  ShmSize: number;
  Sysctls: Record<string, string>;
  Runtime: string;
  CgroupParent: string;
  Devices: DeviceMapping[] | null;
  DeviceCgroupRules: string[] | null;
  Init: boolean;
  /** Bytes; 0 is no limit. */
  Memory: number;
  MemoryReservation: number;
  /** Bytes of memory and swap together; -1 is no limit. */
  MemorySwap: number;
  MemorySwappiness: number | null;
  OomKillDisable: boolean;
  /** Billionths of a CPU. */
  NanoCpus: number;
  CpuShares: number;
  CpuPeriod: number;
  CpuQuota: number;
  CpusetCpus: string;
  CpusetMems: string;
  BlkioWeight: number;
  /** null, 0 and -1 are no limit. */
  PidsLimit: number | null;
  Ulimits: Ulimit[] | null;
  MaskedPaths: string[] | null;
  ReadonlyPaths: string[] | null;
  Annotations?: Record<string, string>;
}

/** A container's place on one network: what was asked, and what was given. */
export interface EndpointSettings {
  IPAMConfig: { IPv4Address?: string; IPv6Address?: string } | null;
  Links: string[] | null;
  /** Names given by the user; see `DNSNames` for all that resolve. */
  Aliases: string[] | null;
  MacAddress: string;
  DriverOpts: Record<string, string> | null;
  GwPriority: number;
  NetworkID: string;
  EndpointID: string;
  Gateway: string;
  IPAddress: string;
  IPPrefixLen: number;
  IPv6Gateway: string;
  GlobalIPv6Address: string;
  GlobalIPv6PrefixLen: number;
  DNSNames: string[] | null;
}

export interface MountPoint {
  Type: 'bind' | 'volume' | 'tmpfs';
  /** The volume's name; absent on other types. */
  Name?: string;
  Source: string;
  Destination: string;
  Driver?: string;
  Mode: string;
  RW: boolean;
  Propagation: string;
  /** Anonymous volumes go with `docker rm -v` and `--rm`. */
  anonymous?: boolean;
  /** Of a volume: what of it is mounted, instead of all. */
  subpath?: string;
  /** Where that is since the last start; {@link Source} where it is all. */
  prepared?: string;
  /** Copy what the image has at Destination into an empty volume at the first start. */
  copyUp?: boolean;
  /** tmpfs mount options, bind non-recursive and so on, for the OCI spec. */
  options?: string[];
}

export type ContainerStatus =
  | 'created'
  | 'running'
  | 'paused'
  | 'restarting'
  | 'removing'
  | 'exited'
  | 'dead';

export type HealthStatus = 'none' | 'starting' | 'healthy' | 'unhealthy';

export interface HealthLogEntry {
  Start: string;
  End: string;
  ExitCode: number;
  Output: string;
}

export interface Health {
  Status: HealthStatus;
  FailingStreak: number;
  /** The last five probes, oldest first. */
  Log: HealthLogEntry[];
}

/** Timestamps are RFC 3339; `0001-01-01T00:00:00Z` is "never". */
export interface ContainerState {
  Status: ContainerStatus;
  Running: boolean;
  Paused: boolean;
  Restarting: boolean;
  OOMKilled: boolean;
  Dead: boolean;
  Pid: number;
  ExitCode: number;
  Error: string;
  StartedAt: string;
  FinishedAt: string;
  Health?: Health;
}

/** What is kept of a container; everything else is derived or read from the kernel. */
export interface ContainerRecord {
  /** 64 hexadecimal digits. */
  id: string;
  /** Without the leading slash. */
  name: string;
  created: string;
  /** `sha256:…` of the image's configuration. */
  imageId: string;
  /** The program and its arguments after entrypoint and command were put together. */
  path: string;
  args: string[];
  config: ContainerConfig;
  hostConfig: HostConfig;
  /** Keyed by network name. */
  networks: Record<string, EndpointSettings>;
  mounts: MountPoint[];
  state: ContainerState;
  restartCount: number;
  /** Set by stop and kill: `unless-stopped` and `always` do not bring back what a person stopped. */
  stoppedByUser: boolean;
  /** The ports in force while it runs; empty otherwise. Keys such as `80/tcp`. */
  ports: Record<string, PortBinding[]>;
  /** Start time of `state.Pid` from /proc, which tells it from another process with the same number. */
  pidStartTime?: string;
}

/** The time Docker writes where something has not happened. */
export const NEVER = '0001-01-01T00:00:00Z';

/** The state of a container that was never started. */
export const CREATED: Readonly<ContainerState> = Object.freeze({
  Status: 'created',
  Running: false,
  Paused: false,
  Restarting: false,
  OOMKilled: false,
  Dead: false,
  Pid: 0,
  ExitCode: 0,
  Error: '',
  StartedAt: NEVER,
  FinishedAt: NEVER,
});
