import type { Annotations, ClusterObject } from './cluster-object.ts';
import type { NetworkAttachmentConfig, TaskSpec } from './task-spec.ts';

/** Exactly one is there; `{ Replicated: { Replicas: 1 } }` where the client says nothing. */
export interface ServiceMode {
  Replicated?: { Replicas?: number };
  Global?: Record<string, never>;
  ReplicatedJob?: { MaxConcurrent?: number; TotalCompletions?: number };
  GlobalJob?: Record<string, never>;
}

/** Of an update or a rollback. Durations are nanoseconds. */
export interface UpdateConfig {
  /** Tasks at once; 0 is all. */
  Parallelism?: number;
  /** Between one batch and the next. */
  Delay?: number;
  /** `pause` where it is not said; a rollback cannot roll back. */
  FailureAction?: 'continue' | 'pause' | 'rollback';
  /** How long a new task is watched for failing; 5 s where it is not said. */
  Monitor?: number;
  /** From 0 to 1. */
  MaxFailureRatio?: number;
  /** `stop-first` where it is not said. */
  Order?: 'stop-first' | 'start-first';
}

export type PortProtocol = 'tcp' | 'udp' | 'sctp';

export interface PortConfig {
  Name?: string;
  Protocol?: PortProtocol;
  TargetPort: number;
  /** 0 or left out: one that is free, of 30000 to 32767. */
  PublishedPort?: number;
  PublishMode?: 'ingress' | 'host';
}

export interface EndpointSpec {
  Mode?: 'vip' | 'dnsrr';
  Ports?: PortConfig[];
}

export interface ServiceSpec extends Annotations {
  Name: string;
  TaskTemplate: TaskSpec;
  Mode?: ServiceMode;
  UpdateConfig?: UpdateConfig;
  RollbackConfig?: UpdateConfig;
  /** Where clients of old put what belongs into TaskTemplate.Networks. */
  Networks?: NetworkAttachmentConfig[];
  EndpointSpec?: EndpointSpec;
}

export interface ServiceEndpoint {
  Spec?: EndpointSpec;
  /** With the published ports that were given. */
  Ports?: PortConfig[];
  /** `Addr` in CIDR notation. */
  VirtualIPs?: { NetworkID: string; Addr: string }[];
}

export type UpdateState =
  | 'updating'
  | 'paused'
  | 'completed'
  | 'rollback_started'
  | 'rollback_paused'
  | 'rollback_completed';

export interface UpdateStatus {
  State: UpdateState;
  StartedAt?: string;
  CompletedAt?: string;
  Message?: string;
  /** The revision that it brings the tasks to; not shown. */
  revision: number;
}

/** A service as the store keeps it. */
export interface ServiceRecord extends ClusterObject {
  Spec: ServiceSpec;
  PreviousSpec?: ServiceSpec;
  /** The number of {@link ServiceRevision} that `Spec.TaskTemplate` is kept under; it grows when the template changes. */
  revision: number;
  previousRevision?: number;
  Endpoint: ServiceEndpoint;
  UpdateStatus?: UpdateStatus;
  /** The run of a job: its tasks carry the number. */
  JobStatus?: { JobIteration: number; LastExecution: string };
  /** What its nodes pull the image with (a client's `X-Registry-Auth`), sealed as secrets are; and what the previous spec had. */
  sealedRegistryAuth?: string;
  previousSealedRegistryAuth?: string;
  /** Set when it is to be removed: its tasks are ended, then it goes. Its name and its published ports are given up at once. */
  removing?: boolean;
}

/**
 * What tasks of a service are made of. Immutable: tasks name the number instead of carrying a copy, and an old one is kept as
 * long as a task or the service's PreviousSpec names it. `ID` is `<service ID>.<number>`.
 */
export interface ServiceRevision extends ClusterObject {
  serviceId: string;
  number: number;
  template: TaskSpec;
  endpoint?: EndpointSpec;
}
