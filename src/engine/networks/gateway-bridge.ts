import { existsSync } from 'node:fs';
import { listAddresses } from '#linux/links.ts';
import { inNetworkNamespace } from '#linux/network-namespace.ts';
import type { ContainerRecord, EndpointSettings } from '#model/container.ts';
import type { NetworkRecord } from '#model/network.ts';
import { emptyEndpoint } from './endpoint-request.ts';
import { contains, parseAddress, parseSubnet } from './ipv4.ts';
import { macOf } from './mac-address.ts';

/** Docker's name for the bridge by which containers on overlay networks get out. */
export const GATEWAY_BRIDGE = 'docker_gwbridge';

/** Whether containers on these networks need the gateway bridge to get out. */
export function needsGatewayBridge(networks: readonly NetworkRecord[]): boolean {
  const leadOut = networks.filter(({ Internal }) => !Internal);
  const hasOverlay = leadOut.some(({ Driver }) => Driver === 'overlay');
  return hasOverlay && !leadOut.some(({ Driver }) => Driver === 'bridge');
}

/** Where a container that ran on while no daemon did is on the gateway bridge: the kernel knows. Nowhere after the machine's restart. */
export function gatewayEndpointOf(
  bridge: NetworkRecord,
  namespacePath: string,
): EndpointSettings | undefined {
  const [pool] = bridge.IPAM.Config;
  if (pool === undefined) return undefined;
  if (!existsSync(namespacePath)) return undefined;
  const subnet = parseSubnet(pool.Subnet);
  const found = inNetworkNamespace(namespacePath, listAddresses)
    .map(({ address }) => address.split('/')[0] ?? '')
    .find((address) => !address.includes(':') && contains(subnet, parseAddress(address)));
  if (found === undefined) return undefined;
  return {
    ...emptyEndpoint(),
    NetworkID: bridge.Id,
    IPAddress: found,
    IPPrefixLen: subnet.prefix,
    Gateway: pool.Gateway ?? '',
    MacAddress: macOf(found),
  };
}

/** The network that has the default route and the published ports: the highest priority, then the first that leads out. */
export function gatewayNetworkOf(
  networks: readonly NetworkRecord[],
  container: ContainerRecord,
): NetworkRecord | undefined {
  const priority = (network: NetworkRecord): number => container.networks[network.Name]?.GwPriority ?? 0;
  return networks
    .filter(({ Driver, Internal }) => Driver === 'bridge' && !Internal)
    .toSorted((a, b) => priority(b) - priority(a))[0];
}
