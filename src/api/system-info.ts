import { availableParallelism, hostname, release, totalmem } from 'node:os';
import type { EngineParts } from './engine-parts.ts';
import { PRODUCT_VERSION } from './product.ts';
import { swarmInfoView } from './swarm-view.ts';

/** Everything `docker info` prints. */
export function systemInfo(parts: EngineParts): object {
  const { daemon, runtime } = parts;
  const records = parts.containers.list({ all: true, limit: 0, filters: {} });
  const paused = records.filter(({ state }) => state.Paused).length;
  const running = records.filter(({ state }) => state.Running).length - paused;
  return {
    ID: daemon.id,
    Containers: records.length,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: records.length - running - paused,
    Images: parts.images.list().length,
    Driver: 'overlay2',
    DriverStatus: [['Backing Filesystem', 'overlayfs']],
    SystemStatus: null,
    Plugins: {
      Volume: ['local'],
      Network: ['bridge', 'host', 'null', 'overlay'],
      Authorization: null,
      Log: ['json-file'],
    },
    MemoryLimit: true,
    SwapLimit: true,
    CpuCfsPeriod: true,
    CpuCfsQuota: true,
    CPUShares: true,
    CPUSet: true,
    PidsLimit: true,
    IPv4Forwarding: true,
    OomKillDisable: daemon.cgroupVersion === '1',
    Debug: daemon.debug,
    NFd: 0,
    NGoroutines: 0,
    SystemTime: new Date().toISOString(),
    LoggingDriver: 'json-file',
    CgroupDriver: 'cgroupfs',
    CgroupVersion: daemon.cgroupVersion,
    NEventsListener: 0,
    KernelVersion: release(),
    OperatingSystem: daemon.operatingSystem,
    OSVersion: daemon.operatingSystemVersion,
    OSType: 'linux',
    Architecture: { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string] ?? process.arch,
    NCPU: availableParallelism(),
    MemTotal: totalmem(),
    IndexServerAddress: '',
    RegistryConfig: { InsecureRegistryCIDRs: [], IndexConfigs: {}, Mirrors: [] },
    GenericResources: daemon.genericResources.length === 0 ? null : daemon.genericResources,
    DockerRootDir: daemon.dataRoot,
    HttpProxy: '',
    HttpsProxy: '',
    NoProxy: '',
    Name: hostname(),
    Labels: daemon.labels,
    ExperimentalBuild: false,
    ServerVersion: PRODUCT_VERSION,
    Runtimes: { [runtime.name]: { path: runtime.name } },
    DefaultRuntime: runtime.name,
    Swarm: swarmInfoView(parts.cluster.info(), () => parts.cluster.control()),
    LiveRestoreEnabled: true,
    Isolation: '',
    InitBinary: '',
    ContainerdCommit: { ID: '' },
    RuncCommit: { ID: runtime.version },
    InitCommit: { ID: '' },
    SecurityOptions: ['name=seccomp,profile=builtin'],
    ProductLicense: '',
    DefaultAddressPools: daemon.defaultAddressPools.map(({ base, size }) => ({ Base: base, Size: size })),
    FirewallBackend: { Driver: 'nftables' },
    CDISpecDirs: [],
    Warnings: [],
  };
}
