import { messageOf } from '#model/errors.ts';
import { publishVolumeEvent } from './container-mounts.ts';
import type { ContainerParts } from './container-parts.ts';
import { hasProcess } from './container-state.ts';
import type { StoredContainer } from './container-table.ts';

/**
 * Takes away what a run left: the runtime's state, the mounted root, mounted volumes that no other container uses.
 * Never rejects: what cannot be taken away is logged, and tried again by the next start and the removal.
 */
export async function cleanUpRun(parts: ContainerParts, record: StoredContainer): Promise<void> {
  await attempt(parts, record, 'runtime state', () => parts.runtime.delete(record.id));
  await attempt(parts, record, 'root file system', () => parts.filesystems.unmount(record.id));
  for (const mount of record.mounts) {
    const { Type, Name } = mount;
    if (Type !== 'volume' || Name === undefined) continue;
    publishVolumeEvent(parts, 'unmount', record, mount);
    if (isVolumeInUse(parts, Name)) continue;
    await attempt(parts, record, `volume ${Name}`, () => parts.volumes.unmount(Name));
  }
}

/** Gives addresses, ports and names back; a failure is logged, for the container has ended all the same. */
export function leaveNetworks(parts: ContainerParts, record: StoredContainer): void {
  try {
    parts.networks.leave(record);
  } catch (error) {
    parts.log.error({ container: record.id, error: messageOf(error) }, 'networks could not be left');
  }
}

async function attempt(
  parts: ContainerParts,
  record: StoredContainer,
  what: string,
  work: () => Promise<void> | void,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    parts.log.error({ container: record.id, what, error: messageOf(error) }, 'could not be taken away');
  }
}

function isVolumeInUse(parts: ContainerParts, name: string): boolean {
  return parts.table
    .all()
    .some(({ state, mounts }) => hasProcess(state) && mounts.some(({ Name }) => Name === name));
}
