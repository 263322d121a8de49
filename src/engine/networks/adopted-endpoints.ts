import type { ContainerRecord, EndpointSettings } from '#model/container.ts';
import type { NetworkRecord } from '#model/network.ts';
import { GATEWAY_BRIDGE, gatewayEndpointOf } from './gateway-bridge.ts';
import { hostNamePrefix } from './live-endpoints.ts';

/** Where a container is that ran on while no daemon did: what its record says, and what the kernel has of the gateway bridge. */
export function adoptEndpoints(
  container: ContainerRecord,
  o: {
    lookUp: (reference: string) => NetworkRecord | undefined;
    namespacePath: string;
    /** Names of the host's interfaces. */
    links: readonly string[];
  },
): {
  endpoints: { networkId: string; endpoint: EndpointSettings; hostName: string }[];
  /** Its address on the gateway bridge. */
  wayOut: string | undefined;
} {
  const found = Object.entries(container.networks).map(
    ([name, endpoint]) => [o.lookUp(name), endpoint] as const,
  );
  const isOnOverlay = found.some(([network]) => network?.Driver === 'overlay');
  const bridge = isOnOverlay ? o.lookUp(GATEWAY_BRIDGE) : undefined;
  const wayOut = bridge && gatewayEndpointOf(bridge, o.namespacePath);
  const all = wayOut === undefined ? found : [...found, [bridge, wayOut] as const];
  const endpoints = all.flatMap(([network, endpoint]) => {
    if (network === undefined || network.bridgeName === '' || endpoint.IPAddress === '') return [];
    const prefix = hostNamePrefix(network.Id, container.id);
    const hostName = o.links.find((link) => link.startsWith(prefix)) ?? `${prefix}0`;
    return [{ networkId: network.Id, endpoint, hostName }];
  });
  return { endpoints, wayOut: wayOut?.IPAddress };
}
