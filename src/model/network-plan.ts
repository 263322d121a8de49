import type { PortProtocol } from './service.ts';

/** The place of a task, or of an attached container, on a network, wherever it runs. */
export interface PlannedEndpoint {
  /** Of a container that is no task's: the attachment's ID. */
  readonly taskId: string;
  readonly nodeId: string;
  /** Empty for a container that is no task's. */
  readonly serviceId: string;
  /** Of a container that is no task's. */
  readonly containerId?: string;
  /** Without a prefix length. */
  readonly address: string;
  /** Names besides the service's that lead to this task; its container's name first. */
  readonly aliases: readonly string[];
  /** False while it starts, is unhealthy or is about to be ended: it is in no balancing map and no name's answer. */
  readonly serving: boolean;
}

/** Another node that takes part in a network. */
export interface PlannedPeer {
  readonly nodeId: string;
  /** Where its VXLAN packets go. */
  readonly address: string;
  /** Its own address on the network, without a prefix length; empty where it has none. */
  readonly nodeAddress: string;
}

/** A service on a network. */
export interface PlannedService {
  readonly serviceId: string;
  readonly name: string;
  /** Empty for DNS round robin. */
  readonly virtualIp: string;
  readonly aliases: readonly string[];
}

/** All that a node has to know of one network: it has a task or an attached container there, or serves the routing mesh. */
export interface PlannedNetwork {
  readonly id: string;
  readonly name: string;
  readonly vni: number;
  /** CIDR. */
  readonly subnet: string;
  readonly internal: boolean;
  readonly encrypted: boolean;
  /** Containers that are no tasks may be on it. */
  readonly attachable?: boolean;
  /** 0: what the path allows less VXLAN's 50 bytes, and ESP's 34 where it is encrypted. */
  readonly mtu: number;
  /**
   * The node's own address on the network (CIDR); empty where it needs none. The ingress network needs it, for the routing mesh,
   * and an internal network, whose containers are answered names there.
   */
  readonly nodeAddress: string;
  readonly peers: readonly PlannedPeer[];
  readonly endpoints: readonly PlannedEndpoint[];
  readonly services: readonly PlannedService[];
}

/** A port of every node that leads to a service's tasks. */
export interface PlannedPort {
  readonly protocol: PortProtocol;
  readonly publishedPort: number;
  readonly targetPort: number;
  readonly serviceId: string;
  /** Led to tasks of this node alone, whose client's address they see; refused where there is none. */
  readonly localOnly?: boolean;
}

/** A key of the cluster that keys of associations are made of. */
export interface PlannedKey {
  readonly id: string;
  /** 32 bytes, base64. */
  readonly key: string;
}

/** What a node needs to encrypt: only one that has a task on an encrypted network is given it. */
export interface PlannedEncryption {
  /** All of them are received by, the oldest first. */
  readonly keys: readonly PlannedKey[];
  /** ID of the one that is sent by. */
  readonly primary: string;
  /** What the peers know of this node: it makes new associations with no other salt. */
  readonly salts: readonly string[];
  /** Nodes that this one shares an encrypted network with. */
  readonly peers: readonly PlannedSecurePeer[];
}

export interface PlannedSecurePeer {
  readonly nodeId: string;
  readonly address: string;
  /** What it may send with; empty for one that cannot encrypt. */
  readonly salts: readonly string[];
}

/** What a node's kernel and name server are to be: complete, so that it can be compared with what is. */
export interface NetworkPlan {
  /** The node that the plan is for. */
  readonly nodeId: string;
  /** IPv4: where the other nodes send VXLAN packets to, and this one from. */
  readonly dataPathAddress: string;
  /** UDP: 4789 where the cluster says nothing. */
  readonly dataPathPort: number;
  readonly networks: readonly PlannedNetwork[];
  readonly ports: readonly PlannedPort[];
  /** The network that the routing mesh goes over; its endpoints are the published services' tasks. */
  readonly ingressNetworkId: string | undefined;
  /** Left out where no network is encrypted, and of a plan that is kept: keys are not on disk. */
  readonly encryption?: PlannedEncryption;
}
