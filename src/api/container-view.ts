import type { ContainerRecord, EndpointSettings, MountPoint, PortBinding } from '#model/container.ts';
import { statusText } from './container-status.ts';
import type { EngineParts } from './engine-parts.ts';

/** Wire shapes of a container: what `docker ps` and `docker inspect` print. */

interface PortSummary {
  IP?: string;
  PrivatePort: number;
  PublicPort?: number;
  Type: string;
}

export interface Sizes {
  SizeRw: number;
  SizeRootFs: number;
}

/** A line of the container list. `imageName` says how the image is called now. */
export function containerSummary(
  record: ContainerRecord,
  o: { imageName: string; nowMs: number; sizes: Sizes | undefined },
): object {
  return {
    Id: record.id,
    Names: [`/${record.name}`],
    Image: o.imageName,
    ImageID: record.imageId,
    Command: [record.path, ...record.args.map(quoteArgument)].join(' '),
    Created: Math.floor(Date.parse(record.created) / 1000),
    Ports: portSummaries(record),
    ...o.sizes,
    Labels: record.config.Labels,
    State: record.state.Status,
    Status: statusText(record.state, o.nowMs),
    HostConfig: { NetworkMode: record.hostConfig.NetworkMode },
    NetworkSettings: { Networks: record.networks },
    Mounts: record.mounts.map(mountView),
  };
}

/** Arguments with white space in them are shown in quotes, as Docker does. */
function quoteArgument(argument: string): string {
  return argument.includes(' ') ? `'${argument}'` : argument;
}

function splitPort(key: string): { port: number; protocol: string } {
  const [port = '0', protocol = 'tcp'] = key.split('/');
  return { port: Number(port), protocol };
}

function portSummaries(record: ContainerRecord): PortSummary[] {
  if (!record.state.Running) return [];
  return Object.entries(portMap(record)).flatMap(([key, bindings]): PortSummary[] => {
    const { port, protocol } = splitPort(key);
    if (bindings === null || bindings.length === 0) return [{ PrivatePort: port, Type: protocol }];
    return bindings.map(({ HostIp, HostPort }) => ({
      IP: HostIp,
      PrivatePort: port,
      PublicPort: Number(HostPort),
      Type: protocol,
    }));
  });
}

/** Published ports with their bindings, exposed ones with null; nothing while the container does not run. */
function portMap(record: ContainerRecord): Record<string, PortBinding[] | null> {
  if (!record.state.Running) return {};
  const ports: Record<string, PortBinding[] | null> = {};
  for (const key of Object.keys(record.config.ExposedPorts ?? {})) ports[key] = null;
  for (const [key, bindings] of Object.entries(record.ports)) {
    ports[key] = bindings.length === 0 ? null : bindings;
  }
  return ports;
}

function mountView(mount: MountPoint): object {
  return {
    Type: mount.Type,
    ...(mount.Name === undefined ? {} : { Name: mount.Name }),
    Source: mount.Source,
    Destination: mount.Destination,
    ...(mount.Driver === undefined ? {} : { Driver: mount.Driver }),
    Mode: mount.Mode,
    RW: mount.RW,
    Propagation: mount.Propagation,
  };
}

/** What inspect says of HostConfig beyond what the engine reads: Docker's defaults, there for clients that index them. */
const REST_OF_HOST_CONFIG = {
  ConsoleSize: [0, 0],
  Isolation: '',
  Cgroup: '',
  BlkioWeightDevice: [],
  BlkioDeviceReadBps: [],
  BlkioDeviceWriteBps: [],
  BlkioDeviceReadIOps: [],
  BlkioDeviceWriteIOps: [],
  CpuRealtimePeriod: 0,
  CpuRealtimeRuntime: 0,
  DeviceRequests: null,
  CpuCount: 0,
  CpuPercent: 0,
  IOMaximumIOps: 0,
  IOMaximumBandwidth: 0,
};

/** Everything `docker inspect` prints of a container. */
export function containerInspect(
  record: ContainerRecord,
  parts: EngineParts,
  o: { sizes: Sizes | undefined; execIds: string[] },
): object {
  const { filesystems } = parts;
  const files = filesystems.networkFiles(record.id);
  const { Mounts, ...hostConfig } = record.hostConfig;
  return {
    Id: record.id,
    Created: record.created,
    Path: record.path,
    Args: record.args,
    State: stateView(record),
    Image: record.imageId,
    ResolvConfPath: files.resolvConf,
    HostnamePath: files.hostname,
    HostsPath: files.hosts,
    LogPath: filesystems.logPath(record.id),
    Name: `/${record.name}`,
    RestartCount: record.restartCount,
    Driver: 'overlay2',
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: o.execIds.length === 0 ? null : o.execIds,
    HostConfig: {
      ...hostConfig,
      ...REST_OF_HOST_CONFIG,
      ...(Mounts.length === 0 ? {} : { Mounts }),
      ...(record.hostConfig.Runtime === '' ? { Runtime: parts.runtime.name } : {}),
    },
    GraphDriver: {
      Name: 'overlay2',
      Data: {
        ID: record.id,
        LowerDir: lowerDirs(record, parts).join(':'),
        MergedDir: filesystems.mergedPath(record.id),
        UpperDir: filesystems.upperPath(record.id),
        WorkDir: filesystems.workPath(record.id),
      },
    },
    ...o.sizes,
    Mounts: record.mounts.map(mountView),
    Config: record.config,
    NetworkSettings: networkSettings(record, parts),
  };
}

function stateView(record: ContainerRecord): object {
  const { Status, Running, Paused, Restarting, OOMKilled, Dead, Pid, ExitCode, Error: error } = record.state;
  return {
    Status,
    Running,
    Paused,
    Restarting,
    OOMKilled,
    Dead,
    Pid,
    ExitCode,
    Error: error,
    StartedAt: record.state.StartedAt,
    FinishedAt: record.state.FinishedAt,
    ...(record.state.Health === undefined ? {} : { Health: record.state.Health }),
  };
}

/** Empty when the image is gone, which a container outlives. */
function lowerDirs(record: ContainerRecord, parts: EngineParts): string[] {
  const image = parts.images.withId(record.imageId);
  return image === undefined ? [] : parts.layers.lowerDirs(image.configuration.rootfs.diff_ids);
}

function networkSettings(record: ContainerRecord, parts: EngineParts): object {
  const main = record.networks['bridge'];
  const ownNamespace = record.state.Running && record.hostConfig.NetworkMode !== 'host';
  return {
    Bridge: '',
    SandboxID: ownNamespace ? record.id : '',
    SandboxKey: ownNamespace ? parts.networks.namespacePath(record.id) : '',
    Ports: portMap(record),
    HairpinMode: false,
    LinkLocalIPv6Address: '',
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    ...mainEndpoint(main),
    Networks: record.networks,
  };
}

/** The default bridge's endpoint once more, where clients before user-defined networks look for it. */
function mainEndpoint(endpoint: EndpointSettings | undefined): object {
  return {
    EndpointID: endpoint?.EndpointID ?? '',
    Gateway: endpoint?.Gateway ?? '',
    GlobalIPv6Address: endpoint?.GlobalIPv6Address ?? '',
    GlobalIPv6PrefixLen: endpoint?.GlobalIPv6PrefixLen ?? 0,
    IPAddress: endpoint?.IPAddress ?? '',
    IPPrefixLen: endpoint?.IPPrefixLen ?? 0,
    IPv6Gateway: endpoint?.IPv6Gateway ?? '',
    MacAddress: endpoint?.MacAddress ?? '',
  };
}
