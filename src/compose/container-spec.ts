import type { HostConfig, MountSpec } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import { STACK_LABEL } from '#model/stack.ts';
import type { ContainerSpec, FileTarget, Privileges, TaskMount } from '#model/task-spec.ts';
import { parseSize } from './byte-text.ts';
import type { Project, Service } from './project.ts';
import type { ContentReference } from './project-content.ts';
import { given } from './value-reader.ts';

const READ_ONLY_FOR_ALL = 0o444;
const NANOSECONDS = 1e9;

/** A service's containers in a cluster's words. Secrets and configs are referred to by their keys. */
export function containerSpec(project: Project, service: Service): ContainerSpec {
  const { config, hostConfig } = service;
  const mounts = [
    ...service.mounts.map((mount) => taskMount(project, mount)),
    ...Object.entries(hostConfig.Tmpfs ?? {}).map(([path, options]) => tmpfsMount(path, options, service)),
    ...sharedMemory(hostConfig),
  ];
  const dns = given({
    Nameservers: filled(hostConfig.Dns),
    Search: filled(hostConfig.DnsSearch),
    Options: filled(hostConfig.DnsOptions),
  });
  return {
    Image: service.image,
    Labels: { ...config.Labels, [STACK_LABEL.namespace]: project.name },
    ...given({
      Command: config.Entrypoint ?? undefined,
      Args: config.Cmd ?? undefined,
      Hostname: config.Hostname,
      Env: filled(config.Env),
      Dir: config.WorkingDir,
      User: config.User,
      Groups: filled(hostConfig.GroupAdd),
      Privileges: privileges(service),
      TTY: config.Tty,
      OpenStdin: config.OpenStdin,
      ReadOnly: hostConfig.ReadonlyRootfs,
      Mounts: filled(mounts),
      StopSignal: config.StopSignal,
      StopGracePeriod: config.StopTimeout === undefined ? undefined : config.StopTimeout * NANOSECONDS,
      Healthcheck: service.healthcheck,
      Hosts: filled(hostConfig.ExtraHosts)?.map(hostsLine),
      DNSConfig: Object.keys(dns).length === 0 ? undefined : dns,
      Secrets: filled(service.secrets)?.map((reference) => ({
        File: fileTarget(reference),
        SecretID: '',
        SecretName: reference.source,
      })),
      Configs: filled(service.configs)?.map((reference) => ({
        File: fileTarget(reference),
        ConfigID: '',
        ConfigName: reference.source,
      })),
      Init: hostConfig.Init,
      Sysctls: hostConfig.Sysctls,
      CapabilityAdd: filled(hostConfig.CapAdd),
      CapabilityDrop: filled(hostConfig.CapDrop),
      Ulimits: filled(hostConfig.Ulimits),
    }),
  };
}

function filled<T>(list: readonly T[] | null | undefined): T[] | undefined {
  return list === undefined || list === null || list.length === 0 ? undefined : [...list];
}

function fileTarget({ source, target, uid, gid, mode }: ContentReference): FileTarget {
  return { Name: target ?? source, UID: uid ?? '0', GID: gid ?? '0', Mode: mode ?? READ_ONLY_FOR_ALL };
}

/** `host:address` → a line of /etc/hosts. */
function hostsLine(pair: string): string {
  const colon = pair.indexOf(':');
  return `${pair.slice(colon + 1)} ${pair.slice(0, colon)}`;
}

function taskMount(project: Project, mount: MountSpec): TaskMount {
  const { Type, Source, Target, ReadOnly, BindOptions, VolumeOptions, TmpfsOptions } = mount;
  const shared = {
    Type,
    Target,
    ...(Source === '' ? {} : { Source }),
    ...(ReadOnly === true ? { ReadOnly } : {}),
  };
  if (Type === 'tmpfs') return { ...shared, ...given({ TmpfsOptions }) };
  if (Type === 'bind') {
    // on a node the directory is there or the task is refused: an empty one would only hide that it is missing
    const { CreateMountpoint: _onOneMachine, ...rest } = BindOptions ?? {};
    return { ...shared, ...(Object.keys(rest).length === 0 ? {} : { BindOptions: rest }) };
  }
  const volume = [...project.volumes.values()].find(({ name }) => name === Source);
  if (Source === '' || volume === undefined || volume.external)
    return { ...shared, ...given({ VolumeOptions }) };
  const { Driver, DriverOpts, Labels } = volume.body;
  const driver = given({ Name: Driver, Options: DriverOpts });
  return {
    ...shared,
    VolumeOptions: {
      ...VolumeOptions,
      Labels: {
        ...VolumeOptions?.Labels,
        ...withoutComposeLabels(Labels),
        [STACK_LABEL.namespace]: project.name,
      },
      ...(Object.keys(driver).length === 0 ? {} : { DriverConfig: driver }),
    },
  };
}

/** The user's own: those of Compose say what belongs to a project of one machine. */
export function withoutComposeLabels(labels: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).filter(([key]) => !key.startsWith('com.docker.compose.')));
}

function tmpfsMount(Target: string, options: string, { place, name }: Service): TaskMount {
  const TmpfsOptions: NonNullable<TaskMount['TmpfsOptions']> = {};
  for (const option of options.split(',').filter((each) => each !== '')) {
    const [key, value = ''] = option.split('=');
    const size = key === 'size' ? parseSize(value) : undefined;
    if (size !== undefined) TmpfsOptions.SizeBytes = size;
    else if (key === 'mode' && /^[0-7]{3,4}$/.test(value)) TmpfsOptions.Mode = Number.parseInt(value, 8);
    else
      throw invalid(
        `${place}: services.${name}: tmpfs: option ${option} is not there on a cluster: use size and mode`,
      );
  }
  return { Type: 'tmpfs', Target, ...(Object.keys(TmpfsOptions).length === 0 ? {} : { TmpfsOptions }) };
}

/** Docker's services have no size of shared memory; a file system of that size in its place does the same. */
function sharedMemory({ ShmSize }: Partial<HostConfig>): TaskMount[] {
  if (ShmSize === undefined) return [];
  return [{ Type: 'tmpfs', Target: '/dev/shm', TmpfsOptions: { SizeBytes: ShmSize } }];
}

function privileges({ hostConfig, place, name }: Service): Privileges | undefined {
  const options = hostConfig.SecurityOpt ?? [];
  if (options.length === 0) return undefined;
  return Object.assign({}, ...options.map((option) => privilege(option, `${place}: services.${name}`)));
}

function privilege(option: string, what: string): Privileges {
  switch (option.replace(':', '=')) {
    case 'no-new-privileges':
    case 'no-new-privileges=true':
      return { NoNewPrivileges: true };
    case 'no-new-privileges=false':
      return { NoNewPrivileges: false };
    case 'seccomp=unconfined':
      return { Seccomp: { Mode: 'unconfined' } };
    case 'apparmor=unconfined':
      return { AppArmor: { Mode: 'disabled' } };
    case 'label=disable':
      return { SELinuxContext: { Disable: true } };
    default:
      throw invalid(`${what}: security_opt: ${option} is not there for services of a cluster`);
  }
}
