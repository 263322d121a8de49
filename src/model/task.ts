import type { ClusterObject } from './cluster-object.ts';
import type { PortConfig } from './service.ts';
import type { GenericResource } from './task-spec.ts';

/** In the order in which a task goes through them; it never goes back. Those from `complete` on are its ends. */
export const TASK_STATES = [
  'new',
  'pending',
  'assigned',
  'accepted',
  'preparing',
  'ready',
  'starting',
  'running',
  'complete',
  'shutdown',
  'failed',
  'rejected',
  'remove',
  'orphaned',
] as const;

export type TaskState = (typeof TASK_STATES)[number];

/** What controllers want of a task. `complete`: run to the end (jobs). It only ever moves down this list. */
export type DesiredTaskState = 'ready' | 'running' | 'complete' | 'shutdown' | 'remove';

/** The place of a state in {@link TASK_STATES}. */
export function stateRank(state: TaskState): number {
  return TASK_STATES.indexOf(state);
}

/** True for a state that a task does not leave: whatever it ran is over. */
export function isTerminal(state: TaskState): boolean {
  return stateRank(state) >= stateRank('complete');
}

export interface TaskContainerStatus {
  ContainerID: string;
  PID: number;
  ExitCode: number;
}

export interface TaskStatus {
  /** RFC 3339. */
  Timestamp: string;
  State: TaskState;
  Message: string;
  Err?: string;
  /** RFC 3339, when it came to run (and, with a health check, was healthy). */
  startedAt?: string;
  ContainerStatus?: TaskContainerStatus;
  PortStatus?: { Ports?: PortConfig[] };
}

/** A task's place on a network, given by the allocator before the task is placed. */
export interface TaskNetwork {
  networkId: string;
  /** CIDR. */
  address: string;
  aliases: string[];
}

/**
 * One attempt to run one container of a service on one node; never restarted, only replaced. Owners of its fields: `Status` from
 * `accepted` on is the agent's, everything else the controllers'.
 */
export interface TaskRecord extends ClusterObject {
  ServiceID: string;
  /** From 1; 0 for tasks of global services, whose place is their node. */
  Slot: number;
  /** From 1: the how-manieth task in its place it is. */
  attempt: number;
  /** Empty until it is placed; of global services' tasks from the beginning. */
  NodeID: string;
  DesiredState: DesiredTaskState;
  Status: TaskStatus;
  /** The {@link ServiceRevision} it is made of. */
  revision: number;
  networks: TaskNetwork[];
  AssignedGenericResources?: GenericResource[];
  JobIteration?: number;
  /** Not to be started before (RFC 3339): the restart policy's delay. */
  startAfter?: string;
  /** The task that it takes the place of; while DesiredState is `ready`, it waits for the end of that one. */
  replaces?: string;
  /** When tasks in this place were restarted before (RFC 3339), as many as the restart policy counts. */
  restarts?: string[];
  /**
   * Its node ends it by itself when it hears of no leader: it was told so together with the task, or has said since that it does, and
   * was not told otherwise. Without it nothing ends the task on a node that is lost.
   */
  fenced?: true;
  /** Why it is not placed, or not let run, yet, in one sentence, and since when. */
  waiting?: { reason: string; since: string };
}
