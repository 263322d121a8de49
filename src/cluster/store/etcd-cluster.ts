import { createHash } from 'node:crypto';
import { kindOf, messageOf, unavailable } from '#model/errors.ts';
import type { EtcdClient } from './etcd-client.ts';
import { isJson, type Json, numberIn, objectIn, objectsIn, textIn, textsIn } from './json-object.ts';
import { writePrivately } from './private-file.ts';

export interface EtcdMemberInfo {
  /** A 64-bit number, as text. */
  readonly id: string;
  /** Empty until the member has started for the first time. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  /** Has the data and no vote yet. */
  readonly isLearner: boolean;
}

export interface EtcdMemberHealth extends EtcdMemberInfo {
  readonly isLeader: boolean;
  /** Of its database file, where it answers. */
  readonly databaseBytes: number | undefined;
  /** Why it cannot be relied on now; undefined for a healthy member. */
  readonly problem: string | undefined;
}

export async function listMembers(client: EtcdClient): Promise<EtcdMemberInfo[]> {
  const answer = await client.call('cluster/member/list', {}, { repeatable: true });
  return objectsIn(answer, 'members').map(memberOf);
}

/** All members, each asked itself, at once. A member that does not answer is listed with its problem. */
export async function memberHealth(client: EtcdClient): Promise<EtcdMemberHealth[]> {
  const members = await listMembers(client);
  return await Promise.all(members.map((member) => healthOf(client, member)));
}

/**
 * Takes a member in as a learner: it gets the data first and a vote when it is promoted. One that was taken in before under the same peer
 * URL and has never started is given back. `conflict` or `unavailable` while the cluster cannot take one (another learner is
 * there, members are down).
 */
export async function addLearner(client: EtcdClient, peerUrl: string): Promise<EtcdMemberInfo> {
  const known = (await listMembers(client)).find(({ peerUrls }) => peerUrls.includes(peerUrl));
  if (known?.name === '') return known;
  // the one that had the address started once, and its data are not here any more
  if (known !== undefined) await removeMember(client, known.id);
  const request = { peerURLs: [peerUrl], isLearner: true };
  const answer = await client.call('cluster/member/add', request, { repeatable: false });
  return memberOf(objectIn(answer, 'member'));
}

/** `conflict` while the learner is behind; a member that has its vote already is left as it is. */
export async function promoteMember(client: EtcdClient, id: string): Promise<void> {
  const member = (await listMembers(client)).find((one) => one.id === id);
  if (member !== undefined && !member.isLearner) return;
  await client.call('cluster/member/promote', { ID: id }, { repeatable: false });
}

/** A member that is not there any more is no error. `unavailable` where the rest would not have a quorum. */
export async function removeMember(client: EtcdClient, id: string): Promise<void> {
  try {
    await client.call('cluster/member/remove', { ID: id }, { repeatable: true });
  } catch (error) {
    if (kindOf(error) !== 'not-found') throw error;
  }
}

/**
 * Makes a cluster that refuses writes because its quota is used up take them again: all history is forgotten, every member gives its free
 * pages back, one after the other (each serves nothing meanwhile), and the alarm is ended. It comes back when what is kept is too large.
 */
export async function freeSpace(client: EtcdClient): Promise<void> {
  const { header } = await client.call('kv/range', { key: KEY }, { repeatable: true });
  const revision = isJson(header) ? textIn(header, 'revision') : '';
  await client
    .call('kv/compaction', { revision, physical: true }, { repeatable: true })
    .catch((error: unknown) => {
      // it is forgotten already
      if (kindOf(error) !== 'conflict') throw error;
    });
  for (const { clientUrls } of await listMembers(client)) {
    const [endpoint] = clientUrls;
    if (endpoint !== undefined)
      await client.call('maintenance/defragment', {}, { repeatable: true, endpoint });
  }
  const alarms = await client.call('maintenance/alarm', { action: 'GET' }, { repeatable: true });
  for (const { memberID, alarm } of objectsIn(alarms, 'alarms'))
    await client.call('maintenance/alarm', { action: 'DEACTIVATE', memberID, alarm }, { repeatable: true });
}

/** Any key: only the answer's header counts. */
const KEY = 'LQ==';

/** Ends with the digest of all that is before it. */
const DIGEST_BYTES = 32;

/**
 * Saves one member's whole database, for `etcdctl snapshot restore`: history and revisions included. Written with 0600, whole or not at
 * all; `unavailable` where it breaks off or does not have its own digest.
 */
export async function saveSnapshot(
  client: EtcdClient,
  o: { readonly endpoint?: string; readonly file: string; readonly signal: AbortSignal },
): Promise<void> {
  const { signal } = o;
  const at = o.endpoint === undefined ? {} : { endpoint: o.endpoint };
  const messages = client.stream('maintenance/snapshot', {}, { signal, repeatable: true, ...at });
  await writePrivately(o.file, async (write) => {
    const hash = createHash('sha256');
    let tail = Buffer.alloc(0);
    for await (const message of messages) {
      const whole = Buffer.concat([tail, Buffer.from(textIn(message, 'blob'), 'base64')]);
      const end = Math.max(0, whole.length - DIGEST_BYTES);
      tail = whole.subarray(end);
      hash.update(whole.subarray(0, end));
      await write(whole.subarray(0, end));
    }
    if (signal.aborted || !hash.digest().equals(tail)) throw unavailable('the snapshot of etcd broke off');
    await write(tail);
  });
}

async function healthOf(client: EtcdClient, member: EtcdMemberInfo): Promise<EtcdMemberHealth> {
  const [endpoint] = member.clientUrls;
  const none = { ...member, isLeader: false, databaseBytes: undefined };
  if (endpoint === undefined) return { ...none, problem: 'it has not started yet' };
  let status: Json;
  try {
    status = await client.call('maintenance/status', {}, { repeatable: true, endpoint });
  } catch (error) {
    return { ...none, problem: messageOf(error) };
  }
  const leader = textIn(status, 'leader');
  const known = { ...member, isLeader: leader === member.id, databaseBytes: numberIn(status, 'dbSize') };
  const errors = textsIn(status, 'errors');
  if (leader === '' || leader === '0') return { ...known, problem: 'it knows no leader' };
  return { ...known, problem: errors.length === 0 ? undefined : errors.join(', ') };
}

function memberOf(json: Json): EtcdMemberInfo {
  return {
    ...{ id: textIn(json, 'ID'), name: textIn(json, 'name'), isLearner: json['isLearner'] === true },
    ...{ peerUrls: textsIn(json, 'peerURLs'), clientUrls: textsIn(json, 'clientURLs') },
  };
}
