import { healthPlan } from '#engine/containers/health-status.ts';
import type { ContainerRecord } from '#model/container.ts';
import type { PortConfig, PortProtocol } from '#model/service.ts';
import { TASK_ID_LABEL } from './task-container.ts';
import type { TaskContainer, TaskExit, TaskLimits } from './task-engine.ts';

/**
 * What a container is as a task. Pure. Undefined for one that is no task's, or is being taken away. `isStoppedHere` is true for one that the
 * agent has stopped: any other that was stopped, was by a person.
 */
export function taskContainerOf(
  record: ContainerRecord,
  o: { isStoppedHere?: boolean } = {},
): TaskContainer | undefined {
  const { id, state, config } = record;
  const taskId = config.Labels[TASK_ID_LABEL];
  if (taskId === undefined || state.Status === 'removing') return undefined;
  const lifeState = lifeStateOf(record);
  const ports = portsOf(record);
  return {
    taskId,
    state: lifeState,
    health: healthOf(record),
    status: { ContainerID: id, PID: state.Pid, ExitCode: state.ExitCode },
    ...(ports.length === 0 ? {} : { ports }),
    isPaused: state.Paused,
    networkIds: Object.values(record.networks).map(({ NetworkID }) => NetworkID),
    limits: limitsOf(record),
    exit: lifeState === 'exited' ? exitOf(record, o.isStoppedHere !== true) : undefined,
  };
}

function limitsOf({ hostConfig }: ContainerRecord): TaskLimits {
  return {
    memoryBytes: hostConfig.Memory,
    memoryReservationBytes: hostConfig.MemoryReservation,
    nanoCpus: hostConfig.NanoCpus,
    pids: hostConfig.PidsLimit ?? 0,
  };
}

function lifeStateOf({ state }: ContainerRecord): TaskContainer['state'] {
  if (state.Running) return 'running';
  return state.Status === 'created' ? 'created' : 'exited';
}

function healthOf(record: ContainerRecord): TaskContainer['health'] {
  const { state } = record;
  if (!state.Running) return wasUnhealthy(record) ? 'unhealthy' : 'starting';
  const health = state.Health?.Status ?? 'none';
  if (health === 'none') return planOf(record) === undefined ? 'healthy' : 'starting';
  return health;
}

/** The engine calls whatever has ended unhealthy; the probes before its end tell whether it was. */
function wasUnhealthy(record: ContainerRecord): boolean {
  const plan = planOf(record);
  return plan !== undefined && (record.state.Health?.FailingStreak ?? 0) >= plan.retries;
}

function planOf({ config }: ContainerRecord): ReturnType<typeof healthPlan> {
  return healthPlan(config.Healthcheck, config.Shell ?? ['/bin/sh', '-c']);
}

function exitOf(record: ContainerRecord, byHand: boolean): TaskExit {
  const { ExitCode, FinishedAt, OOMKilled, Error: said } = record.state;
  const cause = OOMKilled ? 'OOM killed' : wasUnhealthy(record) ? 'unhealthy container' : said;
  const code = `task: non-zero exit (${ExitCode})`;
  const failure = cause === '' ? code : `${code}: ${cause}`;
  const error = ExitCode === 0 ? cause || undefined : failure;
  const end = { exitCode: ExitCode, finishedAt: FinishedAt };
  if (!byHand || !record.stoppedByUser || cause !== '') return { ...end, error };
  const rest = error === undefined ? '' : `: ${error}`;
  return { ...end, error: `the container was stopped by hand${rest}` };
}

const PROTOCOLS: readonly PortProtocol[] = ['tcp', 'udp', 'sctp'];

/** One entry a port, also where it is published on several of the node's addresses. */
function portsOf({ ports }: ContainerRecord): PortConfig[] {
  return Object.entries(ports).flatMap(([key, bindings]) => {
    const [port = '', asked = ''] = key.split('/');
    const protocol = PROTOCOLS.find((known) => known === asked);
    return [...new Set(bindings.map(({ HostPort }) => Number(HostPort)))].map(
      (PublishedPort): PortConfig => ({
        ...(protocol === undefined ? {} : { Protocol: protocol }),
        TargetPort: Number(port),
        PublishedPort,
        PublishMode: 'host',
      }),
    );
  });
}
