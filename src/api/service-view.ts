import type { ServiceStatus } from '#cluster/control/service-status.ts';
import type { Versioned } from '#cluster/state/tables.ts';
import type { ServiceRecord, ServiceSpec, UpdateConfig, UpdateStatus } from '#model/service.ts';
import type { TaskSpec } from '#model/task-spec.ts';

const SECOND_NS = 1_000_000_000;

/** What Docker does where a service does not say. */
const DEFAULT_UPDATE: Required<UpdateConfig> = Object.freeze({
  Parallelism: 1,
  Delay: 0,
  FailureAction: 'pause',
  Monitor: 5 * SECOND_NS,
  MaxFailureRatio: 0,
  Order: 'stop-first',
});

/** A service as `docker service inspect` prints it; with `insertDefaults` the specification says what holds where it is silent. */
export function serviceView(
  { record, revision }: Versioned<ServiceRecord>,
  o: { insertDefaults?: boolean; status?: ServiceStatus } = {},
): object {
  const { Endpoint, PreviousSpec, UpdateStatus, JobStatus } = record;
  const spec = o.insertDefaults === true ? withDefaults(record.Spec) : record.Spec;
  return {
    ID: record.ID,
    Version: { Index: revision },
    CreatedAt: record.CreatedAt,
    UpdatedAt: record.UpdatedAt,
    Spec: specView(spec),
    ...(PreviousSpec === undefined ? {} : { PreviousSpec: specView(PreviousSpec) }),
    Endpoint: { ...Endpoint, Spec: Endpoint.Spec ?? {} },
    ...(UpdateStatus === undefined ? {} : { UpdateStatus: updateView(UpdateStatus) }),
    ...(o.status === undefined ? {} : { ServiceStatus: o.status }),
    ...(JobStatus === undefined
      ? {}
      : {
          JobStatus: {
            JobIteration: { Index: JobStatus.JobIteration },
            LastExecution: JobStatus.LastExecution,
          },
        }),
  };
}

/** A task's template as it is shown, which always says its runtime, its isolation and how often it was forced. */
export function taskSpecView(template: TaskSpec): object {
  const { ContainerSpec, ForceUpdate = 0, Runtime = 'container' } = template;
  return {
    ...template,
    ContainerSpec: { ...ContainerSpec, Isolation: ContainerSpec.Isolation ?? 'default' },
    ForceUpdate,
    Runtime,
  };
}

function updateView({ revision: _revision, ...shown }: UpdateStatus): object {
  return shown;
}

function specView(spec: ServiceSpec): object {
  return { ...spec, Labels: spec.Labels ?? {}, TaskTemplate: taskSpecView(spec.TaskTemplate) };
}

function withDefaults(spec: ServiceSpec): ServiceSpec {
  const { ContainerSpec, RestartPolicy, Placement, Resources } = spec.TaskTemplate;
  const job = spec.Mode?.ReplicatedJob !== undefined || spec.Mode?.GlobalJob !== undefined;
  const updates = {
    UpdateConfig: { ...DEFAULT_UPDATE, ...spec.UpdateConfig },
    RollbackConfig: { ...DEFAULT_UPDATE, ...spec.RollbackConfig },
  };
  return {
    ...spec,
    TaskTemplate: {
      ...spec.TaskTemplate,
      ContainerSpec: {
        ...ContainerSpec,
        StopGracePeriod: ContainerSpec.StopGracePeriod ?? 10 * SECOND_NS,
        DNSConfig: ContainerSpec.DNSConfig ?? {},
      },
      Resources: { Limits: {}, Reservations: {}, ...Resources },
      RestartPolicy: { Condition: 'any', Delay: 5 * SECOND_NS, MaxAttempts: 0, ...RestartPolicy },
      Placement: Placement ?? {},
    },
    ...(job ? {} : updates),
    EndpointSpec: { ...spec.EndpointSpec, Mode: spec.EndpointSpec?.Mode ?? 'vip' },
  };
}
