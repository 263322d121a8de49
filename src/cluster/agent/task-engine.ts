import type { NetworkPlan } from '#model/network-plan.ts';
import type { PortConfig } from '#model/service.ts';
import type { TaskContainerStatus } from '#model/task.ts';
import type { AssignedTask } from './assigned-task.ts';

/** How a task's container ended. */
export interface TaskExit {
  readonly exitCode: number;
  /** RFC 3339. */
  readonly finishedAt: string;
  /**
   * `task: non-zero exit (1)`, and why where that is known: `…: OOM killed`, `…: unhealthy container`; undefined for 0, unless somebody
   * ended it by hand.
   */
  readonly error: string | undefined;
}

/** What a container may use now; 0 and less is no limit. */
export interface TaskLimits {
  readonly memoryBytes: number;
  readonly memoryReservationBytes: number;
  readonly nanoCpus: number;
  readonly pids: number;
}

/** What there is of a task on this node. */
export interface TaskContainer {
  readonly taskId: string;
  readonly state: 'created' | 'running' | 'exited';
  /** Without a health check `healthy` as soon as it runs. Of one that has exited: `unhealthy` when it was that at its end. */
  readonly health: 'starting' | 'healthy' | 'unhealthy';
  readonly status: TaskContainerStatus;
  /** Ports in host mode as they are published while it runs, with the numbers that were chosen here. */
  readonly ports?: readonly PortConfig[];
  /** It runs, and somebody holds it. */
  readonly isPaused?: boolean;
  /** IDs of the networks that it is on. */
  readonly networkIds?: readonly string[];
  readonly limits?: TaskLimits;
  /** There when it has exited. */
  readonly exit: TaskExit | undefined;
}

/**
 * The engine of one node as the agent needs it. Every call may be repeated, also by a daemon that was started anew: containers are found
 * by their task's label. Errors that no second try mends (an image that is not there, a mount that cannot be) are `invalid` or
 * `not-found`; others are `unavailable` or `internal`.
 */
export interface TaskEngine {
  /** Everything of tasks that is here. */
  list(): Promise<readonly TaskContainer[]>;
  /** Pulls what is missing, writes secrets and configs, makes the container. One that is there already is left as it is. */
  prepare(task: AssignedTask, signal: AbortSignal): Promise<void>;
  /**
   * Starts what was prepared; resolves when it runs (healthy or not). One that runs or has exited is left as it is, but ends with the
   * node's lease from then on, or does so no more, as the task says. `unavailable` for a single writer while the node hears no manager.
   */
  start(task: AssignedTask): Promise<TaskContainer>;
  /** SIGTERM (or the spec's signal), and SIGKILL after the grace period. What does not run is left as it is. */
  stop(task: { id: string; graceMs?: number }): Promise<void>;
  /** Ends it at once and takes everything of it away, secrets too. What is not there is success. */
  remove(taskId: string): Promise<void>;
  /** Calls back whenever something of a task's container changed, until `signal` aborts; what it is now, `list` or `inspect` tells. */
  watch(onChange: (taskId: string) => void, signal: AbortSignal): void;
  inspect(taskId: string): Promise<TaskContainer | undefined>;
}

/** The networks of one node as the agent needs them. */
export interface TaskNetworks {
  /** Makes the kernel and the name server what the plan says, all of one change together. Safe to repeat. */
  apply(plan: NetworkPlan): Promise<void>;
  /** Compares what there is with what was applied last, mends it, and says what differed, a sentence each. */
  heal?(): Promise<readonly string[]>;
}
