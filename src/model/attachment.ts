import type { ClusterObject } from './cluster-object.ts';

/**
 * A plain container's place on a network of the cluster, there while the container runs or is about to be restarted by its policy. Made
 * and taken away by the container's node, through a manager; the address is the allocator's.
 */
export interface AttachmentRecord extends ClusterObject {
  nodeId: string;
  networkId: string;
  containerId: string;
  /** What the container is found by, its name first. */
  names: string[];
  /** The address that was asked for, without a prefix length. */
  requested?: string;
  /** CIDR; empty until the allocator has given one. */
  address: string;
  /** Why it has none. */
  refusal?: string;
}
