import type { ContainerParts } from './container-parts.ts';
import type { StoredContainer } from './container-table.ts';

/**
 * Takes away everything that belongs to a container that has no process, its record last: cut off anywhere, it can
 * be done again. With `volumes` its anonymous volumes go too, unless another container uses them.
 */
export async function discardContainer(
  parts: ContainerParts,
  record: StoredContainer,
  o: { volumes: boolean },
): Promise<void> {
  const anonymous = record.mounts.filter(({ anonymous }) => anonymous === true);
  await parts.filesystems.remove(record.id);
  if (o.volumes) {
    for (const { Name } of anonymous) {
      if (Name === undefined || usersOfVolume(parts, Name).some((id) => id !== record.id)) continue;
      await parts.volumes.remove(Name, { force: true, users: [] });
    }
  }
  parts.table.delete(record);
}

/** The containers that mount a volume, running or not. */
function usersOfVolume(parts: ContainerParts, name: string): string[] {
  return parts.table
    .all()
    .flatMap((record) => (record.mounts.some(({ Name }) => Name === name) ? [record.id] : []));
}
