import type { ContainerRecord, HostConfig } from '#model/container.ts';
import { conflict, notFound } from '#model/errors.ts';
import { hasProcess } from './container-state.ts';
import { containerOfMode } from './host-config.ts';

/** The containers whose namespaces another one joins, by what is shared. */
export interface SharedNamespaces {
  network: ContainerRecord | undefined;
  pid: ContainerRecord | undefined;
  ipc: ContainerRecord | undefined;
}

/** Looks up the containers of `container:ID` modes. Throws Docker's message when one is missing or does not run. */
export function sharedNamespaces(
  hostConfig: HostConfig,
  resolve: (reference: string) => ContainerRecord,
): SharedNamespaces {
  const find = (field: 'NetworkMode' | 'PidMode' | 'IpcMode', what: string): ContainerRecord | undefined => {
    const reference = containerOfMode(hostConfig[field]);
    if (reference === undefined) return undefined;
    const other = lookUp(reference, what, resolve);
    if (!hasProcess(other.state)) {
      throw conflict(`cannot join ${what} of a non running container: ${reference}`);
    }
    return other;
  };
  const ipc = find('IpcMode', 'IPC');
  if (ipc !== undefined && ipc.hostConfig.IpcMode !== 'shareable') {
    throw conflict(`cannot join IPC of container ${ipc.id}: non-shareable IPC`, {
      hint: 'run that container with --ipc shareable',
    });
  }
  return { network: find('NetworkMode', 'network'), pid: find('PidMode', 'PID'), ipc };
}

function lookUp(
  reference: string,
  what: string,
  resolve: (reference: string) => ContainerRecord,
): ContainerRecord {
  try {
    return resolve(reference);
  } catch (cause) {
    throw notFound(`joining ${what} namespace of container: No such container: ${reference}`, { cause });
  }
}
