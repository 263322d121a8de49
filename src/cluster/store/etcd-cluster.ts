import { kindOf, messageOf } from '#model/errors.ts';
import type { EtcdClient } from './etcd-client.ts';
import { type Json, numberIn, objectIn, objectsIn, textIn, textsIn } from './json-object.ts';

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
  /** Of these, what is not free to be written again. */
  readonly usedBytes: number | undefined;
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

async function healthOf(client: EtcdClient, member: EtcdMemberInfo): Promise<EtcdMemberHealth> {
  const [endpoint] = member.clientUrls;
  const none = { ...member, isLeader: false, databaseBytes: undefined, usedBytes: undefined };
  if (endpoint === undefined) return { ...none, problem: 'it has not started yet' };
  let status: Json;
  try {
    status = await client.call('maintenance/status', {}, { repeatable: true, endpoint });
  } catch (error) {
    return { ...none, problem: messageOf(error) };
  }
  const leader = textIn(status, 'leader');
  const known = {
    ...{ ...member, isLeader: leader === member.id },
    ...{ databaseBytes: numberIn(status, 'dbSize'), usedBytes: numberIn(status, 'dbSizeInUse') },
  };
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
