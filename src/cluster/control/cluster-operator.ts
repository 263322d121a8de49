import type { ControllerFigures } from '#cluster/controllers/leader-loop.ts';
import type { PlacementExplanation } from '#cluster/scheduler/explain.ts';
import type { NodeRecord } from '#model/node.ts';
import type { TaskRecord } from '#model/task.ts';

/** A backup on its way to who asked for it. */
export interface BackupContent {
  readonly clusterId: string;
  /** Of the store that was saved. */
  readonly revision: number;
  /** Entries. */
  readonly count: number;
  readonly bytes: number;
  /** To be read to its end or given up: what it lies in goes with it. */
  readonly content: AsyncIterable<Buffer>;
}

export interface RestoreRequest {
  /** The file, as it was backed up. */
  readonly content: AsyncIterable<Uint8Array>;
  /** The managers' key, `SWMKEY-1-…`. */
  readonly key: string;
  /** As in `docker swarm init`; empty where it is to be found out. */
  readonly listenAddress: string;
  readonly advertiseAddress: string;
  readonly dataPathAddress: string;
}

export interface RestoredCluster {
  readonly nodeId: string;
  readonly clusterId: string;
  readonly count: number;
}

/** One of the store's members; SQLite has one, the file. */
export interface StoreMember {
  /** The node's ID; empty for a member that has not started yet. */
  readonly nodeId: string;
  readonly isLeader: boolean;
  readonly bytes: number | undefined;
  /** Undefined for a healthy one. */
  readonly problem: string | undefined;
}

/** What compacting did to one of the store's members. */
export interface CompactedMember {
  readonly nodeId: string;
  /** The host's. */
  readonly name: string;
  readonly bytesBefore: number | undefined;
  readonly bytesAfter: number | undefined;
}

/** Something that is not as it was asked to be, and why. */
export interface WaitingTask {
  readonly record: TaskRecord;
  /** `service.slot` or `service.node`. */
  readonly name: string;
  readonly reason: string;
  /** RFC 3339. */
  readonly since: string;
}

export interface ServiceInChange {
  readonly name: string;
  /** Docker's state of an update: `updating`, `paused`, `rollback_started`, `rollback_paused`. */
  readonly state: string;
  readonly message: string;
  readonly running: number;
  readonly desired: number;
}

export interface ClusterStatus {
  readonly clusterId: string;
  /** This node. */
  readonly nodeId: string;
  /** Node that leads; undefined while nobody does. */
  readonly leader: string | undefined;
  readonly nodes: readonly NodeRecord[];
  readonly store: {
    readonly kind: 'sqlite' | 'etcd';
    /** Of this manager's view. */
    readonly revision: number;
    /** Why the view may be old. */
    readonly problem: string | undefined;
    readonly members: readonly StoreMember[];
  };
  /** Of the manager that leads; empty where it could not be asked. */
  readonly controllers: readonly ControllerFigures[];
  readonly waiting: readonly WaitingTask[];
  readonly changing: readonly ServiceInChange[];
}

export interface TaskExplanation extends PlacementExplanation {
  readonly name: string;
  readonly state: string;
  readonly desiredState: string;
  readonly error: string;
}

export interface ServiceExplanation {
  readonly serviceId: string;
  readonly name: string;
  /** Wanted tasks, by their places. */
  readonly tasks: readonly TaskExplanation[];
}

/** What one node's networks are, against what they should be. */
export interface NodeNetworkCheck {
  readonly nodeId: string;
  readonly name: string;
  /** Sentences; empty is good. */
  readonly differences: readonly string[];
  /** Why it could not be asked. */
  readonly problem: string | undefined;
}

export interface NetworkReasons {
  /** Where it was asked. */
  readonly nodeId: string;
  readonly name: string;
  /** Empty where nothing is known that is in the way. */
  readonly reasons: readonly string[];
  readonly problem: string | undefined;
}

/** What an operator asks of a cluster beyond Docker's API, on a manager. Each throws `unavailable` in Docker's words on another node. */
export interface ClusterOperator {
  /**
   * This manager goes on alone with what it knows; containers are not touched. Gives its node's ID. `conflict` where the managers have
   * their quorum, unless `force`.
   */
  recover(o: { force: boolean }): Promise<string>;
  backup(): Promise<BackupContent>;
  /** Makes the store as small as what it keeps, on every manager that answers, and lets one that is full be written again. */
  compact(): Promise<CompactedMember[]>;
  /** What backups are opened with. */
  managerKey(): string;
  status(): Promise<ClusterStatus>;
  explain(serviceReference: string): ServiceExplanation;
  /** Every node's networks against its plan; `heal` makes them what they should be. */
  checkNetworks(o: { heal: boolean; signal: AbortSignal }): Promise<NodeNetworkCheck[]>;
  /** Why `from` cannot reach `to`: services, tasks, containers, names or addresses. Asked on every node where `from` runs. */
  whyUnreachable(o: { from: string; to: string; signal: AbortSignal }): Promise<NetworkReasons[]>;
}
