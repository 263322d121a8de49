import { configHash, containerName, LABEL } from './container-request.ts';
import { contentMounts } from './content-mounts.ts';
import type { Project, Service } from './project.ts';

/** A container of the project as the daemon lists it. */
export interface ActualContainer {
  id: string;
  name: string;
  state: string;
  labels: Record<string, string>;
}

export interface ActualState {
  containers: readonly ActualContainer[];
  networks: ReadonlySet<string>;
  volumes: ReadonlySet<string>;
  /** Image IDs by service. */
  imageIds: ReadonlyMap<string, string>;
}

/** One thing to do to a container; `keep` is there so that people see what does not change. */
export type ContainerStep =
  | { do: 'create'; service: string; number: number; name: string }
  | { do: 'recreate'; service: string; number: number; name: string; id: string }
  | { do: 'start'; service: string; name: string; id: string }
  | { do: 'keep'; service: string; name: string; id: string }
  | { do: 'remove'; service: string; name: string; id: string };

export interface Plan {
  /** Keys of networks and volumes to make, before any container. */
  networks: string[];
  volumes: string[];
  /** By service; a service comes after those it depends on. */
  services: { name: string; steps: ContainerStep[] }[];
  /** Containers of services that are no longer in the file. */
  orphans: ActualContainer[];
}

export interface PlanOptions {
  forceRecreate: boolean;
  noRecreate: boolean;
  /** Replicas by service, over the file's. */
  scale: ReadonlyMap<string, number>;
  /** Only these and what they depend on; empty is all. */
  only: readonly string[];
}

/** What has to happen so that the project is as its files say. */
export function planUp(project: Project, actual: ActualState, options: PlanOptions): Plan {
  const order = dependencyOrder(project, options.only);
  // what cannot be mounted is refused before anything is made
  for (const service of order) contentMounts(project, service);
  const usedNetworks = new Set(order.flatMap((service) => [...service.networks.keys()]));
  const own = actual.containers.filter(({ labels }) => labels[LABEL.oneoff] !== 'True');
  return {
    networks: [...project.networks.values()]
      .filter(
        (network) => usedNetworks.has(network.key) && !network.external && !actual.networks.has(network.name),
      )
      .map((network) => network.key),
    volumes: [...project.volumes.values()]
      .filter((volume) => !volume.external && !actual.volumes.has(volume.name))
      .map((volume) => volume.key),
    services: order.map((service) => ({
      name: service.name,
      steps: serviceSteps(
        project,
        service,
        own.filter(({ labels }) => labels[LABEL.service] === service.name),
        actual.imageIds.get(service.name) ?? '',
        options,
      ),
    })),
    orphans: own.filter(({ labels }) => !project.services.has(labels[LABEL.service] ?? '')),
  };
}

function serviceSteps(
  project: Project,
  service: Service,
  existing: readonly ActualContainer[],
  imageId: string,
  options: PlanOptions,
): ContainerStep[] {
  const replicas = options.scale.get(service.name) ?? service.replicas;
  const hash = configHash(project, service, imageId);
  const byNumber = new Map(existing.map((container) => [Number(container.labels[LABEL.number]), container]));
  const steps: ContainerStep[] = [];
  for (const [number, { id, name }] of [...byNumber].sort(([a], [b]) => a - b)) {
    if (number > replicas) steps.push({ do: 'remove', service: service.name, name, id });
  }
  for (let number = 1; number <= replicas; number++) {
    const container = byNumber.get(number);
    const name = containerName(project, service, number);
    if (container === undefined) {
      steps.push({ do: 'create', service: service.name, number, name });
      continue;
    }
    const { id } = container;
    const changed = container.labels[LABEL.hash] !== hash;
    if (options.forceRecreate || (changed && !options.noRecreate)) {
      steps.push({ do: 'recreate', service: service.name, number, name, id });
    } else if (container.state === 'running' || container.state === 'restarting') {
      steps.push({ do: 'keep', service: service.name, name, id });
    } else {
      steps.push({ do: 'start', service: service.name, name, id });
    }
  }
  return steps;
}

/** Every service after those it depends on; the file's order otherwise. */
export function dependencyOrder(project: Project, only: readonly string[] = []): Service[] {
  const ordered = new Map<string, Service>();
  const visit = (name: string): void => {
    const service = project.services.get(name);
    if (service === undefined || ordered.has(name)) return;
    for (const dependency of service.dependsOn.keys()) visit(dependency);
    ordered.set(name, service);
  };
  for (const name of only.length === 0 ? project.services.keys() : only) visit(name);
  return [...ordered.values()];
}
