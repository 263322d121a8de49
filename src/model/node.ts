import type { Annotations, ClusterObject } from './cluster-object.ts';
import type { GenericResource } from './task-spec.ts';

export type NodeRole = 'worker' | 'manager';
export type NodeAvailability = 'active' | 'pause' | 'drain';
export type NodeState = 'unknown' | 'down' | 'ready' | 'disconnected';

export interface NodeSpec extends Annotations {
  Role: NodeRole;
  Availability: NodeAvailability;
}

/** What a node says of its encrypting networks (IPsec). */
export interface NodeEncryption {
  /** Why it cannot; left out where it can. */
  problem?: string;
  /** What it may send with, no secrets: each is part of the keys that it sends by. */
  salts: string[];
}

/** What a node says of itself. */
export interface NodeDescription {
  Hostname: string;
  Platform: { Architecture: string; OS: string };
  Resources: { NanoCPUs: number; MemoryBytes: number; GenericResources?: GenericResource[] };
  Engine: {
    EngineVersion: string;
    Labels: Record<string, string>;
    Plugins: { Type: string; Name: string }[];
  };
  TLSInfo?: { TrustRoot: string; CertIssuerSubject: string; CertIssuerPublicKey: string };
  /** Image IDs and names that are on the node, so that the scheduler can prefer it; at most 1,000. */
  images?: string[];
  /** Names of the volumes there. */
  volumes?: string[];
  encryption?: NodeEncryption;
}

export interface NodeStatus {
  State: NodeState;
  Message?: string;
  /** RFC 3339: since when it is in this state. */
  since: string;
  /** The address that other nodes reach it at. */
  Addr: string;
}

export interface NodeRecord extends ClusterObject {
  Spec: NodeSpec;
  Description?: NodeDescription;
  Status: NodeStatus;
  /** There for nodes whose role is manager and that do run one. */
  ManagerStatus?: { Addr: string };
  /** `host:port` where the node answers other nodes. */
  address: string;
  /** By network ID: the node's own addresses (CIDR) on networks where it answers, which the allocator gives. */
  networkAddresses?: Record<string, string>;
}
