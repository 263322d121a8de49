export interface IpamPool {
  /** CIDR. */
  Subnet: string;
  Gateway?: string;
  IPRange?: string;
  AuxiliaryAddresses?: Record<string, string>;
}

/** A network as it is kept. Docker's spelling, as in `ContainerConfig`. */
export interface NetworkRecord {
  Id: string;
  Name: string;
  Created: string;
  /** `overlay` is the cluster's: what is kept here is this node's part of it. */
  Driver: 'bridge' | 'host' | 'null' | 'overlay';
  Internal: boolean;
  /** Set for the routing mesh's own, on which a container has an address but no name. */
  Ingress?: boolean;
  Attachable: boolean;
  EnableIPv4: boolean;
  EnableIPv6: boolean;
  IPAM: { Driver: string; Options: Record<string, string> | null; Config: IpamPool[] };
  Options: Record<string, string>;
  Labels: Record<string, string>;
  /** The bridge's interface name; empty for host and null. */
  bridgeName: string;
}
