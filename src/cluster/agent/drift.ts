import type { AssignedTask } from './assigned-task.ts';
import type { TaskContainer } from './task-engine.ts';

/**
 * What somebody has changed by hand of a task's container that runs, as a sentence; undefined while it is what the task says. Pure. What
 * an engine does not tell of its container is not compared.
 */
export function driftOf(task: AssignedTask, container: TaskContainer): string | undefined {
  if (container.isPaused === true) return 'the container was paused by hand';
  const lost = lostNetwork(task, container);
  if (lost !== undefined) return `the container was disconnected from network ${lost} by hand`;
  const changed = changedLimits(task, container);
  if (changed.length > 0) return `limits of the container were changed by hand: ${changed.join(', ')}`;
  return undefined;
}

function lostNetwork({ networks }: AssignedTask, { networkIds }: TaskContainer): string | undefined {
  if (networkIds === undefined) return undefined;
  return networks.find(({ networkId }) => !networkIds.includes(networkId))?.networkId;
}

function changedLimits({ spec }: AssignedTask, { limits }: TaskContainer): string[] {
  if (limits === undefined) return [];
  const { Limits = {}, Reservations = {} } = spec.Resources ?? {};
  const compared = [
    ['memory', limits.memoryBytes, Limits.MemoryBytes],
    ['memory reservation', limits.memoryReservationBytes, Reservations.MemoryBytes],
    ['CPUs', limits.nanoCpus, Limits.NanoCPUs],
    ['processes', limits.pids, Limits.Pids],
  ] as const;
  return compared.flatMap(([name, is, asked]) => (limit(is) === limit(asked) ? [] : [name]));
}

/** 0 and less, and nothing at all, are no limit. */
function limit(value: number | undefined): number {
  return Math.max(0, value ?? 0);
}
