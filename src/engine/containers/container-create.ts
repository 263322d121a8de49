import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { availableParallelism, hostname } from 'node:os';
import { hostPlatform } from '#engine/images/image-documents.ts';
import { validateEndpoints } from '#engine/networks/endpoint-request.ts';
import { cgroupMode } from '#linux/cgroups.ts';
import { type ContainerConfig, CREATED, type EndpointSettings, type HostConfig } from '#model/container.ts';
import { invalid, kindOf, messageOf, notFound } from '#model/errors.ts';
import type { Image } from '#model/image.ts';
import { commandLine, completeConfig } from './container-config.ts';
import { discardContainer } from './container-discard.ts';
import { publishContainerEvent } from './container-events.ts';
import type { ContainerParts } from './container-parts.ts';
import type { StoredContainer } from './container-table.ts';
import { checkConflicts, completeHostConfig, containerOfMode } from './host-config.ts';
import { type PlannedMount, planMounts } from './mount-points.ts';
import { randomName } from './names.ts';
import { timestamp } from './timestamp.ts';

export interface CreateRequest {
  name: string | undefined;
  config: Partial<ContainerConfig>;
  hostConfig: Partial<HostConfig>;
  endpoints: Record<string, Partial<EndpointSettings>>;
  platform?: string;
}

/**
 * Makes a container: its record first, marked unfinished, then its volumes and directories. Nothing is
 * awaited where all goes well, so that no other call sees half of it; if the daemon dies on the way, recovery takes away what there is.
 */
export async function createContainer(
  parts: ContainerParts,
  request: CreateRequest,
): Promise<{ id: string; warnings: string[] }> {
  const { table } = parts;
  const image = parts.images.resolve(request.config.Image ?? '');
  checkPlatform(request, image);
  const id = table.freeId();
  const hostConfig = completeHostConfig(request.hostConfig, {
    cpus: availableParallelism(),
    cgroupVersion: cgroupMode() === 'v2' ? 2 : 1,
    runtimeName: parts.runtime.name,
    defaultUlimits: parts.defaultUlimits,
  });
  checkConflicts(request.config, hostConfig);
  pinSharedNamespaces(parts, hostConfig);
  const config = completeConfig({
    asked: request.config,
    image: image.configuration.config ?? {},
    hostname: defaultHostname(parts, id, hostConfig),
  });
  const planned = planMounts({
    hostConfig,
    imageVolumes: config.Volumes,
    container: (reference) => otherContainer(parts, reference),
  });
  checkBindSources(planned);
  const record: StoredContainer = {
    id,
    name: request.name?.replace(/^\//, '') || randomName((name) => table.isNameTaken(name)),
    created: timestamp(),
    imageId: image.id,
    ...commandLine(config),
    config,
    hostConfig,
    networks: validateEndpoints(hostConfig.NetworkMode, request.endpoints),
    mounts: [],
    state: { ...CREATED },
    restartCount: 0,
    stoppedByUser: false,
    ports: {},
    unfinished: 'create',
  };
  table.add(record);
  try {
    makeVolumes(parts, record, planned);
    // What is created is mostly started next.
    parts.runtime.expectCreate();
    parts.filesystems.create(id);
  } catch (error) {
    await discardContainer(parts, record, { volumes: true });
    throw error;
  }
  delete record.unfinished;
  table.save(record);
  publishContainerEvent(parts.events, 'create', record);
  return { id, warnings: [] };
}

function checkPlatform(request: CreateRequest, image: Image): void {
  if (request.platform === undefined || request.platform === '') return;
  const { os, architecture } = image.configuration;
  const [wantedOs = 'linux', wantedArchitecture = hostPlatform().architecture] = request.platform.split('/');
  if (wantedOs === os && wantedArchitecture === architecture) return;
  throw notFound(
    `image with reference ${request.config.Image} was found but its platform (${os}/${architecture}) does not match the specified platform (${request.platform})`,
  );
}

/** `container:name` is kept as `container:ID`: what is meant does not change with a rename. */
function pinSharedNamespaces(parts: ContainerParts, hostConfig: HostConfig): void {
  for (const field of ['NetworkMode', 'PidMode', 'IpcMode'] as const) {
    const reference = containerOfMode(hostConfig[field]);
    if (reference !== undefined) hostConfig[field] = `container:${otherContainer(parts, reference).id}`;
  }
}

/** A container that the request names. Not found is said of the image alone: a client would go and pull that. */
function otherContainer(parts: ContainerParts, reference: string): StoredContainer {
  try {
    return parts.table.resolve(reference);
  } catch (error) {
    throw kindOf(error) === 'not-found' ? invalid(messageOf(error), { cause: error }) : error;
  }
}

function defaultHostname(parts: ContainerParts, id: string, hostConfig: HostConfig): string {
  if (hostConfig.NetworkMode === 'host' || hostConfig.UTSMode === 'host') return hostname();
  const other = containerOfMode(hostConfig.NetworkMode);
  return other === undefined ? id.slice(0, 12) : otherContainer(parts, other).config.Hostname;
}

/** `--mount type=bind` wants its source to be there; `-v` makes it at the start. */
function checkBindSources(planned: readonly PlannedMount[]): void {
  for (const { Type, Source, createSource } of planned) {
    if (Type !== 'bind') continue;
    if (createSource !== true && !existsSync(Source)) {
      throw invalid(`invalid mount config for type "bind": bind source path does not exist: ${Source}`);
    }
  }
}

/** Each volume's name is in the record before the volume is made. */
function makeVolumes(parts: ContainerParts, record: StoredContainer, planned: readonly PlannedMount[]): void {
  for (const { volume, ...mount } of planned) {
    record.mounts.push(mount);
    if (volume === undefined) continue;
    mount.Name ??= randomBytes(32).toString('hex');
    parts.table.save(record);
    const made = parts.volumes.create({
      Name: mount.Name,
      Driver: volume.driver,
      DriverOpts: volume.options,
      Labels: volume.labels,
      anonymous: mount.anonymous ?? false,
    });
    mount.Source = made.Mountpoint;
  }
}
