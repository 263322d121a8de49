import type { ContainerConfig, HealthConfig, HostConfig, MountSpec } from '#model/container.ts';
import type { DependencyCondition } from '#model/stack.ts';
import type { Place } from './compose-file.ts';
import type { Deploy } from './deploy-reader.ts';
import type { PublishedPorts } from './ports.ts';
import type { ContentReference, ProjectContent } from './project-content.ts';

export interface Dependency {
  condition: DependencyCondition;
  required: boolean;
}

/** A service as it is to run, all short forms written out. */
export interface Service {
  name: string;
  /** Where the file has it, for messages. */
  place: Place;
  image: string;
  /** What the file would build the image from. */
  build: string | undefined;
  /** As written; `replicas` has its number already. */
  deploy: Deploy;
  pullPolicy: string | undefined;
  /** Such as `linux/amd64`. */
  platform: string | undefined;
  containerName: string | undefined;
  replicas: number;
  profiles: string[];
  dependsOn: Map<string, Dependency>;
  /** Networks by their key in the file. */
  networks: Map<string, { aliases: string[]; address: string | undefined }>;
  networkMode: string | undefined;
  ports: PublishedPorts[];
  secrets: ContentReference[];
  configs: ContentReference[];
  mounts: MountSpec[];
  healthcheck: HealthConfig | undefined;
  /** The rest, in the words of Docker's API, for the body of a create request. */
  config: Partial<ContainerConfig>;
  hostConfig: Partial<HostConfig>;
}

export interface ProjectNetwork {
  key: string;
  name: string;
  external: boolean;
  body: {
    Name: string;
    Labels: Record<string, string>;
    Driver?: string;
    Internal?: boolean;
    Attachable?: boolean;
    Options?: Record<string, string>;
    IPAM?: { Driver: string; Config: { Subnet?: string; Gateway?: string; IPRange?: string }[] };
  };
}

export interface ProjectVolume {
  key: string;
  name: string;
  external: boolean;
  body: {
    Name: string;
    Labels: Record<string, string>;
    Driver?: string;
    DriverOpts?: Record<string, string>;
  };
}

/** A Compose project: what `drover up` makes true. */
export interface Project {
  name: string;
  directory: string;
  files: string[];
  services: Map<string, Service>;
  networks: Map<string, ProjectNetwork>;
  volumes: Map<string, ProjectVolume>;
  secrets: Map<string, ProjectContent>;
  configs: Map<string, ProjectContent>;
}
