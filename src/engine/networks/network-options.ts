import { type DroverError, forbidden, invalid, notFound, notImplemented } from '#model/errors.ts';
import type { IpamPool, NetworkRecord } from '#model/network.ts';
import { GATEWAY_BRIDGE } from './gateway-bridge.ts';
import type { BridgeRules } from './ruleset.ts';

export interface NetworkCreateRequest {
  Name: string;
  Driver?: string;
  Internal?: boolean;
  Attachable?: boolean;
  EnableIPv4?: boolean;
  EnableIPv6?: boolean;
  IPAM?: { Driver?: string; Options?: Record<string, string>; Config?: Partial<IpamPool>[] };
  Options?: Record<string, string>;
  Labels?: Record<string, string>;
}

const BUILT_IN = ['bridge', 'host', 'none'];
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;
const BRIDGE_NAME = 'com.docker.network.bridge.name';
const MTU = 'com.docker.network.driver.mtu';
const ICC = 'com.docker.network.bridge.enable_icc';
const MASQUERADE = 'com.docker.network.bridge.enable_ip_masquerade';
const HOST_BINDING = 'com.docker.network.bridge.host_binding_ipv4';
const DEFAULT_BRIDGE = 'com.docker.network.bridge.default_bridge';
/** IFNAMSIZ without its NUL. */
const INTERFACE_NAME_LENGTH = 15;

/** A bridge where nobody talks to another. */
export function isolatedBridgeRequest(name: string): NetworkCreateRequest {
  return { Name: name, Options: { [ICC]: 'false' } };
}

/** The networks that are always there. */
export function isBuiltIn(name: string): boolean {
  return BUILT_IN.includes(name);
}

/** The record of a bridge network with these addresses. */
export function bridgeRecord(
  o: NetworkCreateRequest,
  { Id, pool }: { Id: string; pool: IpamPool },
): NetworkRecord {
  return {
    Id,
    Name: o.Name,
    Created: new Date().toISOString(),
    Driver: 'bridge',
    Internal: o.Internal ?? false,
    Attachable: o.Attachable ?? false,
    EnableIPv4: true,
    EnableIPv6: false,
    IPAM: { Driver: 'default', Options: o.IPAM?.Options ?? {}, Config: [pool] },
    Options: o.Options ?? {},
    Labels: o.Labels ?? {},
    bridgeName: bridgeNameOf(o, Id),
  };
}

/** What is said of a network that this node cannot take part in. */
export function encryptedNetwork(name: string, problem: string): DroverError {
  return notImplemented(`network ${name} is encrypted, which this node cannot do: ${problem}`, {
    hint: 'Run its services on nodes that can, or make the network without --opt encrypted and join the nodes by an encrypted network of the machines (WireGuard) as their data path.',
  });
}

/** True for networks that somebody made by hand on this host. */
export function isPrunable({ Name, Driver }: NetworkRecord): boolean {
  return !isBuiltIn(Name) && Driver !== 'overlay' && Name !== GATEWAY_BRIDGE;
}

/** Refuses what cannot be made, by name. */
export function checkRequest(o: NetworkCreateRequest): void {
  if (!NAME.test(o.Name))
    throw invalid(
      `invalid network name ${JSON.stringify(o.Name)}: only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed, up to 255 characters`,
    );
  if (isBuiltIn(o.Name) || o.Name === 'default')
    throw forbidden(`operation is not permitted on predefined ${o.Name} network`);
  const driver = o.Driver === undefined || o.Driver === '' ? 'bridge' : o.Driver;
  if (driver === 'host' || driver === 'null')
    throw forbidden(`only one instance of "${driver}" network is allowed`);
  if (['overlay', 'macvlan', 'ipvlan'].includes(driver))
    throw notImplemented(`${driver} networks are not there yet: use the bridge driver`);
  if (driver !== 'bridge') throw notFound(`plugin ${JSON.stringify(driver)} not found`);
  if (o.EnableIPv6 === true) throw notImplemented('IPv6 networks are not there yet: leave out --ipv6');
  if (o.EnableIPv4 === false) throw notImplemented('networks without IPv4 are not there yet');
  const ipam = o.IPAM?.Driver ?? 'default';
  if (ipam !== '' && ipam !== 'default')
    throw invalid(`invalid ipam driver ${JSON.stringify(ipam)}: only default is there`);
  if ((o.IPAM?.Config ?? []).length > 1) throw invalid('bridge driver supports one subnet a network');
}

/** What the nftables table has to know of a bridge. */
export function rulesOf(network: NetworkRecord): BridgeRules {
  return {
    bridge: network.bridgeName,
    subnet: network.IPAM.Config[0]?.Subnet ?? '',
    internal: network.Internal,
    masquerade: network.Options[MASQUERADE] !== 'false' && network.Driver === 'bridge',
    icc: network.Options[ICC] !== 'false',
  };
}

/** The interface of a new network's bridge: the one asked for, or one after its ID. */
export function bridgeNameOf(o: NetworkCreateRequest, id: string): string {
  const name = o.Options?.[BRIDGE_NAME] ?? `br-${id.slice(0, 12)}`;
  if (name.length > INTERFACE_NAME_LENGTH)
    throw invalid(`invalid bridge name ${JSON.stringify(name)}: longer than 15 characters`);
  return name;
}

/** The options of an overlay network's bridge. */
export function overlayOptions(mtu: number): Record<string, string> {
  return { [MTU]: String(mtu) };
}

/** Undefined is the kernel's own. */
export function mtuOf({ Options }: NetworkRecord): number | undefined {
  const mtu = Number(Options[MTU] ?? 0);
  return mtu > 0 ? mtu : undefined;
}

/** The host's address that ports are published on where a container names none. */
export function publishingAddressOf({ Options }: NetworkRecord): string {
  return Options[HOST_BINDING] ?? '0.0.0.0';
}

/** The options of the default bridge, as Docker shows them. */
export function defaultBridgeOptions(bridge: string): Record<string, string> {
  return {
    [DEFAULT_BRIDGE]: 'true',
    [BRIDGE_NAME]: bridge,
    [ICC]: 'true',
    [MASQUERADE]: 'true',
    [HOST_BINDING]: '0.0.0.0',
    [MTU]: '1500',
  };
}
