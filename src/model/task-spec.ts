/**
 * What is asked of a task, in Docker's words and spelling (TaskSpec of the Engine API, v1.51): kept as it was asked, so that inspect
 * gives it back; what is left out has the default that the reader of the field fills in. Durations are nanoseconds.
 */
import type { HealthConfig, MountSpec, Ulimit } from './container.ts';

export interface TaskMount extends Omit<MountSpec, 'Type' | 'Source'> {
  Type: 'bind' | 'volume' | 'tmpfs' | 'image' | 'npipe' | 'cluster';
  Source?: string;
  Consistency?: string;
}

/** Where a secret or a config is put in the container. */
export interface FileTarget {
  /** A path; one that is not absolute lies in /run/secrets, for a config in /. */
  Name: string;
  UID: string;
  GID: string;
  /** Permission bits, such as 0o444. */
  Mode: number;
}

export interface SecretReference {
  File?: FileTarget;
  SecretID: string;
  SecretName: string;
}

export interface ConfigReference {
  File?: FileTarget;
  Runtime?: Record<string, never>;
  ConfigID: string;
  ConfigName: string;
}

export interface Privileges {
  CredentialSpec?: { Config?: string; File?: string; Registry?: string };
  SELinuxContext?: { Disable?: boolean; User?: string; Role?: string; Type?: string; Level?: string };
  Seccomp?: { Mode?: 'default' | 'unconfined' | 'custom'; Profile?: string };
  AppArmor?: { Mode?: 'default' | 'disabled' };
  NoNewPrivileges?: boolean;
}

export interface ContainerSpec {
  Image: string;
  Labels?: Record<string, string>;
  /** Takes the place of the image's entrypoint. */
  Command?: string[];
  /** Takes the place of the image's command. */
  Args?: string[];
  Hostname?: string;
  Env?: string[];
  Dir?: string;
  User?: string;
  Groups?: string[];
  Privileges?: Privileges;
  TTY?: boolean;
  OpenStdin?: boolean;
  ReadOnly?: boolean;
  Mounts?: TaskMount[];
  StopSignal?: string;
  /** Nanoseconds; 10 s where it is not said. */
  StopGracePeriod?: number;
  Healthcheck?: HealthConfig;
  /** `IP host [alias…]`. */
  Hosts?: string[];
  DNSConfig?: { Nameservers?: string[]; Search?: string[]; Options?: string[] };
  Secrets?: SecretReference[];
  OomScoreAdj?: number;
  Configs?: ConfigReference[];
  Isolation?: 'default' | 'process' | 'hyperv' | '';
  Init?: boolean;
  Sysctls?: Record<string, string>;
  CapabilityAdd?: string[];
  CapabilityDrop?: string[];
  Ulimits?: Ulimit[];
}

export type GenericResource =
  | { NamedResourceSpec: { Kind: string; Value: string } }
  | { DiscreteResourceSpec: { Kind: string; Value: number } };

export interface TaskResources {
  Limits?: { NanoCPUs?: number; MemoryBytes?: number; Pids?: number };
  Reservations?: { NanoCPUs?: number; MemoryBytes?: number; GenericResources?: GenericResource[] };
}

export interface TaskRestartPolicy {
  /** `any` where it is not said. */
  Condition?: 'none' | 'on-failure' | 'any';
  /** Nanoseconds; 5 s where it is not said. */
  Delay?: number;
  /** 0 is no limit. */
  MaxAttempts?: number;
  /** Nanoseconds in which MaxAttempts are counted; 0 is ever. */
  Window?: number;
}

export interface Placement {
  /** Such as `node.labels.zone == a`; all have to hold. */
  Constraints?: string[];
  Preferences?: { Spread: { SpreadDescriptor: string } }[];
  /** Of one service on one node; 0 is no limit. */
  MaxReplicas?: number;
  Platforms?: { Architecture?: string; OS?: string }[];
}

export interface NetworkAttachmentConfig {
  /** A network's ID; names are resolved when the spec is taken in. */
  Target: string;
  Aliases?: string[];
  DriverOpts?: Record<string, string>;
}

export interface TaskSpec {
  ContainerSpec: ContainerSpec;
  Resources?: TaskResources;
  RestartPolicy?: TaskRestartPolicy;
  Placement?: Placement;
  /** Another number makes every task anew although nothing else changed. */
  ForceUpdate?: number;
  Runtime?: string;
  Networks?: NetworkAttachmentConfig[];
  LogDriver?: { Name?: string; Options?: Record<string, string> };
}
