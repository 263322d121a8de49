import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import type { NodeAvailability } from '#model/node.ts';
import type { SwarmSpec } from '#model/swarm.ts';
import type { ClusterControl } from './cluster-control.ts';
import type { ClusterEvent } from './cluster-events.ts';
import type { ClusterOperator, RestoredCluster, RestoreRequest } from './cluster-operator.ts';

/** As Docker's `LocalNodeState`. */
export type SwarmState = 'inactive' | 'pending' | 'active' | 'error' | 'locked';

/** How a node is reached: `address[:port]` or `interface[:port]`; empty where it is to be found out. */
interface NodeAddresses {
  readonly listenAddress: string;
  readonly advertiseAddress: string;
  readonly dataPathAddress: string;
  readonly availability: NodeAvailability;
}

export interface SwarmInitRequest extends NodeAddresses {
  readonly spec: Partial<SwarmSpec>;
  /** CIDR; empty is Docker's 10.0.0.0/8. */
  readonly defaultAddrPool: readonly string[];
  /** Prefix length; 0 is 24. */
  readonly subnetSize: number;
  /** 0 is 4789. */
  readonly dataPathPort: number;
  /** This manager goes on alone, with all that it knows. */
  readonly forceNewCluster: boolean;
}

export interface SwarmJoinRequest extends NodeAddresses {
  /** `address[:port]` of managers. */
  readonly remoteAddresses: readonly string[];
  readonly joinToken: string;
}

/** What `docker info` says of a node's part in a swarm. */
export interface SwarmInfo {
  readonly state: SwarmState;
  /** Empty when it is in none. */
  readonly nodeId: string;
  readonly nodeAddress: string;
  /** It is a manager that can be asked. */
  readonly controlAvailable: boolean;
  readonly error: string;
  readonly managers: readonly { readonly nodeId: string; readonly address: string }[];
}

export interface TaskLogRequest {
  /** A service's ID or a task's, as the API found it. */
  readonly target: { readonly serviceId: string } | { readonly taskId: string };
  readonly follow: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly sinceNs: bigint | undefined;
  readonly untilNs: bigint | undefined;
  /** Lines of each task. */
  readonly tail: number | 'all';
  readonly signal: AbortSignal;
}

/** A line that a task wrote, and where. */
export interface TaskLogRecord {
  readonly stream: 'stdout' | 'stderr';
  readonly timeNs: bigint;
  readonly data: Buffer;
  readonly nodeId: string;
  readonly serviceId: string;
  readonly taskId: string;
}

/** A node's part in a swarm, whatever it is now. */
export interface SwarmMembership {
  readonly state: SwarmState;
  /** Empty when it is in none. */
  readonly nodeId: string;
  /** Without a port; empty when it is in none. */
  readonly nodeAddress: string;
  info(): SwarmInfo;
  /** `unavailable`, in Docker's words, where this is no manager of an unlocked swarm. */
  control(): ClusterControl;
  /** What an operator asks beyond Docker's API. `unavailable` where the node is in no swarm. */
  operator(): ClusterOperator;
  /**
   * Makes this node, which is in no swarm, the one manager of a backup's. `forbidden` for a key that does not fit, `unavailable` when it is
   * in a swarm already.
   */
  restore(request: RestoreRequest): Promise<RestoredCluster>;
  /** Gives the node's ID. `unavailable` when it is in a swarm already. */
  init(request: SwarmInitRequest): Promise<string>;
  /** Resolves when it is in. `unavailable` when it is in a swarm already, `invalid` for a token that is none. */
  join(request: SwarmJoinRequest): Promise<void>;
  /** `unavailable` when it is in none, or when it is a manager and not forced. */
  leave(o: { force: boolean }): Promise<void>;
  /** `invalid` for a key that does not fit. */
  unlock(key: string): Promise<void>;
  /** Empty where managers are not locked. */
  unlockKey(): Promise<string>;
  /** A network that containers of this node may be put on, which a manager knows; undefined where none says so. */
  attachableNetwork(reference: string): Promise<ClusterNetworkRecord | undefined>;
  /** Lines of every task that is meant, wherever it runs, those of each in order. `not-found` for what is not there. */
  logs(request: TaskLogRequest): AsyncIterable<TaskLogRecord>;
  /** Calls back with what happens in the cluster while this is a manager, until the result is disposed of. */
  subscribe(listener: (event: ClusterEvent) => void): Disposable;
}
