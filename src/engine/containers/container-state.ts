import { macOf } from '#engine/networks/mac-address.ts';
import type { ContainerRecord, ContainerState, EndpointSettings } from '#model/container.ts';
import { conflict } from '#model/errors.ts';

/** The state after the process has ended, not yet decided whether it is started again. */
export function exitedState(
  state: ContainerState,
  end: { exitCode: number; oomKilled: boolean; finishedAt: string },
): ContainerState {
  return {
    ...state,
    Status: 'exited',
    Running: false,
    Paused: false,
    Restarting: false,
    Dead: false,
    Pid: 0,
    ExitCode: end.exitCode,
    OOMKilled: end.oomKilled,
    FinishedAt: end.finishedAt,
    // What is not running is not well: Docker's clients read it so.
    ...(state.Health === undefined ? {} : { Health: { ...state.Health, Status: 'unhealthy' } }),
  };
}

/** The state of a process that has just started. */
export function runningState(
  state: ContainerState,
  o: { pid: number; startedAt: string; hasHealthCheck: boolean },
): ContainerState {
  const { Health: _ended, ...rest } = state;
  return {
    ...rest,
    Status: 'running',
    Running: true,
    Paused: false,
    Restarting: false,
    OOMKilled: false,
    Dead: false,
    Pid: o.pid,
    ExitCode: 0,
    Error: '',
    StartedAt: o.startedAt,
    ...(o.hasHealthCheck ? { Health: { Status: 'starting', FailingStreak: 0, Log: [] } } : {}),
  };
}

/** Between two runs under a restart policy; Docker counts such a container as running. */
export function restartingState(state: ContainerState): ContainerState {
  return { ...state, Status: 'restarting', Running: true, Restarting: true };
}

/** True while there is a process, paused or not. */
export function hasProcess({ Running, Restarting }: ContainerState): boolean {
  return Running && !Restarting;
}

/** Throws Docker's `conflict` for a container in which nothing can be done now. */
export function checkUsable(record: ContainerRecord): void {
  const { state, id } = record;
  if (state.Restarting) {
    throw conflict(`Container ${id} is restarting, wait until the container is running`);
  }
  if (!state.Running) throw conflict(`container ${id} is not running`);
  if (state.Paused) throw conflict(`Container ${id} is paused, unpause the container before exec`);
}

/**
 * What remains of an endpoint when its container does not run: what was asked, and which network it is. A MAC address
 * that came with the IP address goes with it, as the next container with that address has the same.
 */
export function releasedEndpoint(endpoint: EndpointSettings): EndpointSettings {
  const ownMac = endpoint.IPAddress === '' || endpoint.MacAddress !== macOf(endpoint.IPAddress);
  return {
    ...endpoint,
    EndpointID: '',
    Gateway: '',
    MacAddress: ownMac ? endpoint.MacAddress : '',
    IPAddress: '',
    IPPrefixLen: 0,
    IPv6Gateway: '',
    GlobalIPv6Address: '',
    GlobalIPv6PrefixLen: 0,
    DNSNames: null,
  };
}
