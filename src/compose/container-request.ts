import { createHash } from 'node:crypto';
import type { MountSpec } from '#model/container.ts';
import { contentMounts } from './content-mounts.ts';
import type { Project, ProjectNetwork, Service } from './project.ts';

/** Labels of Compose, by which its own tools and ours find what belongs to a project. */
export const LABEL = {
  project: 'com.docker.compose.project',
  service: 'com.docker.compose.service',
  number: 'com.docker.compose.container-number',
  oneoff: 'com.docker.compose.oneoff',
  hash: 'com.docker.compose.config-hash',
  dependsOn: 'com.docker.compose.depends_on',
  image: 'com.docker.compose.image',
  directory: 'com.docker.compose.project.working_dir',
  files: 'com.docker.compose.project.config_files',
  version: 'com.docker.compose.version',
} as const;

/** The Compose version whose labels these are. */
const COMPOSE_VERSION = '2.29.0';

/** `project-service-1`, or the name that the file gives. */
export function containerName(project: Project, service: Service, number: number): string {
  return service.containerName ?? `${project.name}-${service.name}-${number}`;
}

/** Changes when anything about the service's containers does, the image's ID included. */
export function configHash(project: Project, service: Service, imageId: string): string {
  const {
    replicas: _replicas,
    dependsOn: _dependsOn,
    profiles: _profiles,
    place: _place,
    build: _build,
    deploy: _deploy,
    pullPolicy: _pullPolicy,
    secrets: _secrets,
    configs: _configs,
    ...rest
  } = service;
  const contents = contentMounts(project, service);
  const networks = [...service.networks].map(([key, each]) => [project.networks.get(key)?.name, each]);
  return createHash('sha256')
    .update(JSON.stringify({ ...rest, networks, imageId, ...(contents.length > 0 ? { contents } : {}) }))
    .digest('hex');
}

/** The body of `POST /containers/create`. */
export function containerRequest(
  project: Project,
  service: Service,
  number: number,
  imageId: string,
): Record<string, unknown> {
  const dependsOn = [...service.dependsOn]
    .map(([name, { condition }]) => `${name}:${condition}:false`)
    .join(',');
  const labels = {
    ...(isRecord(service.config['Labels']) ? service.config['Labels'] : {}),
    [LABEL.project]: project.name,
    [LABEL.service]: service.name,
    [LABEL.number]: String(number),
    [LABEL.oneoff]: 'False',
    [LABEL.hash]: configHash(project, service, imageId),
    [LABEL.dependsOn]: dependsOn,
    [LABEL.image]: imageId,
    [LABEL.directory]: project.directory,
    [LABEL.files]: project.files.join(','),
    [LABEL.version]: COMPOSE_VERSION,
  };
  const endpoints = [...service.networks].map(([key, { aliases, address }]) => [
    project.networks.get(key)?.name ?? key,
    {
      Aliases: [...new Set([containerName(project, service, number), service.name, ...aliases])],
      ...(address === undefined ? {} : { IPAMConfig: { IPv4Address: address } }),
    },
  ]);
  const [[mainNetwork] = [undefined]] = endpoints;
  const mounts: MountSpec[] = [...service.mounts, ...contentMounts(project, service)];
  const exposed = Object.fromEntries(service.ports.map(({ target }) => [target, {}]));
  return {
    ...service.config,
    ExposedPorts: {
      ...(isRecord(service.config['ExposedPorts']) ? service.config['ExposedPorts'] : {}),
      ...exposed,
    },
    ...(service.healthcheck === undefined ? {} : { Healthcheck: service.healthcheck }),
    Labels: labels,
    HostConfig: {
      ...service.hostConfig,
      NetworkMode: service.networkMode ?? mainNetwork ?? 'default',
      Mounts: mounts,
      PortBindings: portBindings(service),
    },
    NetworkingConfig: { EndpointsConfig: Object.fromEntries(endpoints) },
  };
}

/** The body of `POST /networks/create`: what spans the nodes of a cluster is a bridge on one machine. */
export function networkRequest({ body }: ProjectNetwork): ProjectNetwork['body'] {
  if (body.Driver !== 'overlay') return body;
  const { Options: _ofOverlays, ...rest } = body;
  return { ...rest, Driver: 'bridge' };
}

function portBindings(service: Service): Record<string, unknown[]> {
  const all: Record<string, unknown[]> = {};
  for (const { target, bindings } of service.ports) all[target] = [...(all[target] ?? []), ...bindings];
  return all;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
