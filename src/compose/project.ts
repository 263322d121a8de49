import type { HealthConfig, MountSpec, PortBinding } from '#model/container.ts';

export type DependencyCondition = 'service_started' | 'service_healthy' | 'service_completed_successfully';

export interface Dependency {
  condition: DependencyCondition;
  required: boolean;
}

/** A service as it is to run, all short forms written out. */
export interface Service {
  name: string;
  image: string;
  containerName: string | undefined;
  replicas: number;
  profiles: string[];
  dependsOn: Map<string, Dependency>;
  /** Networks by their key in the file. */
  networks: Map<string, { aliases: string[]; address: string | undefined }>;
  networkMode: string | undefined;
  ports: { target: string; bindings: PortBinding[] }[];
  mounts: MountSpec[];
  healthcheck: HealthConfig | undefined;
  /** The rest, in the words of Docker's API, for the body of a create request. */
  config: Record<string, unknown>;
  hostConfig: Record<string, unknown>;
}

export interface ProjectNetwork {
  key: string;
  name: string;
  external: boolean;
  body: Record<string, unknown>;
}

export interface ProjectVolume {
  key: string;
  name: string;
  external: boolean;
  body: Record<string, unknown>;
}

/** A Compose project: what `drover up` makes true. */
export interface Project {
  name: string;
  directory: string;
  files: string[];
  services: Map<string, Service>;
  networks: Map<string, ProjectNetwork>;
  volumes: Map<string, ProjectVolume>;
}
