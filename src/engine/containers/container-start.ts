import { writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { NetworkFiles } from '#engine/layers/container-filesystem.ts';
import { ociSpecification } from '#engine/runtime/oci-specification.ts';
import { lookUpUser } from '#engine/runtime/user-lookup.ts';
import { cgroupMode } from '#linux/cgroups.ts';
import { prepareMounts } from './container-mounts.ts';
import type { ContainerParts } from './container-parts.ts';
import { releasedEndpoint } from './container-state.ts';
import type { StoredContainer } from './container-table.ts';
import { keepsLog, logMaximumBytes } from './host-config.ts';
import { findInit } from './init-binary.ts';
import type { LiveContainer } from './live-container.ts';
import { type SharedNamespaces, sharedNamespaces } from './shared-namespaces.ts';

/**
 * Makes a container's process: root mounted, mounts ready, networks joined, runtime created, attached, started.
 * `record` then says what it was given and which process it is. What was done before an error is undone in reverse.
 */
export async function startProcess(
  parts: ContainerParts,
  record: StoredContainer,
  live: LiveContainer,
): Promise<void> {
  const { filesystems, images, runtime } = parts;
  const { id, config, hostConfig } = record;
  await using undo = new AsyncDisposableStack();
  runtime.expectCreate();
  const image = images.resolve(record.imageId);
  const shared = sharedNamespaces(hostConfig, (reference) => parts.table.resolve(reference));
  const initBinary = hostConfig.Init ? findInit() : undefined;
  undo.defer(() => filesystems.unmount(id));
  const rootfs = filesystems.mount(id, image.configuration.rootfs.diff_ids);
  await prepareMounts(parts, record, rootfs);
  const networkNamespace = await joinNetworks(parts, record, shared, undo);
  const specification = ociSpecification({
    container: record,
    rootfs,
    user: lookUpUser(rootfs, config.User, hostConfig.GroupAdd ?? []),
    networkNamespace,
    ...namespacePaths(record, shared),
    ...sharedShm(parts, record, shared),
    cgroupsPath: cgroupPath(parts, record),
    cgroupVersion: cgroupMode() === 'v2' ? 2 : 1,
    heldCapabilities: runtime.heldCapabilities,
    files: networkFiles(parts, record, shared),
    initBinary,
  });
  undo.defer(() => runtime.delete(id));
  const maximum = logMaximumBytes(hostConfig.LogConfig);
  const { pid, pidStartTime } = await runtime.create({
    id,
    specification,
    logPath: keepsLog(hostConfig) ? filesystems.logPath(id) : undefined,
    ...(maximum === undefined ? {} : { logMaxBytes: maximum }),
    terminal: config.Tty,
    stdin: config.OpenStdin,
    stdinOnce: config.StdinOnce,
  });
  record.state = { ...record.state, Pid: pid };
  record.pidStartTime = pidStartTime;
  live.connectSessions(() => runtime.attach(id));
  await runtime.start(id);
  undo.move();
}

/** The cgroup of a container's processes, such as `/drover/ID`: the same in every run. */
export function cgroupPath({ runtime }: ContainerParts, { id, hostConfig }: StoredContainer): string {
  return join(hostConfig.CgroupParent || runtime.cgroupParent, id);
}

/** Gives the path of the network namespace; undefined is the host's. */
async function joinNetworks(
  parts: ContainerParts,
  record: StoredContainer,
  shared: SharedNamespaces,
  undo: AsyncDisposableStack,
): Promise<string | undefined> {
  const { networks } = parts;
  if (shared.network !== undefined) return `/proc/${shared.network.state.Pid}/ns/net`;
  if (record.hostConfig.NetworkMode === 'host') {
    const { Id } = networks.resolve('host');
    for (const endpoint of Object.values(record.networks)) endpoint.NetworkID = Id;
    return undefined;
  }
  using places = await networks.attachments.attachAll(record);
  const joined = networks.join(record, places);
  undo.defer(() => {
    networks.leave(record);
    record.ports = {};
    for (const [name, endpoint] of Object.entries(record.networks)) {
      record.networks[name] = releasedEndpoint(endpoint);
    }
  });
  record.networks = joined.networks;
  record.ports = joined.ports;
  return joined.namespacePath;
}

function namespacePaths(
  record: StoredContainer,
  shared: SharedNamespaces,
): {
  pidNamespace: string | undefined;
  ipcNamespace: string | undefined;
  utsNamespace: string | undefined;
} {
  const { PidMode, IpcMode, UTSMode, NetworkMode } = record.hostConfig;
  const ofProcess = (pid: number | undefined, what: string): string | undefined =>
    pid === undefined ? undefined : `/proc/${pid}/${what}`;
  return {
    pidNamespace: PidMode === 'host' ? 'host' : ofProcess(shared.pid?.state.Pid, 'ns/pid'),
    ipcNamespace: IpcMode === 'host' ? 'host' : ofProcess(shared.ipc?.state.Pid, 'ns/ipc'),
    // a container in the host's network has the host's name, unless it asked for its own
    utsNamespace: UTSMode === 'host' || (NetworkMode === 'host' && isHostsName(record)) ? 'host' : undefined,
  };
}

/** Mounted here, not by the runtime: what is mounted in a container's own namespace cannot be mounted in another's. */
function sharedShm(
  { filesystems }: ContainerParts,
  { id, hostConfig }: StoredContainer,
  shared: SharedNamespaces,
): { sharedShm?: string } {
  if (shared.ipc !== undefined) return { sharedShm: filesystems.shmPath(shared.ipc.id) };
  if (hostConfig.IpcMode !== 'shareable') return {};
  return { sharedShm: filesystems.mountShm(id, hostConfig.ShmSize) };
}

function isHostsName(record: StoredContainer): boolean {
  return record.config.Hostname === hostname() && record.config.Domainname === '';
}

/** Writes /etc/hosts, hostname and resolv.conf; a container in another one's network has that one's. */
function networkFiles(
  parts: ContainerParts,
  record: StoredContainer,
  shared: SharedNamespaces,
): NetworkFiles {
  const files = parts.filesystems.networkFiles(shared.network?.id ?? record.id);
  if (shared.network !== undefined) return files;
  writeFileSync(files.hosts, parts.networks.hosts(record));
  writeFileSync(files.hostname, `${record.config.Hostname}\n`);
  writeFileSync(files.resolvConf, parts.networks.resolvConf(record));
  return files;
}
