import type { Write } from '#cluster/state/tables.ts';
import { parseSubnet } from '#engine/networks/ipv4.ts';
import { invalid } from '#model/errors.ts';
import type { SwarmRecord, SwarmSpec } from '#model/swarm.ts';
import { checkedExternals } from './external-authorities.ts';
import { newNetwork } from './new-network.ts';

const SECOND_NS = 1_000_000_000;
const HOUR_NS = 3600 * SECOND_NS;

/** Docker's settings of a new swarm. */
export const DEFAULT_SWARM_SPEC: SwarmSpec = Object.freeze({
  Name: 'default',
  Labels: {},
  Orchestration: { TaskHistoryRetentionLimit: 5 },
  Raft: {
    SnapshotInterval: 10_000,
    KeepOldSnapshots: 0,
    LogEntriesForSlowFollowers: 500,
    ElectionTick: 10,
    HeartbeatTick: 1,
  },
  Dispatcher: { HeartbeatPeriod: 5 * SECOND_NS },
  CAConfig: { NodeCertExpiry: 90 * 24 * HOUR_NS },
  TaskDefaults: {},
  EncryptionConfig: { AutoLockManagers: false },
});

/**
 * What is not given stays as it is, group by group and field by field; a client that sends `{}` changes nothing. As with Docker, 0 is
 * "not given" where it would mean nothing.
 */
export function completeSwarmSpec(
  spec: Partial<SwarmSpec>,
  before: SwarmSpec = DEFAULT_SWARM_SPEC,
): SwarmSpec {
  return {
    ...before,
    ...spec,
    Name: spec.Name === undefined || spec.Name === '' ? before.Name : spec.Name,
    Orchestration: { ...before.Orchestration, ...spec.Orchestration },
    Raft: {
      ...before.Raft,
      ...without(
        spec.Raft,
        'SnapshotInterval',
        'LogEntriesForSlowFollowers',
        'ElectionTick',
        'HeartbeatTick',
      ),
    },
    Dispatcher: { ...before.Dispatcher, ...without(spec.Dispatcher, 'HeartbeatPeriod') },
    CAConfig: { ...before.CAConfig, ...without(spec.CAConfig, 'NodeCertExpiry') },
    EncryptionConfig: { ...before.EncryptionConfig, ...spec.EncryptionConfig },
  };
}

/** The fields given, less those of `keys` that are 0. */
function without<T extends object>(group: T | undefined, ...keys: (keyof T & string)[]): Partial<T> {
  const given: Partial<T> = { ...group };
  for (const key of keys) if (given[key] === 0) delete given[key];
  return given;
}

export function checkSwarmSpec(spec: SwarmSpec): void {
  if (spec.Name !== 'default') throw invalid('invalid swarm name: a swarm is called "default"');
  if ((spec.Dispatcher?.HeartbeatPeriod ?? 0) < 0)
    throw invalid('heartbeat time period cannot be a negative duration');
  if ((spec.Orchestration?.TaskHistoryRetentionLimit ?? 0) < 0)
    throw invalid('the task history retention limit cannot be negative');
  const expiry = spec.CAConfig?.NodeCertExpiry ?? HOUR_NS;
  if (expiry !== 0 && expiry < HOUR_NS) throw invalid('minimum certificate expiry time is 1h0m0s');
}

export interface FirstSwarm {
  readonly id: string;
  readonly ingressId: string;
  /** RFC 3339. */
  readonly now: string;
  readonly spec: Partial<SwarmSpec>;
  /** CIDR. */
  readonly defaultAddrPool: readonly string[];
  /** Prefix length; 0 is 24. */
  readonly subnetSize: number;
  /** 0 is 4789. */
  readonly dataPathPort: number;
  readonly rootCertificate: string;
  /** Empty where external CAs sign. */
  readonly sealedRootKey: string;
  /** Used where managers are to be locked. */
  readonly sealedUnlockKey: string;
  readonly joinTokens: { readonly Worker: string; readonly Manager: string };
}

function withExternals(spec: SwarmSpec, rootCertificate: string): SwarmSpec {
  const { ExternalCAs = [], ...CAConfig } = spec.CAConfig ?? {};
  if (ExternalCAs.length === 0) return spec;
  return { ...spec, CAConfig: { ...CAConfig, ExternalCAs: checkedExternals(ExternalCAs, rootCertificate) } };
}

const DEFAULT_POOL = '10.0.0.0/8';
const VXLAN_PORT = 4789;

/** What `docker swarm init` writes: the cluster, and the network that its routing mesh goes over. */
export function firstSwarm(o: FirstSwarm): Write[] {
  const spec = withExternals(completeSwarmSpec(o.spec), o.rootCertificate);
  checkSwarmSpec(spec);
  const SubnetSize = o.subnetSize === 0 ? 24 : o.subnetSize;
  const pools = o.defaultAddrPool.length === 0 ? [DEFAULT_POOL] : [...o.defaultAddrPool];
  for (const pool of pools) {
    if (parseSubnet(pool).prefix > SubnetSize || SubnetSize > 29)
      throw invalid(`invalid CIDR: the subnet size ${SubnetSize} does not fit into the address pool ${pool}`);
  }
  const DataPathPort = o.dataPathPort === 0 ? VXLAN_PORT : o.dataPathPort;
  if (DataPathPort < 1024 || DataPathPort > 49_151)
    throw invalid(`Datapath port number is not in valid range (1024-49151) : ${DataPathPort}`);
  const put: SwarmRecord = {
    ID: o.id,
    CreatedAt: o.now,
    UpdatedAt: o.now,
    Spec: spec,
    rootCertificate: o.rootCertificate,
    sealedRootKey: o.sealedRootKey,
    ...(spec.EncryptionConfig?.AutoLockManagers === true ? { sealedUnlockKey: o.sealedUnlockKey } : {}),
    joinTokens: { ...o.joinTokens },
    DefaultAddrPool: pools,
    SubnetSize,
    DataPathPort,
  };
  const ingress = newNetwork(
    { Name: 'ingress', Ingress: true },
    { id: o.ingressId, now: o.now, swarm: put, networks: [] },
  );
  return [
    { table: 'swarm', put },
    { table: 'network', put: ingress },
  ];
}
