import type { ServiceSpec } from './service.ts';

/** What another service waits for: `service_started` and `service_healthy` both mean that its tasks run, which healthy ones do. */
export type DependencyCondition = 'service_started' | 'service_healthy' | 'service_completed_successfully';

/** Labels of Docker's, by which `docker stack` and ours find what belongs to a stack. */
export const STACK_LABEL = {
  namespace: 'com.docker.stack.namespace',
  image: 'com.docker.stack.image',
} as const;

/** A network of a stack; one that is external is only named. */
export interface StackNetwork {
  name: string;
  external: boolean;
  Labels: Record<string, string>;
  Options: Record<string, string>;
  Internal: boolean;
  Attachable: boolean;
  IPAM?: { Driver?: string; Config?: { Subnet?: string; Gateway?: string; IPRange?: string }[] };
}

/** A secret or a config of a stack. Its content never changes: another content is another name. */
export interface StackFile {
  /** What the Compose file calls it. */
  key: string;
  name: string;
  external: boolean;
  labels: Record<string, string>;
  /** Such as `golang`: the content is a template. */
  templateDriver?: string;
}

/** A secret or a config as a client sends it: with its content, and without the name that follows from it. */
export interface StackContent extends Omit<StackFile, 'name'> {
  /** There for one that is external, and for one whose name the user has chosen. */
  name?: string;
  /** Base64; not there for one that is external. */
  data?: string;
}

/**
 * A service of a stack. `TaskTemplate.Networks` name networks in `Target`; secrets and configs are referred to by name with an empty
 * ID (by their key in what a client sends): what the cluster knows them by is put in when the service is written.
 */
export interface StackService {
  key: string;
  spec: ServiceSpec;
  /** By the keys of other services. */
  dependsOn: Record<string, DependencyCondition>;
}

interface Stack<File> {
  name: string;
  networks: StackNetwork[];
  secrets: File[];
  configs: File[];
  /** Each after those that it depends on. */
  services: StackService[];
}

/** A whole stack as a client asks for it. */
export type StackRequest = Stack<StackContent>;

/** A whole stack as a release keeps it: images by digest where one is known, secrets and configs by the names of their contents. */
export type StackSpec = Stack<StackFile>;
