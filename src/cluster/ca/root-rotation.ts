import { X509Certificate } from 'node:crypto';
import type { NodeDescription, NodeRecord } from '#model/node.ts';
import type { SwarmRecord } from '#model/swarm.ts';
import { isIssuedBy, parseCertificates } from './pem.ts';
import { checkedRoot, createRoot, crossSign, type NextRoot, type Root } from './root-certificate.ts';
import { loadX509 } from './x509-library.ts';

/** A root that goes, and how it signs the next one. */
export interface GoingRoot {
  readonly certificate: string;
  readonly crossSign: (next: NextRoot) => Promise<string>;
}

/** One whose key is here. */
export function goingRoot(root: Root): GoingRoot {
  return { certificate: root.certificate, crossSign: (next) => crossSign(next.certificate, root) };
}

/** A root that takes over from another one. From here on it signs, and both are trusted. */
export interface RootRotation {
  readonly root: NextRoot;
  readonly previousRootCertificate: string;
  /** The new root signed by the old one: for nodes that trust the old one alone. */
  readonly crossSignedRootCertificate: string;
}

/** Begins the replacement of `current`, by a root of a user or a new one. Throws `invalid` for a root that cannot be used. */
export async function rotateRoot(
  current: GoingRoot,
  clusterId: string,
  nowMs: number,
  given?: NextRoot,
): Promise<RootRotation> {
  const root = given === undefined ? await createRoot(clusterId, nowMs) : checkedRoot(given, nowMs);
  return {
    root,
    previousRootCertificate: current.certificate,
    crossSignedRootCertificate: await current.crossSign(root),
  };
}

export type RotationStep =
  | { readonly kind: 'none' }
  /** These nodes have no certificate of the new root yet; they are told to renew. */
  | { readonly kind: 'wait'; readonly nodeIds: readonly string[] }
  /** The old root goes: the record as it is to be written. */
  | { readonly kind: 'finish'; readonly swarm: SwarmRecord };

/**
 * What comes next in the replacement of a root. It waits for every node there is a record of, for one that is away would be shut out; a
 * node that does not come back is removed by its operator.
 */
export function rotationStep(swarm: SwarmRecord, nodes: Iterable<NodeRecord>): RotationStep {
  if (swarm.previousRootCertificate === undefined) return { kind: 'none' };
  const key = publicKeyOf(new X509Certificate(swarm.rootCertificate));
  const nodeIds: string[] = [];
  for (const node of nodes) if (node.Description?.TLSInfo?.CertIssuerPublicKey !== key) nodeIds.push(node.ID);
  if (nodeIds.length > 0) return { kind: 'wait', nodeIds };
  const { previousRootCertificate: _old, crossSignedRootCertificate: _cross, ...finished } = swarm;
  return { kind: 'finish', swarm: finished };
}

/** What a node says of its certificate: its roots, and the subject and key of the one that issued it, as Docker's API shows them. */
export async function tlsInfoOf(
  certificate: string,
  roots: string,
): Promise<NonNullable<NodeDescription['TLSInfo']>> {
  const x509 = await loadX509();
  const [leaf] = parseCertificates(certificate, 'node certificate');
  const trusted = parseCertificates(roots, 'root certificates');
  const issuer = trusted.find((root) => isIssuedBy(leaf, root)) ?? trusted[0];
  const name = new x509.X509Certificate(issuer.toString()).subjectName.toArrayBuffer();
  return {
    TrustRoot: roots,
    CertIssuerSubject: Buffer.from(name).toString('base64'),
    CertIssuerPublicKey: publicKeyOf(issuer),
  };
}

function publicKeyOf(certificate: X509Certificate): string {
  return certificate.publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
}
