import type { NetworkFiles } from '#engine/layers/container-filesystem.ts';
import type { ContainerRecord, HostConfig, MountPoint } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import { containerCapabilities } from './capabilities.ts';
import {
  askedDevices,
  DEFAULT_DEVICE_RULES,
  type DeviceRule,
  hostDevices,
  type OciDevice,
  parseDeviceRule,
} from './devices.ts';
import { customSeccomp, defaultSeccomp, type Seccomp } from './seccomp-profile.ts';
import type { ResolvedUser } from './user-lookup.ts';

export interface OciMount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

/** The runtime specification's `process`. */
export interface OciProcess {
  terminal: boolean;
  consoleSize?: { height: number; width: number };
  user: { uid: number; gid: number; additionalGids: number[] };
  args: string[];
  env: string[];
  cwd: string;
  capabilities: Record<'bounding' | 'effective' | 'permitted' | 'inheritable' | 'ambient', string[]>;
  rlimits: { type: string; soft: number; hard: number }[];
  noNewPrivileges: boolean;
  oomScoreAdj?: number;
}

export interface OciNamespace {
  type: 'pid' | 'network' | 'ipc' | 'uts' | 'mount' | 'cgroup' | 'user';
  path?: string;
}

/** The OCI runtime specification's config.json, as far as it is written here. */
export interface OciSpecification {
  ociVersion: string;
  process: OciProcess;
  root: { path: string; readonly: boolean };
  hostname?: string;
  domainname?: string;
  mounts: OciMount[];
  annotations: Record<string, string>;
  linux: {
    cgroupsPath: string;
    namespaces: OciNamespace[];
    devices: OciDevice[];
    resources: object;
    maskedPaths: string[];
    readonlyPaths: string[];
    sysctl: Record<string, string>;
    rootfsPropagation: string;
    seccomp?: Seccomp;
  };
}

export interface SpecificationInput {
  container: ContainerRecord;
  rootfs: string;
  user: ResolvedUser;
  /** Path of the namespace; undefined is the host's. */
  networkNamespace: string | undefined;
  /** Path of another container's namespace, `host`, or undefined for one of its own. */
  pidNamespace: string | undefined;
  ipcNamespace: string | undefined;
  utsNamespace: string | undefined;
  cgroupsPath: string;
  cgroupVersion: 1 | 2;
  /** The daemon's own capabilities. */
  heldCapabilities: readonly string[];
  /** The source of /dev/shm of a container that shares its IPC namespace, or joins another one's. */
  sharedShm?: string;
  files: NetworkFiles;
  /** Program on the host that `--init` puts in front; see `findInit`. */
  initBinary: string | undefined;
}

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const BIND = ['rbind', 'rprivate'];
const INIT_INSIDE = '/sbin/docker-init';

/** What Docker hides from a container in /proc and /sys. */
export const MASKED_PATHS: readonly string[] = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];

/** What Docker keeps a container from writing to in /proc. */
export const READONLY_PATHS: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

/** Turns a container's record into what the runtime is given; pure but for the devices of the host it may list. */
export function ociSpecification(o: SpecificationInput): OciSpecification {
  const { container } = o;
  const { config, hostConfig } = container;
  const capabilities = capabilitiesOf(hostConfig, o.heldCapabilities);
  const security = securityOptions(hostConfig.SecurityOpt ?? []);
  const { devices, rules } = devicesOf(hostConfig);
  const seccomp = hostConfig.Privileged ? undefined : seccompOf(security.seccomp, capabilities);
  const process = {
    ...ociProcess({
      container,
      args:
        o.initBinary === undefined
          ? [container.path, ...container.args]
          : [INIT_INSIDE, '--', container.path, ...container.args],
      env: config.Env,
      cwd: config.WorkingDir,
      user: o.user,
      terminal: config.Tty,
      capabilities,
    }),
  };
  const own = o.utsNamespace === undefined;
  return {
    ociVersion: '1.0.2',
    process,
    root: { path: o.rootfs, readonly: hostConfig.ReadonlyRootfs },
    ...(own && config.Hostname !== '' ? { hostname: config.Hostname } : {}),
    ...(own && config.Domainname !== '' ? { domainname: config.Domainname } : {}),
    mounts: mountsOf(o),
    annotations: { ...hostConfig.Annotations },
    linux: {
      cgroupsPath: o.cgroupsPath,
      namespaces: namespacesOf(o),
      devices,
      resources: resourcesOf(hostConfig, rules, o.cgroupVersion),
      maskedPaths:
        hostConfig.Privileged || security.unmasked ? [] : [...(hostConfig.MaskedPaths ?? MASKED_PATHS)],
      readonlyPaths:
        hostConfig.Privileged || security.unmasked ? [] : [...(hostConfig.ReadonlyPaths ?? READONLY_PATHS)],
      sysctl: sysctls(hostConfig, o.networkNamespace === undefined),
      rootfsPropagation: container.mounts.some((mount) => /shared|slave/.test(mount.Propagation))
        ? 'rslave'
        : 'rprivate',
      ...(seccomp === undefined ? {} : { seccomp }),
    },
  };
}

/** A process in a container: its first one, or an exec's. */
export function ociProcess(o: {
  container: ContainerRecord;
  args: string[];
  env: readonly string[];
  cwd: string;
  user: ResolvedUser;
  terminal: boolean;
  capabilities: readonly string[];
}): OciProcess {
  const { config, hostConfig } = o.container;
  const held = [...o.capabilities];
  // Only root gets its capabilities without asking; others get them from set-user-ID and file capabilities.
  const effective = o.user.uid === 0 ? held : [];
  const names = new Set(o.env.map((pair) => pair.split('=', 1)[0]));
  const inherited = [
    names.has('PATH') ? [] : [DEFAULT_PATH],
    names.has('HOSTNAME') || config.Hostname === '' ? [] : [`HOSTNAME=${config.Hostname}`],
    o.terminal && !names.has('TERM') ? ['TERM=xterm'] : [],
  ].flat();
  const process: OciProcess = {
    terminal: o.terminal,
    user: { uid: o.user.uid, gid: o.user.gid, additionalGids: o.user.additionalGids },
    args: o.args,
    env: [
      ...inherited,
      ...o.env.filter((pair) => pair.includes('=')),
      ...(names.has('HOME') ? [] : [`HOME=${o.user.home}`]),
    ],
    cwd: o.cwd === '' ? '/' : o.cwd,
    capabilities: { bounding: held, effective, permitted: effective, inheritable: [], ambient: [] },
    rlimits: (hostConfig.Ulimits ?? []).map(({ Name, Soft, Hard }) => ({
      type: `RLIMIT_${Name.toUpperCase()}`,
      soft: Soft,
      hard: Hard,
    })),
    noNewPrivileges: securityOptions(hostConfig.SecurityOpt ?? []).noNewPrivileges,
  };
  if (hostConfig.OomScoreAdj !== 0) process.oomScoreAdj = hostConfig.OomScoreAdj;
  return process;
}

/** What the container's processes may do. */
export function capabilitiesOf(hostConfig: HostConfig, held: readonly string[]): string[] {
  return containerCapabilities({
    add: hostConfig.CapAdd ?? [],
    drop: hostConfig.CapDrop ?? [],
    privileged: hostConfig.Privileged,
    held,
  });
}

interface SecurityOptions {
  noNewPrivileges: boolean;
  unmasked: boolean;
  seccomp: string | undefined;
}

function securityOptions(options: readonly string[]): SecurityOptions {
  const result: SecurityOptions = { noNewPrivileges: false, unmasked: false, seccomp: undefined };
  for (const option of options) {
    const separator = option.search(/[=:]/);
    const name = separator === -1 ? option : option.slice(0, separator);
    const value = separator === -1 ? '' : option.slice(separator + 1);
    if (name === 'no-new-privileges') result.noNewPrivileges = value !== 'false';
    else if (name === 'seccomp') result.seccomp = value;
    else if (name === 'systempaths' && value === 'unconfined') result.unmasked = true;
    else if (name === 'apparmor' || name === 'label') continue;
    else throw invalid(`invalid --security-opt 2: ${JSON.stringify(option)}`);
  }
  return result;
}

function seccompOf(option: string | undefined, capabilities: readonly string[]): Seccomp | undefined {
  if (option === 'unconfined') return undefined;
  if (option === undefined || option === 'builtin') return defaultSeccomp(capabilities);
  return customSeccomp(option, capabilities);
}

function devicesOf(hostConfig: HostConfig): { devices: OciDevice[]; rules: DeviceRule[] } {
  if (hostConfig.Privileged) return { devices: hostDevices(), rules: [{ allow: true, access: 'rwm' }] };
  const asked = askedDevices(hostConfig.Devices ?? []);
  const own = (hostConfig.DeviceCgroupRules ?? []).map(parseDeviceRule);
  return { devices: asked.devices, rules: [...DEFAULT_DEVICE_RULES, ...asked.rules, ...own] };
}

function namespacesOf(o: SpecificationInput): OciNamespace[] {
  const namespaces: OciNamespace[] = [{ type: 'mount' }];
  if (o.networkNamespace !== undefined) namespaces.push({ type: 'network', path: o.networkNamespace });
  for (const [type, from] of [
    ['pid', o.pidNamespace],
    ['ipc', o.ipcNamespace],
    ['uts', o.utsNamespace],
  ] as const) {
    if (from === undefined) namespaces.push({ type });
    else if (from !== 'host') namespaces.push({ type, path: from });
  }
  if (o.cgroupVersion === 2 && o.container.hostConfig.CgroupnsMode !== 'host')
    namespaces.push({ type: 'cgroup' });
  return namespaces;
}

/** /dev/shm: the host's, one that is shared, none, or the container's own. */
function shmMounts(o: SpecificationInput): OciMount[] {
  const { IpcMode } = o.container.hostConfig;
  const destination = '/dev/shm';
  if (IpcMode === 'none') return [];
  const source = IpcMode === 'host' ? destination : o.sharedShm;
  if (source !== undefined) return [{ destination, type: 'bind', source, options: BIND }];
  const size = `size=${o.container.hostConfig.ShmSize}`;
  return [
    { destination, type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777', size] },
  ];
}

function mountsOf(o: SpecificationInput): OciMount[] {
  const { container } = o;
  const { hostConfig } = container;
  const cgroup = hostConfig.Privileged ? 'rw' : 'ro';
  const files = hostConfig.ReadonlyRootfs ? [...BIND, 'ro'] : BIND;
  const own: OciMount[] = [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    // Without a network namespace of its own sysfs cannot be mounted anew, but with privileges it can be bound.
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', cgroup] },
    {
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: [cgroup, 'nosuid', 'noexec', 'nodev'],
    },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    ...shmMounts(o),
    { destination: '/etc/resolv.conf', type: 'bind', source: o.files.resolvConf, options: files },
    { destination: '/etc/hostname', type: 'bind', source: o.files.hostname, options: files },
    { destination: '/etc/hosts', type: 'bind', source: o.files.hosts, options: files },
  ];
  if (o.initBinary !== undefined) {
    own.push({ destination: INIT_INSIDE, type: 'bind', source: o.initBinary, options: ['bind', 'ro'] });
  }
  const asked = container.mounts.map(mountOf);
  const replaced = new Set(asked.map((mount) => mount.destination));
  const depth = (path: string): number => path.split('/').filter((part) => part !== '').length;
  return [
    ...own.filter((mount) => !replaced.has(mount.destination)),
    ...asked.sort((a, b) => depth(a.destination) - depth(b.destination)),
  ];
}

function mountOf(mount: MountPoint): OciMount {
  const access = mount.RW ? 'rw' : 'ro';
  if (mount.Type === 'tmpfs') {
    const options = mount.options ?? [];
    return {
      destination: mount.Destination,
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'nodev', 'noexec', access, ...options],
    };
  }
  const kind = (mount.options ?? []).some((option) => option === 'bind' || option === 'rbind')
    ? []
    : ['rbind'];
  const propagation = mount.Propagation === '' ? 'rprivate' : mount.Propagation;
  return {
    destination: mount.Destination,
    type: 'bind',
    source: mount.prepared ?? mount.Source,
    options: [...kind, ...(mount.options ?? []), propagation, access],
  };
}

function sysctls(hostConfig: HostConfig, hostNetwork: boolean): Record<string, string> {
  for (const name of Object.keys(hostConfig.Sysctls)) {
    if (hostNetwork && name.startsWith('net.')) {
      throw invalid(`sysctl '${name}' is not allowed in host network mode: it would change the host's`);
    }
  }
  return hostConfig.Sysctls;
}

const CPU_PERIOD = 100_000;

function resourcesOf(hostConfig: HostConfig, rules: readonly DeviceRule[], cgroupVersion: 1 | 2): object {
  const memory = {
    ...(hostConfig.Memory > 0 ? { limit: hostConfig.Memory } : {}),
    ...(hostConfig.MemoryReservation > 0 ? { reservation: hostConfig.MemoryReservation } : {}),
    ...swapOf(hostConfig),
    ...(cgroupVersion === 1 && hostConfig.MemorySwappiness !== null && hostConfig.MemorySwappiness >= 0
      ? { swappiness: hostConfig.MemorySwappiness }
      : {}),
    ...(cgroupVersion === 1 && hostConfig.OomKillDisable ? { disableOOMKiller: true } : {}),
  };
  const quota =
    hostConfig.NanoCpus > 0
      ? { quota: Math.round((hostConfig.NanoCpus * CPU_PERIOD) / 1e9), period: CPU_PERIOD }
      : {
          ...(hostConfig.CpuQuota !== 0 ? { quota: hostConfig.CpuQuota } : {}),
          ...(hostConfig.CpuPeriod > 0 ? { period: hostConfig.CpuPeriod } : {}),
        };
  const cpu = {
    ...quota,
    ...(hostConfig.CpuShares > 0 ? { shares: hostConfig.CpuShares } : {}),
    ...(hostConfig.CpusetCpus !== '' ? { cpus: hostConfig.CpusetCpus } : {}),
    ...(hostConfig.CpusetMems !== '' ? { mems: hostConfig.CpusetMems } : {}),
  };
  const pids = hostConfig.PidsLimit;
  return {
    devices: rules,
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(pids !== null && pids > 0 ? { pids: { limit: pids } } : {}),
    ...(hostConfig.BlkioWeight > 0 ? { blockIO: { weight: hostConfig.BlkioWeight } } : {}),
  };
}

/** Docker gives a container with a memory limit as much swap again, unless told otherwise. */
function swapOf(hostConfig: HostConfig): { swap?: number } {
  if (hostConfig.MemorySwap !== 0) return { swap: hostConfig.MemorySwap };
  return hostConfig.Memory > 0 ? { swap: hostConfig.Memory * 2 } : {};
}
