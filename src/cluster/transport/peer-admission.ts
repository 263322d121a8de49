import type { X509Certificate } from 'node:crypto';
import { identityOf, type NodeIdentity } from '#cluster/ca/node-identity.ts';
import { isIssuedBy, parseCertificates } from '#cluster/ca/pem.ts';
import { forbidden } from '#model/errors.ts';
import type { NodeRole } from '#model/node.ts';
import type { Peer } from './transport.ts';

/** Whether a node may act in a role now: false for both when it was removed. A manager may act as a worker too. Never throws. */
export type IsAllowed = (nodeId: string, role: NodeRole) => boolean;

/** Who is at the other end, and by which certificate. */
export interface AdmittedPeer {
  readonly peer: Peer;
  readonly identity: NodeIdentity;
  readonly certificate: X509Certificate;
  /** Milliseconds since the epoch. */
  readonly expiresMs: number;
}

/**
 * Who a certificate stands for, whose signature TLS has checked. Its role is the one that it names, or worker for a manager that is none any
 * more. Throws `forbidden` for another cluster's node, one that was removed, and a certificate that is out of time.
 */
export function admitPeer(
  certificate: X509Certificate,
  clusterId: string,
  isAllowed: IsAllowed,
  nowMs: number,
): AdmittedPeer {
  const identity = identityOf(certificate);
  const { nodeId } = identity;
  if (identity.clusterId !== clusterId) throw forbidden(`node ${nodeId} is of another cluster`);
  const expiresMs = certificate.validToDate.getTime();
  if (expiresMs <= nowMs) throw forbidden(`the certificate of node ${nodeId} has expired`, { hint: REJOIN });
  const role = roleNow(identity, isAllowed);
  if (role === undefined) throw forbidden(`node ${nodeId} is not of this cluster any more`, { hint: REJOIN });
  return { peer: { nodeId, role }, identity, certificate, expiresMs };
}

const REJOIN = 'leave the swarm with `docker swarm leave --force` and join it again';

/** Whether a connection that was admitted would be admitted now, in the same role. */
export function isStillAdmitted(admitted: AdmittedPeer, isAllowed: IsAllowed, nowMs: number): boolean {
  return admitted.expiresMs > nowMs && roleNow(admitted.identity, isAllowed) === admitted.peer.role;
}

/** Whether one of these roots (PEM) signed a certificate. */
export function isTrustedBy(certificate: X509Certificate, roots: string): boolean {
  return parseCertificates(roots, 'root certificates').some((root) => isIssuedBy(certificate, root));
}

/** What a node may act as now, by its certificate and by `isAllowed`; undefined for nothing. */
export function roleNow({ nodeId, role }: Peer, isAllowed: IsAllowed): NodeRole | undefined {
  if (role === 'manager' && isAllowed(nodeId, 'manager')) return 'manager';
  return isAllowed(nodeId, 'worker') ? 'worker' : undefined;
}
