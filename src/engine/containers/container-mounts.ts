import { existsSync, mkdirSync, statSync } from 'node:fs';
import type { ViewMount } from '#linux/directory-view.ts';
import { invalid, messageOf } from '#model/errors.ts';
import type { ContainerParts } from './container-parts.ts';
import { hasProcess } from './container-state.ts';
import type { StoredContainer } from './container-table.ts';
import { copyUp } from './copy-up.ts';
import type { StoredMount } from './mount-points.ts';
import { sharedNamespaces } from './shared-namespaces.ts';

const RECURSIVELY_READ_ONLY = 'rro';

/** Makes what is mounted ready: volumes there and mounted, bind sources there, empty volumes filled from the image. */
export async function prepareMounts(
  parts: ContainerParts,
  record: StoredContainer,
  rootfs: string,
): Promise<void> {
  for (const mount of record.mounts) {
    await prepareMount(parts, mount, rootfs, () => publishVolumeEvent(parts, 'mount', record, mount));
    if (mount.subpath === undefined) continue;
    mount.prepared = parts.filesystems.mountInside(record.id, { root: mount.Source, path: mount.subpath });
  }
}

async function prepareMount(
  parts: ContainerParts,
  mount: StoredMount,
  rootfs: string,
  mounted: () => void,
): Promise<void> {
  if (mount.Type === 'bind') prepareBind(mount);
  if (mount.Type !== 'volume' || mount.Name === undefined) return;
  const { Mountpoint } = parts.volumes.mount(mount.Name);
  mount.Source = Mountpoint;
  mounted();
  if (mount.copyUp !== true) return;
  await parts.mutex.run(`volume ${mount.Name}`, () =>
    copyUp({ rootfs, path: mount.Destination, volumeDirectory: Mountpoint }),
  );
}

/** What lies over a container's root for somebody who looks at its files: volumes, binds, the files of its network. */
export async function mountsToView(
  parts: ContainerParts,
  record: StoredContainer,
  rootfs: string,
): Promise<ViewMount[]> {
  const shown: ViewMount[] = [];
  for (const mount of record.mounts) {
    if (mount.Type === 'tmpfs') continue;
    // A container that runs has them ready.
    if (!hasProcess(record.state)) await prepareMount(parts, mount, rootfs, () => undefined);
    const { Source: source, Destination: target, RW, options = [], subpath } = mount;
    const inside = subpath === undefined ? {} : { inside: subpath };
    shown.push({ source, ...inside, target, readOnly: !RW, recursive: !options.includes('bind') });
  }
  if (!hasProcess(record.state)) return shown;
  const { network } = sharedNamespaces(record.hostConfig, (reference) => parts.table.resolve(reference));
  const { hosts, hostname, resolvConf } = parts.filesystems.networkFiles(network?.id ?? record.id);
  const own = [
    { source: hosts, target: '/etc/hosts' },
    { source: hostname, target: '/etc/hostname' },
    { source: resolvConf, target: '/etc/resolv.conf' },
  ];
  const free = own.filter(
    ({ source, target }) => existsSync(source) && !shown.some((each) => each.target === target),
  );
  return [...free.map((file) => ({ ...file, readOnly: false, recursive: false })), ...shown];
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

function prepareBind(mount: StoredMount): void {
  makeSource(mount);
  if (mount.recursivelyReadOnly !== true) return;
  // mount_setattr(2), Linux 5.12; crun takes it for directories only, and nothing is mounted below a file
  const others = (mount.options ?? []).filter((option) => option !== RECURSIVELY_READ_ONLY);
  mount.options = statSync(mount.Source).isDirectory() ? [...others, RECURSIVELY_READ_ONLY] : others;
}

function makeSource(mount: StoredMount): void {
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
