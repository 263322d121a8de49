import type {
  NetworkPlan,
  PlannedEndpoint,
  PlannedNetwork,
  PlannedPort,
  PlannedService,
} from '#model/network-plan.ts';

/** A task of a test, on the node of that number. */
export function endpoint(
  o: Partial<PlannedEndpoint> & { node: number; address: string; service?: string; name?: string },
): PlannedEndpoint {
  const { node, address, service = 'web', name = `${service}.${address.split('.')[3]}`, ...rest } = o;
  return {
    taskId: `task-${address}`,
    nodeId: `n${node}`,
    serviceId: `id-${service}`,
    address,
    aliases: [name],
    serving: true,
    ...rest,
  };
}

export function service(name: string, virtualIp: string, ...aliases: string[]): PlannedService {
  return { serviceId: `id-${name}`, name, virtualIp, aliases };
}

/** The network `net`, 10.77.0.0/24, with the nodes of those numbers. */
export function network(
  o: Partial<Omit<PlannedNetwork, 'peers'>> & { nodes?: readonly number[] } = {},
): Omit<PlannedNetwork, 'nodeAddress'> & { nodes: readonly number[]; nodeAddress: string } {
  const { nodes = [1, 2], ...rest } = o;
  return {
    id: 'netnetnetnetnetnetnetnet1',
    name: 'net',
    vni: 4097,
    subnet: '10.77.0.0/24',
    internal: false,
    encrypted: false,
    mtu: 0,
    nodeAddress: '',
    peers: [],
    endpoints: [],
    services: [],
    nodes,
    ...rest,
  };
}

/** The plan of the node of that number. A `nodeAddress` such as `10.78.0.20N/24` has the number of the node for N. */
export function planOf(
  node: number,
  o: {
    networks: readonly ReturnType<typeof network>[];
    ports?: readonly PlannedPort[];
    ingress?: string;
  },
): NetworkPlan {
  const networks = o.networks.map(({ nodes, ...rest }) => ({
    ...rest,
    nodeAddress: rest.nodeAddress.replace('N', String(node)),
    peers: nodes
      .filter((each) => each !== node)
      .map((each) => ({
        nodeId: `n${each}`,
        address: `192.0.2.${each}`,
        nodeAddress: (rest.nodeAddress.split('/')[0] ?? '').replace('N', String(each)),
      })),
  }));
  return {
    nodeId: `n${node}`,
    dataPathAddress: `192.0.2.${node}`,
    dataPathPort: 4789,
    networks,
    ports: o.ports ?? [],
    ingressNetworkId: o.ingress,
  };
}
