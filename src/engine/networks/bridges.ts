import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { addAddress, attachToNamespace, createBridge, deleteLink, setLinkUp } from '#linux/links.ts';
import { hasCode } from '#linux/system-call-error.ts';
import type { ContainerRecord, EndpointSettings } from '#model/container.ts';
import { internal, invalid } from '#model/errors.ts';
import type { NetworkRecord } from '#model/network.ts';
import { emptyEndpoint } from './endpoint-request.ts';
import { chooseAddress } from './ipam.ts';
import { parseSubnet } from './ipv4.ts';
import { dnsNames, hostNamePrefix } from './live-endpoints.ts';
import { macOf } from './mac-address.ts';
import { mtuOf } from './network-options.ts';

/** Makes a network's bridge where it is missing, up and with its address, which it gives. */
export function raiseBridge(network: NetworkRecord): string {
  const mtu = mtuOf(network);
  const [pool] = network.IPAM.Config;
  if (pool?.Gateway === undefined) throw internal(`network ${network.Name} has no gateway`);
  try {
    createBridge({
      name: network.bridgeName,
      mac: macOf(pool.Gateway),
      ...(mtu === undefined ? {} : { mtu }),
    });
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
  addAddress({ link: network.bridgeName, address: `${pool.Gateway}/${parseSubnet(pool.Subnet).prefix}` });
  setLinkUp(network.bridgeName);
  routeLoopback(network.bridgeName);
  return pool.Gateway;
}

/** Lets what goes to 127.0.0.1 be translated to a container, on this bridge only. */
export function routeLoopback(bridge: string): void {
  enableSetting(`ipv4/conf/${bridge}/route_localnet`);
}

/** Switches a setting of /proc/sys/net on; one that the kernel does not have is passed over. */
export function enableSetting(name: string): void {
  const file = `/proc/sys/net/${name}`;
  if (existsSync(file) && readFileSync(file, 'utf8').trim() !== '1') writeFileSync(file, '1');
}

/** Gives a container an interface on a network's bridge, and an address that nobody else has there. */
export function attachToBridge(o: {
  container: ContainerRecord;
  network: NetworkRecord;
  asked: EndpointSettings;
  /** The cluster's, for a container that is no task. */
  given: string | undefined;
  used: ReadonlySet<string>;
  namespacePath: string;
  index: number;
  isGateway: boolean;
}): { endpoint: EndpointSettings; hostName: string } {
  const { container, network, asked } = o;
  const isOverlay = network.Driver === 'overlay';
  const [pool] = network.IPAM.Config;
  if (pool === undefined) throw internal(`network ${network.Name} has no addresses`);
  const wanted = o.given ?? asked.IPAMConfig?.IPv4Address ?? '';
  if (isOverlay && wanted === '')
    throw invalid(`network ${network.Name} is the cluster's, which puts tasks on it with their service`, {
      hint: 'docker service update --network-add',
    });
  const address = chooseAddress(pool, wanted, o.used);
  const { prefix } = parseSubnet(pool.Subnet);
  // Where an overlay network's frames go is computed from the address.
  const mac = asked.MacAddress === '' || isOverlay ? macOf(address) : asked.MacAddress;
  const hostName = `${hostNamePrefix(network.Id, container.id)}${o.index.toString(36)}`;
  const mtu = mtuOf(network);
  const gateway = pool.Gateway;
  attachOnce({
    namespacePath: o.namespacePath,
    bridge: network.bridgeName,
    hostName,
    interfaceName: `eth${o.index}`,
    mac,
    ...(mtu === undefined ? {} : { mtu }),
    addresses: [`${address}/${prefix}`],
    ...(o.isGateway && gateway !== undefined ? { gateway } : {}),
  });
  const endpoint: EndpointSettings = {
    ...emptyEndpoint(),
    ...asked,
    NetworkID: network.Id,
    EndpointID: randomBytes(32).toString('hex'),
    Gateway: network.Internal || isOverlay ? '' : (gateway ?? ''),
    IPAddress: address,
    IPPrefixLen: prefix,
    MacAddress: mac,
  };
  endpoint.DNSNames = network.Name === 'bridge' ? null : dnsNames(container, endpoint);
  return { endpoint, hostName };
}

/**
 * The kernel takes the interfaces of a namespace down in its own time, so the last run's may still be there when a
 * container is started again at once.
 */
function attachOnce(o: Parameters<typeof attachToNamespace>[0]): void {
  try {
    attachToNamespace(o);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
    deleteLink(o.hostName);
    attachToNamespace(o);
  }
}
