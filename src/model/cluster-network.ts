import type { ClusterObject } from './cluster-object.ts';
import type { IpamPool } from './network.ts';

/**
 * Networks that every node has of its own, and that a task can be on by their names: nothing of them is the cluster's, neither addresses
 * nor names.
 */
export const NODE_NETWORKS: readonly string[] = ['host', 'none', 'bridge'];

/** A network that spans nodes. Docker's spelling of what a client gave. */
export interface ClusterNetworkRecord extends ClusterObject {
  Name: string;
  Driver: 'overlay';
  Labels: Record<string, string>;
  Options: Record<string, string>;
  Internal: boolean;
  Attachable: boolean;
  /** The routing mesh's own. */
  Ingress: boolean;
  EncryptedOption: boolean;
  IPAM: { Driver: string; Options: Record<string, string> | null; Config: IpamPool[] };
  /** VXLAN network identifier: 4096 to 16777215. */
  vni: number;
  /** Set when it is to be removed while tasks of removed services are still on it: it goes with the last of them. */
  removing?: boolean;
}
