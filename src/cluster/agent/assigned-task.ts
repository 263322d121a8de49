import type { PortConfig } from '#model/service.ts';
import type { DesiredTaskState, TaskNetwork, TaskState } from '#model/task.ts';
import type { FileTarget, GenericResource, TaskSpec } from '#model/task-spec.ts';

/** A file's content for a task. */
export interface TaskFile {
  /** The secret's or config's ID. */
  readonly id: string;
  readonly target: FileTarget;
  /** base64 */
  readonly data: string;
}

/** A task as its node gets it: all that it takes to run it, and nothing else. */
export interface AssignedTask {
  readonly id: string;
  readonly serviceId: string;
  readonly serviceName: string;
  readonly serviceLabels: Readonly<Record<string, string>>;
  readonly slot: number;
  readonly nodeId: string;
  readonly nodeHostname: string;
  readonly desiredState: DesiredTaskState;
  /** What the managers know of it. */
  readonly state: TaskState;
  readonly spec: TaskSpec;
  readonly networks: readonly TaskNetwork[];
  /** Ports in host mode. */
  readonly hostPorts: readonly PortConfig[];
  readonly secrets: readonly TaskFile[];
  readonly configs: readonly TaskFile[];
  /** The node's resources that the scheduler gave to it. */
  readonly genericResources?: readonly GenericResource[];
  /** Who to be at the image's registry: `X-Registry-Auth`, base64url. */
  readonly registryAuth?: string;
  /** Never two at once: stopped by its own node when it hears nothing of the managers for the fencing time. */
  readonly singleWriter: boolean;
  /** Asks the node to say, with this number, when it does so: it may have the task for longer than it knows of that. */
  readonly confirmFence?: number;
}

/** `NAME.SLOT.TASK`, for tasks of global services `NAME.NODE.TASK`: the container's name, as Swarm's. */
export function containerNameOf(task: Pick<AssignedTask, 'id' | 'serviceName' | 'slot' | 'nodeId'>): string {
  return `${task.serviceName}.${task.slot === 0 ? task.nodeId : task.slot}.${task.id}`;
}
