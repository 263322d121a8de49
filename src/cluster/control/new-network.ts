import { completePool } from '#engine/networks/ipam.ts';
import { parseSubnet } from '#engine/networks/ipv4.ts';
import { type ClusterNetworkRecord, NODE_NETWORKS } from '#model/cluster-network.ts';
import { conflict, forbidden, invalid, notImplemented, unavailable } from '#model/errors.ts';
import type { IpamPool } from '#model/network.ts';
import type { SwarmRecord } from '#model/swarm.ts';

export interface ClusterNetworkRequest {
  readonly Name: string;
  readonly Labels?: Record<string, string>;
  readonly Options?: Record<string, string>;
  readonly Internal?: boolean;
  readonly Attachable?: boolean;
  readonly Ingress?: boolean;
  readonly EnableIPv4?: boolean;
  readonly EnableIPv6?: boolean;
  readonly IPAM?: { Driver?: string; Options?: Record<string, string>; Config?: Partial<IpamPool>[] };
}

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;
const FIRST_VNI = 4096;
const LAST_VNI = 16_777_215;
export const VNI_OPTION = 'com.docker.network.driver.overlay.vxlanid_list';
const ENCRYPTED_OPTION = 'encrypted';
const DEFAULT_POOL = '10.0.0.0/8';
const DEFAULT_SUBNET_SIZE = 24;

/** The record of a network, with a subnet and a VNI that no other one of `networks` has. */
export function newNetwork(
  request: ClusterNetworkRequest,
  o: {
    id: string;
    now: string;
    /** Whose address pools are taken from; Docker's where there is none yet. */
    swarm: Pick<SwarmRecord, 'DefaultAddrPool' | 'SubnetSize'> | undefined;
    networks: readonly ClusterNetworkRecord[];
  },
): ClusterNetworkRecord {
  check(request);
  const bases = o.swarm?.DefaultAddrPool ?? [];
  const size = o.swarm?.SubnetSize ?? DEFAULT_SUBNET_SIZE;
  const pools = (bases.length === 0 ? [DEFAULT_POOL] : bases).map((base) => ({ base, size }));
  const taken = o.networks.flatMap(({ IPAM }) => IPAM.Config.map(({ Subnet }) => parseSubnet(Subnet)));
  const pool = completePool(request.IPAM?.Config?.[0], pools, { networks: taken, routes: [] });
  const Options = request.Options ?? {};
  return {
    ID: o.id,
    CreatedAt: o.now,
    UpdatedAt: o.now,
    Name: request.Name,
    Driver: 'overlay',
    Labels: request.Labels ?? {},
    Options,
    Internal: request.Internal ?? false,
    Attachable: request.Attachable ?? false,
    Ingress: request.Ingress ?? false,
    EncryptedOption: ENCRYPTED_OPTION in Options && Options[ENCRYPTED_OPTION] !== 'false',
    IPAM: { Driver: 'default', Options: request.IPAM?.Options ?? null, Config: [pool] },
    vni: chooseVni(Options[VNI_OPTION], new Set(o.networks.map(({ vni }) => vni))),
  };
}

function check(request: ClusterNetworkRequest): void {
  if (!NAME.test(request.Name)) {
    throw invalid(
      `invalid network name ${JSON.stringify(request.Name)}: only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed, up to 255 characters`,
    );
  }
  if (NODE_NETWORKS.includes(request.Name) || request.Name === 'default')
    throw forbidden(`operation is not permitted on predefined ${request.Name} network`);
  if (request.EnableIPv6 === true) throw notImplemented('IPv6 networks are not there yet: leave out --ipv6');
  if (request.EnableIPv4 === false) throw notImplemented('networks without IPv4 are not there yet');
  const ipam = request.IPAM?.Driver ?? 'default';
  if (ipam !== '' && ipam !== 'default')
    throw invalid(`invalid ipam driver ${JSON.stringify(ipam)}: only default is there`);
  const asked = request.IPAM?.Config ?? [];
  if (asked.length > 1) throw notImplemented('overlay networks have one subnet here');
  if ((asked[0]?.Subnet ?? '') === '' && (asked[0]?.Gateway ?? asked[0]?.IPRange ?? '') !== '')
    throw invalid('every ip-range or gateway must have a corresponding subnet');
  if (request.Ingress === true && request.Attachable === true)
    throw invalid('ingress network cannot be attachable');
  if (request.Ingress === true && request.Internal === true)
    throw invalid('ingress network cannot be internal network');
}

function chooseVni(asked: string | undefined, taken: ReadonlySet<number>): number {
  if (asked !== undefined) {
    const vni = Number(asked);
    if (!Number.isInteger(vni) || vni < FIRST_VNI || vni > LAST_VNI)
      throw invalid(`invalid ${VNI_OPTION}: ${asked} is not one number from ${FIRST_VNI} to ${LAST_VNI}`);
    if (taken.has(vni)) throw conflict(`VXLAN ID ${vni} is another network's already`);
    return vni;
  }
  for (let vni = FIRST_VNI; vni <= LAST_VNI; vni++) if (!taken.has(vni)) return vni;
  throw unavailable('all VXLAN IDs are taken');
}
