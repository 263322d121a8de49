import { backoffMs } from '#control/backoff.ts';
import { type Clock, systemClock } from '#control/clock.ts';
import { pause } from '#control/pause.ts';
import { conflict, kindOf } from '#model/errors.ts';
import type { EtcdMemberOptions } from './etcd-arguments.ts';
import type { EtcdClient } from './etcd-client.ts';
import { addLearner, type EtcdMemberInfo, listMembers, promoteMember, removeMember } from './etcd-cluster.ts';
import { EtcdMember, type EtcdSupervision, hasData } from './etcd-member.ts';

const FIRST_PAUSE_MS = 200;
/** A cluster takes nobody for the first five seconds after a member was started, and then at once. */
const MAX_PAUSE_MS = 500;

export interface EtcdJoin extends EtcdSupervision {
  /** Reaches members that are in. */
  readonly through: EtcdClient;
  /** Gives up. What was done up to there is gone on with when the joining is repeated. */
  readonly signal: AbortSignal;
}

/**
 * A further member of a cluster: taken in without a vote, started, and promoted when it has the data. Waits while the cluster cannot take
 * it. Repeated after having been cut off anywhere it goes on; a member that is in already is only started. `conflict` for one that
 * was removed and still has its data.
 */
export async function joinEtcd(o: EtcdMemberOptions, how: EtcdJoin): Promise<EtcdMember> {
  const retried = <T>(work: () => Promise<T>): Promise<T> =>
    untilTaken(work, how.clock ?? systemClock, how.signal);
  const isStarted = hasData(o);
  const own = isStarted
    ? ownEntry(o, await retried(() => listMembers(how.through)))
    : await retried(() => addLearner(how.through, o.peerUrl));
  const members = await retried(() => listMembers(how.through));
  const birth = { state: 'existing', cluster: initialCluster(o, members), token: '' } as const;
  const member = await EtcdMember.open(o, { ...how, birth });
  try {
    await retried(() => promoteMember(how.through, own.id));
    await member.ready(how.signal);
    return member;
  } catch (error) {
    await member[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Takes the member with a peer URL out of its cluster; one that is not in is no error. Waits while the cluster refuses, which it does for the
 * first seconds after a change too, until `signal` aborts. Its process and its data are the caller's to remove.
 */
export async function leaveEtcd(
  peerUrl: string,
  how: { readonly through: EtcdClient; readonly signal: AbortSignal; readonly clock?: Clock },
): Promise<void> {
  const work = async (): Promise<void> => {
    const members = await listMembers(how.through);
    const own = members.find(({ peerUrls }) => peerUrls.includes(peerUrl));
    if (own !== undefined) await removeMember(how.through, own.id);
  };
  await untilTaken(work, how.clock ?? systemClock, how.signal);
}

function ownEntry(o: EtcdMemberOptions, members: readonly EtcdMemberInfo[]): EtcdMemberInfo {
  const own = members.find(({ peerUrls }) => peerUrls.includes(o.peerUrl));
  if (own !== undefined) return own;
  throw conflict(`${o.peerUrl} is no member of the etcd cluster any more`, {
    hint: `Remove ${o.directory} to let it join as a new one.`,
  });
}

/** What etcd wants to hear of a cluster that it joins: everyone by name and address; who has not started yet has no name. */
function initialCluster(o: EtcdMemberOptions, members: readonly EtcdMemberInfo[]): string {
  return members
    .flatMap(({ id, name, peerUrls }) =>
      peerUrls.map((url) => `${url === o.peerUrl ? o.name : name || `unstarted-${id}`}=${url}`),
    )
    .join(',');
}

/** A cluster that has another learner, or members that are down, takes nobody: that passes. */
async function untilTaken<T>(work: () => Promise<T>, clock: Clock, signal: AbortSignal): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      const passes = kindOf(error) === 'conflict' || kindOf(error) === 'unavailable';
      if (!passes || signal.aborted) throw error;
      const ms = backoffMs({ attempt, firstMs: FIRST_PAUSE_MS, maxMs: MAX_PAUSE_MS });
      if (!(await pause(clock, ms, signal))) throw error;
    }
  }
}
