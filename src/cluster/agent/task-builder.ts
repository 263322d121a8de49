import type { ContainerSpec } from '#model/task-spec.ts';
import type { AssignedTask } from './assigned-task.ts';

/** A task of the service `web` for tests: busybox on the default bridge, changed where the test says so. */
export function assignedTask(
  change: Partial<Omit<AssignedTask, 'spec'>> & {
    spec?: Partial<AssignedTask['spec']>;
    container?: Partial<ContainerSpec>;
  } = {},
): AssignedTask {
  const { spec, container, ...rest } = change;
  return {
    id: 'task00000000000000000000a',
    serviceId: 'service000000000000000000',
    serviceName: 'web',
    serviceLabels: {},
    slot: 1,
    nodeId: 'node000000000000000000000',
    nodeHostname: 'host-a',
    desiredState: 'running',
    state: 'assigned',
    networks: [],
    hostPorts: [],
    secrets: [],
    configs: [],
    singleWriter: false,
    ...rest,
    spec: { ...spec, ContainerSpec: { Image: 'busybox', ...spec?.ContainerSpec, ...container } },
  };
}
