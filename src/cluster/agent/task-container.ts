import type { CreateRequest } from '#engine/containers/container-create.ts';
import { NODE_NETWORKS } from '#model/cluster-network.ts';
import type { ContainerConfig, EndpointSettings, HostConfig, PortBinding } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import type { GenericResource, Privileges } from '#model/task-spec.ts';
import { type AssignedTask, containerNameOf } from './assigned-task.ts';
import { mountSpecOf } from './task-mounts.ts';
import { expandTemplate } from './task-template.ts';

const NANOSECONDS = 1_000_000_000;
const DEFAULT_GRACE_SECONDS = 10;

/**
 * The container that a task is, as a request to the engine: all but its secrets and configs, whose files are the node's. Pure. Throws
 * `invalid` that names what there is no way to do here; what the engine checks of every container, it checks of this one too.
 */
export function containerRequestOf(task: AssignedTask): CreateRequest {
  refuseUnsupported(task);
  const { networkMode, endpoints } = networkingOf(task);
  return {
    name: containerNameOf(task),
    config: configOf(task),
    hostConfig: { NetworkMode: networkMode, ...hostConfigOf(task) },
    endpoints,
  };
}

/** The labels by which Docker's tools know a task's container. */
export const TASK_ID_LABEL = 'com.docker.swarm.task.id';
export const SERVICE_ID_LABEL = 'com.docker.swarm.service.id';
export const NODE_ID_LABEL = 'com.docker.swarm.node.id';

/** What Swarm says of a task's container; no service can say otherwise. */
function taskLabels(task: AssignedTask): Record<string, string> {
  return {
    [NODE_ID_LABEL]: task.nodeId,
    [SERVICE_ID_LABEL]: task.serviceId,
    'com.docker.swarm.service.name': task.serviceName,
    'com.docker.swarm.task': '',
    [TASK_ID_LABEL]: task.id,
    'com.docker.swarm.task.name': containerNameOf(task),
  };
}

function refuseUnsupported({ spec }: AssignedTask): void {
  const { Isolation = '', Privileges: privileges } = spec.ContainerSpec;
  if (Isolation !== '' && Isolation !== 'default') {
    throw invalid(`invalid isolation '${Isolation}': Linux supports only 'default'`);
  }
  if (privileges?.CredentialSpec !== undefined && Object.keys(privileges.CredentialSpec).length > 0) {
    throw invalid('Privileges.CredentialSpec is for Windows only');
  }
  if (spec.Runtime !== undefined && spec.Runtime !== '' && spec.Runtime !== 'container') {
    throw invalid(`task runtime '${spec.Runtime}' is not there yet`);
  }
}

function configOf(task: AssignedTask): Partial<ContainerConfig> {
  const { ContainerSpec: spec } = task.spec;
  const expand = (text: string): string => expandTemplate(text, task);
  const graceNs = spec.StopGracePeriod;
  return {
    Image: spec.Image,
    Labels: { ...spec.Labels, ...taskLabels(task) },
    Env: [...(spec.Env ?? []).map(expand), ...resourceVariables(task.genericResources ?? [])],
    ...(isGiven(spec.Command) ? { Entrypoint: [...spec.Command] } : {}),
    ...(isGiven(spec.Command) || isGiven(spec.Args) ? { Cmd: [...(spec.Args ?? [])] } : {}),
    ...(spec.Hostname === undefined ? {} : { Hostname: expand(spec.Hostname) }),
    ...(spec.Dir === undefined ? {} : { WorkingDir: spec.Dir }),
    ...(spec.User === undefined ? {} : { User: spec.User }),
    Tty: spec.TTY ?? false,
    OpenStdin: spec.OpenStdin ?? false,
    ...(spec.Healthcheck === undefined ? {} : { Healthcheck: spec.Healthcheck }),
    ...(spec.StopSignal === undefined ? {} : { StopSignal: spec.StopSignal }),
    // whole seconds: a period that is shorter is no reason to kill at once
    StopTimeout: graceNs === undefined ? DEFAULT_GRACE_SECONDS : Math.ceil(graceNs / NANOSECONDS),
    ...(task.hostPorts.length === 0 ? {} : { ExposedPorts: exposedPorts(task) }),
  };
}

function isGiven(words: string[] | undefined): words is string[] {
  return words !== undefined && words.length > 0;
}

/** `DOCKER_RESOURCE_GPU=id1,id2`: which of the node's resources are the task's. */
function resourceVariables(resources: readonly GenericResource[]): string[] {
  const values = resources.map((resource): [string, string] =>
    'NamedResourceSpec' in resource
      ? [resource.NamedResourceSpec.Kind, resource.NamedResourceSpec.Value]
      : [resource.DiscreteResourceSpec.Kind, String(resource.DiscreteResourceSpec.Value)],
  );
  const byKind = Map.groupBy(values, ([kind]) => kind);
  return [...byKind].map(
    ([kind, all]) => `DOCKER_RESOURCE_${kind.toUpperCase()}=${all.map(([, value]) => value).join(',')}`,
  );
}

function hostConfigOf(task: AssignedTask): Partial<HostConfig> {
  const { ContainerSpec: spec, Resources: resources, LogDriver } = task.spec;
  const expand = (text: string): string => expandTemplate(text, task);
  const { NanoCPUs = 0, MemoryBytes = 0, Pids = 0 } = resources?.Limits ?? {};
  return {
    // the cluster replaces what ends; an engine that restarts it would be a second opinion
    RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
    Mounts: (spec.Mounts ?? []).map((mount) => mountSpecOf(mount, expand)),
    PortBindings: portBindings(task),
    ReadonlyRootfs: spec.ReadOnly ?? false,
    ...(spec.Groups === undefined ? {} : { GroupAdd: [...spec.Groups] }),
    ...(spec.CapabilityAdd === undefined ? {} : { CapAdd: [...spec.CapabilityAdd] }),
    ...(spec.CapabilityDrop === undefined ? {} : { CapDrop: [...spec.CapabilityDrop] }),
    ...(spec.Init === undefined ? {} : { Init: spec.Init }),
    ...(spec.Sysctls === undefined ? {} : { Sysctls: { ...spec.Sysctls } }),
    ...(spec.Ulimits === undefined ? {} : { Ulimits: [...spec.Ulimits] }),
    ...(spec.OomScoreAdj === undefined ? {} : { OomScoreAdj: spec.OomScoreAdj }),
    ...(spec.Hosts === undefined ? {} : { ExtraHosts: spec.Hosts.flatMap(extraHosts) }),
    ...dnsOf(spec.DNSConfig ?? {}),
    ...securityOf(spec.Privileges ?? {}),
    NanoCpus: NanoCPUs,
    Memory: MemoryBytes,
    PidsLimit: Pids,
    // reserved CPUs are the scheduler's affair alone
    MemoryReservation: resources?.Reservations?.MemoryBytes ?? 0,
    LogConfig: { Type: LogDriver?.Name ?? '', Config: { ...LogDriver?.Options } },
  };
}

/** `IP host [alias…]`, a line of /etc/hosts, as `host:IP` for each name. */
function extraHosts(line: string): string[] {
  const [address, ...names] = line.trim().split(/\s+/);
  return names.map((name) => `${name}:${address}`);
}

function dnsOf(config: {
  Nameservers?: string[];
  Search?: string[];
  Options?: string[];
}): Partial<HostConfig> {
  return {
    Dns: [...(config.Nameservers ?? [])],
    DnsSearch: [...(config.Search ?? [])],
    DnsOptions: [...(config.Options ?? [])],
  };
}

function securityOf({ Seccomp, AppArmor, SELinuxContext, NoNewPrivileges }: Privileges): Partial<HostConfig> {
  const options: string[] = [];
  if (NoNewPrivileges === true) options.push('no-new-privileges=true');
  if (Seccomp?.Mode === 'unconfined') options.push('seccomp=unconfined');
  if (Seccomp?.Mode === 'custom') options.push(`seccomp=${profileText(Seccomp.Profile ?? '')}`);
  if (AppArmor?.Mode === 'disabled') options.push('apparmor=unconfined');
  if (SELinuxContext?.Disable === true) options.push('label=disable');
  for (const field of ['User', 'Role', 'Type', 'Level'] as const) {
    const value = SELinuxContext?.[field] ?? '';
    if (value !== '') options.push(`label=${field.toLowerCase()}:${value}`);
  }
  return options.length === 0 ? {} : { SecurityOpt: options };
}

/** Docker's clients send a profile as base64, its documentation says JSON. */
function profileText(profile: string): string {
  return profile.trimStart().startsWith('{') ? profile : Buffer.from(profile, 'base64').toString('utf8');
}

function portKey({ TargetPort, Protocol = 'tcp' }: AssignedTask['hostPorts'][number]): string {
  return `${TargetPort}/${Protocol}`;
}

function exposedPorts({ hostPorts }: AssignedTask): Record<string, object> {
  return Object.fromEntries(hostPorts.map((port) => [portKey(port), {}]));
}

/** Ports in host mode; one without a number gets one that is free. */
function portBindings({ hostPorts }: AssignedTask): Record<string, PortBinding[]> {
  const bindings = [...Map.groupBy(hostPorts, portKey)].map(([key, ports]): [string, PortBinding[]] => [
    key,
    ports.map(({ PublishedPort = 0 }) => ({
      HostIp: '',
      HostPort: PublishedPort === 0 ? '' : String(PublishedPort),
    })),
  ]);
  return Object.fromEntries(bindings);
}

/**
 * The networks that a task joins, keyed by network ID, with the addresses that the allocator gave. The first is the one that the
 * container is made on; without any it is the node's default bridge.
 */
function networkingOf(task: AssignedTask): {
  networkMode: string;
  endpoints: Record<string, Partial<EndpointSettings>>;
} {
  const asked = task.spec.Networks?.find(({ Target }) => NODE_NETWORKS.includes(Target));
  const [first] = task.networks;
  if (first === undefined) return { networkMode: asked?.Target ?? 'bridge', endpoints: {} };
  const endpoints = task.networks.map(({ networkId, address, aliases }) => {
    const [IPv4Address = ''] = address.split('/');
    const endpoint = { NetworkID: networkId, IPAMConfig: { IPv4Address }, Aliases: [...aliases] };
    return [networkId, endpoint] as const;
  });
  return { networkMode: first.networkId, endpoints: Object.fromEntries(endpoints) };
}
