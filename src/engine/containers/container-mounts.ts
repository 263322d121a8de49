import { existsSync, mkdirSync } from 'node:fs';
import { invalid, messageOf } from '#model/errors.ts';
import type { ContainerParts } from './container-parts.ts';
import type { StoredContainer } from './container-table.ts';
import { copyUp } from './copy-up.ts';

/** Makes what is mounted ready: volumes there and mounted, bind sources there, empty volumes filled from the image. */
export async function prepareMounts(
  parts: ContainerParts,
  record: StoredContainer,
  rootfs: string,
): Promise<void> {
  for (const mount of record.mounts) {
    if (mount.Type === 'bind') prepareBind(mount);
    if (mount.Type !== 'volume' || mount.Name === undefined) continue;
    const { Mountpoint } = parts.volumes.mount(mount.Name);
    mount.Source = Mountpoint;
    publishVolumeEvent(parts, 'mount', record, mount);
    if (mount.copyUp === true) {
      await parts.mutex.run(`volume ${mount.Name}`, () =>
        copyUp({ rootfs, path: mount.Destination, volumeDirectory: Mountpoint }),
      );
    }
  }
}

/** Announces that a container took a volume into use, or left it. */
export function publishVolumeEvent(
  parts: ContainerParts,
  action: 'mount' | 'unmount',
  { id }: StoredContainer,
  { Name, Destination, RW, Propagation }: StoredContainer['mounts'][number],
): void {
  const told = { container: id, driver: 'local' };
  const attributes =
    action === 'unmount'
      ? told
      : { ...told, destination: Destination, 'read/write': String(RW), propagation: Propagation };
  parts.events.publish('volume', action, Name ?? '', attributes);
}

function prepareBind(mount: StoredContainer['mounts'][number]): void {
  if (existsSync(mount.Source)) return;
  if (mount.createSource !== true) {
    throw invalid(`invalid mount config for type "bind": bind source path does not exist: ${mount.Source}`);
  }
  try {
    mkdirSync(mount.Source, { recursive: true, mode: 0o755 });
  } catch (cause) {
    throw invalid(`error while creating mount source path '${mount.Source}': ${messageOf(cause)}`, { cause });
  }
}
