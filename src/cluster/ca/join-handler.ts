import type { ChannelHandler } from '#cluster/transport/transport.ts';
import { forbidden, kindOf } from '#model/errors.ts';
import type { NodeRole } from '#model/node.ts';
import type { AttemptLimit } from './attempt-limit.ts';
import { requestedKey } from './certificate-request.ts';
import {
  type CertificateAnswer,
  firstMessage,
  JoinRequest,
  parseMessage,
  RenewRequest,
} from './join-protocol.ts';
import { parseJoinToken } from './join-token.ts';

export interface IssuedCertificate {
  /** PEM: the node's certificate, and what leads from it to a root that is going. */
  readonly certificate: string;
  /** PEM: every root that is trusted now. */
  readonly roots: string;
}

/** Who signs. */
export interface CertificateAuthority {
  /**
   * A certificate for the key of a request: of the request nothing else counts. `hosts` are names and addresses that it is to be valid
   * for besides localhost. Throws `invalid` for a request, ID or host that is none.
   */
  issue(csr: string, nodeId: string, role: NodeRole, hosts?: readonly string[]): Promise<IssuedCertificate>;
}

/** A node as it is in the cluster's records when its certificate is made. */
export interface Membership {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly role: NodeRole;
  /** `host:port` of the managers. */
  readonly managers: readonly string[];
  /** Names and addresses for the certificate. */
  readonly hosts?: readonly string[];
  /** For managers: as in {@link CertificateAnswer}. */
  readonly managerKey?: string;
  readonly unlockKey?: string;
}

/** What a manager knows of who wants to join. */
export interface Applicant {
  readonly token: string;
  readonly hostname: string;
  /** As it asked. */
  readonly address: string | undefined;
  /** The IP address that its connection comes from, where the transport knows it. */
  readonly remote: string | undefined;
  /** False where its machine lacks what a manager needs. */
  readonly canManage: boolean;
}

export interface JoinPorts {
  readonly authority: CertificateAuthority;
  /** Checks the token, and says who the node is to be. Throws `forbidden` for a wrong token. */
  readonly admit: (applicant: Applicant) => Promise<Membership>;
  /** Makes the node's record: its certificate is there. */
  readonly enter: (applicant: Applicant, membership: Membership) => Promise<void>;
  readonly limit: AttemptLimit;
}

/** Serves JOIN_METHOD: token and request in, certificate out. Who fails too often from one address is refused for a while. */
export function joinHandler({ authority, admit, enter, limit }: JoinPorts): ChannelHandler {
  return async (channel) => {
    const remote = channel.remote;
    const { token, csr, hostname, address, canManage } = parseMessage(
      JoinRequest,
      await firstMessage(channel),
      'request to join',
    );
    limit.begin(remote ?? '');
    try {
      parseJoinToken(token);
      await requestedKey(csr);
      const applicant = { token, hostname, address, remote, canManage: canManage !== false };
      const membership = await admit(applicant);
      limit.takeBack(remote ?? '');
      // before the record is made: what cannot be signed leaves no node behind
      const answered = await answer(authority, csr, membership);
      await enter(applicant, membership);
      await channel.send(answered);
    } catch (error) {
      const kind = kindOf(error);
      if (kind !== 'forbidden' && kind !== 'unauthorized' && kind !== 'invalid') limit.takeBack(remote ?? '');
      throw error;
    }
  };
}

export interface RenewalPorts {
  readonly authority: CertificateAuthority;
  /** The node's record. Throws `forbidden` for a node that there is no record of. */
  readonly membership: (nodeId: string) => Promise<Membership>;
}

/** Serves RENEW_METHOD: the next certificate of the node at the other end, with the role of its record. */
export function renewalHandler({ authority, membership }: RenewalPorts): ChannelHandler {
  return async (channel, peer) => {
    if (peer === undefined) throw forbidden('a certificate is renewed by the node that has one');
    const { csr } = parseMessage(RenewRequest, await firstMessage(channel), 'request to renew');
    await channel.send(await answer(authority, csr, await membership(peer.nodeId)));
  };
}

async function answer(
  authority: CertificateAuthority,
  csr: string,
  { clusterId, nodeId, role, managers, hosts, managerKey, unlockKey }: Membership,
): Promise<CertificateAnswer> {
  const issued = await authority.issue(csr, nodeId, role, hosts);
  return {
    clusterId,
    nodeId,
    role,
    ...issued,
    managers: [...managers],
    // whatever the record's keeper says, a worker gets no key
    ...(role === 'manager' && { managerKey, unlockKey }),
  };
}
