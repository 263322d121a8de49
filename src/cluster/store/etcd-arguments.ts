import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { EtcdStoreOptions } from './etcd-store.ts';

/** What members that Drover starts take; an {@link EtcdStore} on them is given the same. */
export const ETCD_LIMITS: Required<Pick<EtcdStoreOptions, 'maxOperations' | 'maxRequestBytes'>> = {
  maxOperations: 10_000,
  maxRequestBytes: 32 * 1024 * 1024,
};

/** etcd's own default is 2 GiB; 8 GiB is the most that etcd advises. */
export const QUOTA_BYTES: number = 4 * 1024 ** 3;
/** How long changes are kept for watches: a manager that was away for longer lists again. */
const COMPACTION = '10m';

/** PEM files. The certificates serve and call alike (both key usages), and name the addresses of their member. */
export interface EtcdTlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface EtcdMemberOptions {
  /** Of this member alone: etcd's data, its log and its pid file. */
  readonly directory: string;
  /** Unique in the cluster. */
  readonly name: string;
  /** Where it listens and where others find it: `https://10.0.0.1:2379`, or http without `tls`. */
  readonly clientUrl: string;
  readonly peerUrl: string;
  /** Files are read again when they change, except for the CA's. */
  readonly tls?: EtcdTlsFiles;
  /** `etcd` in the PATH when not given. */
  readonly program?: string;
  /** 4 GiB when not given. */
  readonly quotaBytes?: number;
  /** In milliseconds; 100 and 1,000 when not given, the same for all members. */
  readonly heartbeatMs?: number;
  readonly electionMs?: number;
  /** The log is turned over at this size, once: 8 MiB when not given. */
  readonly logBytes?: number;
}

/** How a member without data begins: as the first one of a new cluster, or in one that is there. */
export interface EtcdBirth {
  readonly state: 'new' | 'existing';
  /** `NAME=PEER_URL` of everyone, comma-separated. */
  readonly cluster: string;
  /** Makes the ID of a new cluster: no other cluster has the same, wherever it was. */
  readonly token: string;
}

/** The birth of a cluster of one. */
export function newCluster(o: EtcdMemberOptions): EtcdBirth {
  return { state: 'new', cluster: `${o.name}=${o.peerUrl}`, token: randomUUID() };
}

export function dataDirectory(o: EtcdMemberOptions): string {
  return join(o.directory, 'data');
}

/** etcd's command line. `birth` is only looked at where there is no data; `forceNew` makes the member the only one of its cluster. */
export function etcdArguments(o: EtcdMemberOptions, birth: EtcdBirth, forceNew: boolean): string[] {
  const { tls } = o;
  return [
    ...['--name', o.name, '--data-dir', dataDirectory(o)],
    ...['--listen-client-urls', o.clientUrl, '--advertise-client-urls', o.clientUrl],
    ...['--listen-peer-urls', o.peerUrl, '--initial-advertise-peer-urls', o.peerUrl],
    ...['--initial-cluster', birth.cluster, '--initial-cluster-state', birth.state],
    ...['--initial-cluster-token', birth.token],
    ...['--max-txn-ops', String(ETCD_LIMITS.maxOperations)],
    ...['--max-request-bytes', String(ETCD_LIMITS.maxRequestBytes)],
    ...['--quota-backend-bytes', String(o.quotaBytes ?? QUOTA_BYTES)],
    ...['--auto-compaction-mode', 'periodic', '--auto-compaction-retention', COMPACTION],
    // a watch that nothing happens on learns how far it is before that is forgotten
    ...['--experimental-watch-progress-notify-interval', '1m'],
    ...['--heartbeat-interval', String(o.heartbeatMs ?? 100)],
    ...['--election-timeout', String(o.electionMs ?? 1000)],
    // a member that comes back does not make the leader step down
    ...['--pre-vote', '--logger', 'zap', '--log-outputs', 'stderr', '--log-level', 'warn'],
    ...(tls === undefined ? [] : tlsArguments('', tls)),
    ...(tls === undefined ? [] : tlsArguments('peer-', tls)),
    ...(forceNew ? ['--force-new-cluster'] : []),
  ];
}

function tlsArguments(kind: '' | 'peer-', tls: EtcdTlsFiles): string[] {
  return [
    ...[`--${kind}cert-file`, tls.cert, `--${kind}key-file`, tls.key],
    ...[`--${kind}trusted-ca-file`, tls.ca, `--${kind}client-cert-auth`],
  ];
}
