import type { X509Certificate } from 'node:crypto';
import type { Random } from '#control/random.ts';
import type { NodeRole } from '#model/node.ts';
import { identityOf } from './node-identity.ts';
import { isIssuedBy } from './pem.ts';

const STEPS = 1_000_000;

/**
 * When a node asks for its next certificate, in milliseconds since the epoch: a random moment between 50 % and 80 % of this one's life,
 * so that nodes that joined together do not come together. Drawn once a certificate.
 */
export function renewalTimeMs(certificate: X509Certificate, random: Random): number {
  const start = certificate.validFromDate.getTime();
  const life = certificate.validToDate.getTime() - start;
  return Math.round(start + life * (0.5 + (0.3 * random.below(STEPS + 1)) / STEPS));
}

/** Why a certificate is to be renewed now. */
export type RenewalReason = 'age' | 'role' | 'root';

export interface RenewalView {
  readonly certificate: X509Certificate;
  /** What {@link renewalTimeMs} gave for it. */
  readonly renewAtMs: number;
  readonly nowMs: number;
  /** The node's role by its record, where the node knows it. */
  readonly role?: NodeRole;
  /** The root that the cluster signs with now, where the node knows it. */
  readonly root?: X509Certificate;
}

/** Whether a node asks for a new certificate now, and why. */
export function renewalReason(view: RenewalView): RenewalReason | undefined {
  const { certificate, role, root } = view;
  if (role !== undefined && identityOf(certificate).role !== role) return 'role';
  if (root !== undefined && !isIssuedBy(certificate, root)) return 'root';
  return view.nowMs >= view.renewAtMs ? 'age' : undefined;
}
