import { invalid } from '#model/errors.ts';
import type { EndpointSpec, PortConfig, ServiceMode, ServiceSpec, UpdateConfig } from '#model/service.ts';
import { STACK_LABEL } from '#model/stack.ts';
import type {
  NetworkAttachmentConfig,
  Placement,
  TaskResources,
  TaskRestartPolicy,
} from '#model/task-spec.ts';
import { containerSpec } from './container-spec.ts';
import type { Project, Service } from './project.ts';
import { given } from './value-reader.ts';

const SECOND = 1e9;
const MONITOR_SECONDS = 10;
const ANY_ADDRESS: readonly string[] = ['', '0.0.0.0', '::'];

/** A service of the file in a cluster's words. `runsOnce`: others wait for it to be completed. */
export function serviceSpec(project: Project, service: Service, o: { runsOnce: boolean }): ServiceSpec {
  const { deploy, hostConfig } = service;
  const Mode = serviceMode(service, o.runsOnce);
  const isJob = Mode.ReplicatedJob !== undefined || Mode.GlobalJob !== undefined;
  const EndpointSpec = endpoint(service);
  const log = hostConfig.LogConfig;
  return {
    Name: `${project.name}_${service.name}`,
    Labels: {
      ...deploy.labels,
      [STACK_LABEL.image]: service.image,
      [STACK_LABEL.namespace]: project.name,
    },
    TaskTemplate: {
      ContainerSpec: containerSpec(project, service),
      ...given({
        Resources: resources(service),
        RestartPolicy: restartPolicy(service, isJob),
        Placement: placement(service),
        Networks: attachments(project, service),
        LogDriver:
          log === undefined ? undefined : given({ Name: log.Type || undefined, Options: log.Config }),
      }),
    },
    Mode,
    ...(isJob ? {} : updates(service, EndpointSpec)),
    ...given({ EndpointSpec }),
  };
}

/** A service that others wait for to be completed is a job, unless the file says otherwise. */
function serviceMode(service: Service, runsOnce: boolean): ServiceMode {
  const { deploy, replicas, hostConfig } = service;
  const restarts = hostConfig.RestartPolicy?.Name ?? 'no';
  const concluded =
    runsOnce && (restarts === 'no' || restarts === 'on-failure') ? 'replicated-job' : 'replicated';
  const mode = deploy.mode ?? concluded;
  if (mode.startsWith('global') && deploy.replicas !== undefined)
    throw invalid(`${service.place}: services.${service.name}: replicas are for replicated services`);
  if (runsOnce && !mode.endsWith('-job')) {
    throw invalid(
      `${service.place}: services.${service.name}: others wait for it to be completed, but it is started again whenever it ends: take its restart policy out, or say mode: replicated-job`,
    );
  }
  switch (mode) {
    case 'replicated':
      return { Replicated: { Replicas: replicas } };
    case 'global':
      return { Global: {} };
    case 'replicated-job':
      return { ReplicatedJob: { MaxConcurrent: replicas, TotalCompletions: replicas } };
    case 'global-job':
      return { GlobalJob: {} };
  }
}

function resources({ deploy, hostConfig }: Service): TaskResources | undefined {
  const Limits = given({
    NanoCPUs: hostConfig.NanoCpus,
    MemoryBytes: hostConfig.Memory,
    Pids: hostConfig.PidsLimit ?? undefined,
  });
  const Reservations = given({
    NanoCPUs: deploy.reservations?.nanoCpus,
    MemoryBytes: hostConfig.MemoryReservation,
    GenericResources: deploy.reservations?.generic,
  });
  const result = {
    ...(Object.keys(Limits).length === 0 ? {} : { Limits }),
    ...(Object.keys(Reservations).length === 0 ? {} : { Reservations }),
  };
  return Object.keys(result).length === 0 ? undefined : result;
}

/** `restart` says it for one machine; `deploy.restart_policy` before it. */
function restartPolicy(service: Service, isJob: boolean): TaskRestartPolicy | undefined {
  const { deploy, hostConfig } = service;
  if (deploy.restartPolicy !== undefined) return deploy.restartPolicy;
  const policy = hostConfig.RestartPolicy;
  switch (policy?.Name) {
    case undefined:
    case '':
      // as on one machine, where nothing is started again that does not say so
      return isJob ? { Condition: 'none' } : undefined;
    case 'no':
      return { Condition: 'none' };
    case 'on-failure': {
      const { MaximumRetryCount } = policy ?? { MaximumRetryCount: 0 };
      return {
        Condition: 'on-failure',
        ...(MaximumRetryCount > 0 ? { MaxAttempts: MaximumRetryCount } : {}),
      };
    }
    case 'always':
    case 'unless-stopped':
      return { Condition: isJob ? 'on-failure' : 'any' };
  }
}

function placement({ deploy, platform }: Service): Placement | undefined {
  const [OS, Architecture] = platform?.split('/') ?? [];
  const result: Placement = {
    ...deploy.placement,
    ...(OS === undefined ? {} : { Platforms: [given({ OS, Architecture })] }),
  };
  return Object.keys(result).length === 0 ? undefined : result;
}

function attachments(project: Project, service: Service): NetworkAttachmentConfig[] | undefined {
  const { networkMode, name, place } = service;
  if (networkMode === 'host' || networkMode === 'bridge') return [{ Target: networkMode }];
  if (networkMode !== undefined)
    throw invalid(
      `${place}: services.${name}: network_mode ${networkMode} is not there for services of a cluster`,
    );
  return [...service.networks].map(([key, { aliases }]) => {
    const network = project.networks.get(key);
    const Target = network?.name ?? key;
    if (network?.external === true && (Target === 'host' || Target === 'bridge')) return { Target };
    return { Target, Aliases: [...new Set([name, ...aliases])] };
  });
}

/** On one machine each container of a service has a port of a range; on a cluster every port of it leads to all of them. */
function publishedPorts(hostPort: string): (number | undefined)[] {
  if (hostPort === '') return [undefined];
  const [first = 0, last = first] = hostPort.split('-').map(Number);
  return Array.from({ length: last - first + 1 }, (_, at) => first + at);
}

function endpoint(service: Service): EndpointSpec | undefined {
  const Ports = service.ports.flatMap((port): PortConfig[] => {
    const [target = '', protocol = 'tcp'] = port.target.split('/');
    return port.bindings.flatMap(({ HostIp, HostPort }) => {
      const what = `${service.place}: services.${service.name}: port ${HostPort}:${target}`;
      if (!ANY_ADDRESS.includes(HostIp)) {
        throw invalid(
          `${what}: ${HostIp} is one machine's: a cluster publishes on all addresses of its nodes`,
          {
            hint: 'Leave the address out to publish it to everybody, or the port to publish it to nobody.',
          },
        );
      }
      return publishedPorts(HostPort).map((PublishedPort) => ({
        ...given({ Name: port.name }),
        Protocol: protocol === 'udp' ? ('udp' as const) : ('tcp' as const),
        TargetPort: Number(target),
        ...given({ PublishedPort }),
        PublishMode: port.mode ?? 'ingress',
      }));
    });
  });
  const result: EndpointSpec = {
    ...given({ Mode: service.deploy.endpointMode }),
    ...(Ports.length === 0 ? {} : { Ports }),
  };
  return Object.keys(result).length === 0 ? undefined : result;
}

/**
 * What the file leaves open is decided for safety: one task at a time, the new one first where two can be at once, back to what was
 * when it fails within ten seconds of running.
 */
function updates(
  service: Service,
  endpointSpec: EndpointSpec | undefined,
): Pick<ServiceSpec, 'UpdateConfig' | 'RollbackConfig'> {
  const { updateConfig, rollbackConfig } = service.deploy;
  const Order = canOverlap(service, endpointSpec) ? 'start-first' : 'stop-first';
  const shared: UpdateConfig = { Parallelism: 1, Monitor: MONITOR_SECONDS * SECOND, Order };
  return {
    UpdateConfig: { ...shared, FailureAction: 'rollback', ...updateConfig },
    RollbackConfig: { ...shared, FailureAction: 'pause', ...rollbackConfig },
  };
}

/** Not where the old task holds a port of its node or the place on it, or may be the only one to write to a volume. */
function canOverlap({ deploy, replicas, mounts }: Service, endpointSpec: EndpointSpec | undefined): boolean {
  if ((endpointSpec?.Ports ?? []).some(({ PublishMode }) => PublishMode === 'host')) return false;
  if ((deploy.placement?.MaxReplicas ?? 0) > 0) return false;
  const isAlone = deploy.mode === 'global' || replicas <= 1;
  const writes = mounts.some(
    ({ Type, Source, ReadOnly }) => Type === 'volume' && Source !== '' && ReadOnly !== true,
  );
  return !(isAlone && writes);
}
