import type { Clock } from '#control/clock.ts';
import { pause } from '#control/pause.ts';
import { kindOf, messageOf } from '#model/errors.ts';
import type { EtcdClient } from './etcd-client.ts';
import { type EtcdMemberHealth, memberHealth } from './etcd-cluster.ts';
import { objectIn, objectsIn, textIn } from './json-object.ts';

const LOOK_MS = 60_000;
/** After something was done: where that was no help, doing it again at once is none either. */
const LONG_LOOK_MS = 15 * LOOK_MS;
/** A member copies what it keeps, and serves nothing meanwhile: gigabytes on a slow disk. */
const DEFRAGMENT_LIMIT_MS = 5 * 60_000;
/** Of the quota: a file that is smaller is not worth the pause. */
const LARGE = 0.25;
/** Of the quota: where that much is kept it will be used up again soon. */
const FULL = 0.9;
/** Any key: only the answer's header counts. */
const KEY = 'LQ==';

/**
 * Makes the members' files as small as what they keep, and lets a cluster that refuses writes because its quota is used up take them again:
 * all history is forgotten, every member gives its free pages back, one after the other with the leader last (each serves nothing
 * meanwhile), and the alarm is ended. It comes back when what is kept is too large, or one that did not answer now is still large.
 */
export async function freeSpace(client: EtcdClient): Promise<void> {
  await forgetHistory(client);
  for (const member of leaderLast(await memberHealth(client))) await defragment(client, member);
  await endAlarm(client);
}

/**
 * Keeps the store from using up its quota, until `signal` aborts: etcd forgets history by itself and writes over it, but never makes a file
 * smaller, and stays full when it was once. Only the manager whose own member leads does something, so that one does.
 */
export async function keepSpace(o: {
  readonly client: EtcdClient;
  /** The own member's. */
  readonly name: string;
  readonly quotaBytes: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly report: (message: string, details: object) => void;
}): Promise<void> {
  let waitMs = LOOK_MS;
  while (await pause(o.clock, waitMs, o.signal)) {
    try {
      waitMs = (await keepSpaceOnce(o)) ? LONG_LOOK_MS : LOOK_MS;
    } catch (error) {
      if (!o.signal.aborted)
        o.report('the space of the store was not looked after', { error: messageOf(error) });
    }
  }
}

/** One look of {@link keepSpace}; true where something was done. */
export async function keepSpaceOnce(
  o: Omit<Parameters<typeof keepSpace>[0], 'clock' | 'signal'>,
): Promise<boolean> {
  const { client, quotaBytes, report } = o;
  const members = await memberHealth(client);
  if (!members.some(({ name, isLeader }) => isLeader && name === o.name)) return false;
  if (members.some(isFull)) {
    await freeSpace(client);
    // what is free shows in the files alone: etcd counts it only when it writes again
    const bytes = Math.max(...(await memberHealth(client)).map(({ databaseBytes }) => databaseBytes ?? 0));
    const hint = 'remove services, secrets, configs or releases that are not needed';
    if (bytes > quotaBytes * FULL) report('the store is full', { bytes, quotaBytes, hint });
    else report('the store was full of history: it was freed', { bytes, quotaBytes });
    return true;
  }
  const sparse = leaderLast(members).filter((member) => isSparse(member, quotaBytes));
  for (const member of sparse) {
    await defragment(client, member);
    const { name: nodeId, databaseBytes, usedBytes } = member;
    report('the store gave free space back', { nodeId, databaseBytes, usedBytes });
  }
  return sparse.length > 0;
}

function isFull({ problem }: EtcdMemberHealth): boolean {
  return problem?.includes('NOSPACE') === true;
}

/** Whether a member's file is large, and most of it free. */
export function isSparse(
  {
    problem,
    databaseBytes = 0,
    usedBytes = 0,
  }: Pick<EtcdMemberHealth, 'problem' | 'databaseBytes' | 'usedBytes'>,
  quotaBytes: number,
): boolean {
  return problem === undefined && databaseBytes > quotaBytes * LARGE && usedBytes < databaseBytes / 2;
}

function leaderLast(members: readonly EtcdMemberHealth[]): EtcdMemberHealth[] {
  return members.toSorted((a, b) => Number(a.isLeader) - Number(b.isLeader));
}

async function forgetHistory(client: EtcdClient): Promise<void> {
  const answer = await client.call('kv/range', { key: KEY }, { repeatable: true });
  const revision = textIn(objectIn(answer, 'header'), 'revision');
  try {
    await client.call(
      'kv/compaction',
      { revision, physical: true },
      { repeatable: true, timeoutMs: DEFRAGMENT_LIMIT_MS },
    );
  } catch (error) {
    // it is forgotten already
    if (kindOf(error) !== 'conflict') throw error;
  }
}

async function defragment(client: EtcdClient, member: EtcdMemberHealth): Promise<void> {
  const [endpoint] = member.clientUrls;
  // one that does not answer must not keep the others from being written
  if (endpoint === undefined || member.databaseBytes === undefined) return;
  const how = { repeatable: false, endpoint, timeoutMs: DEFRAGMENT_LIMIT_MS };
  await client.call('maintenance/defragment', {}, how);
}

async function endAlarm(client: EtcdClient): Promise<void> {
  const alarms = await client.call('maintenance/alarm', { action: 'GET' }, { repeatable: true });
  for (const { memberID, alarm } of objectsIn(alarms, 'alarms'))
    await client.call('maintenance/alarm', { action: 'DEACTIVATE', memberID, alarm }, { repeatable: true });
}
