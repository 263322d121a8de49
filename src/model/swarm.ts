import type { Annotations, ClusterObject } from './cluster-object.ts';

/** Settings of a cluster as Docker's API names them. Durations are nanoseconds. */
export interface SwarmSpec extends Annotations {
  Name: string;
  Orchestration?: { TaskHistoryRetentionLimit?: number };
  /** Taken and given back; consensus is etcd's. */
  Raft?: {
    SnapshotInterval?: number;
    KeepOldSnapshots?: number;
    LogEntriesForSlowFollowers?: number;
    ElectionTick?: number;
    HeartbeatTick?: number;
  };
  Dispatcher?: { HeartbeatPeriod?: number };
  CAConfig?: {
    NodeCertExpiry?: number;
    ExternalCAs?: { Protocol?: string; URL?: string; Options?: Record<string, string>; CACert?: string }[];
    SigningCACert?: string;
    SigningCAKey?: string;
    ForceRotate?: number;
  };
  EncryptionConfig?: { AutoLockManagers?: boolean };
  TaskDefaults?: { LogDriver?: { Name?: string; Options?: Record<string, string> } };
}

/** A key that encrypted networks are encrypted with. */
export interface NetworkKey {
  id: string;
  /** 32 bytes, sealed with the managers' key-encrypting key. */
  sealed: string;
  /** RFC 3339. */
  createdAt: string;
}

/** The cluster itself; there is one record, under the ID that it was made with. */
export interface SwarmRecord extends ClusterObject {
  Spec: SwarmSpec;
  /** PEM. The key is sealed with the managers' key. */
  rootCertificate: string;
  sealedRootKey: string;
  /** While managers are locked: what their disks are sealed with, itself sealed with the managers' key. */
  sealedUnlockKey?: string;
  joinTokens: { Worker: string; Manager: string };
  DefaultAddrPool: string[];
  SubnetSize: number;
  DataPathPort: number;
  /** There while a network is encrypted, the oldest first: the last but one is sent by, all are received by. */
  networkKeys?: NetworkKey[];
  /** Set while the CA is being replaced: the old root is trusted until every node has a certificate of the new one. */
  previousRootCertificate?: string;
  /** Set as long: the new root signed by the old one, which nodes send along while others trust the old one alone. PEM. */
  crossSignedRootCertificate?: string;
}
