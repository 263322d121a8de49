import { X509Certificate } from 'node:crypto';
import type { Clock } from '#control/clock.ts';
import { invalid, kindOf, messageOf, unavailable } from '#model/errors.ts';
import { requestedKey } from './certificate-request.ts';
import { askToSign, type ExternalAuthority } from './cfssl-client.ts';
import { SIGNATURE, signingKeys } from './ecdsa-key.ts';
import type { CertificateAuthority } from './join-handler.ts';
import { identityOf, isId, unitOf } from './node-identity.ts';
import { isIssuedBy, parseCertificates } from './pem.ts';
import { namesOf, SHORTEST_LIFE_MS } from './root-authority.ts';
import type { Root } from './root-certificate.ts';
import { loadX509 } from './x509-library.ts';

/** What TLS servers and clients have in their extended key usage. */
const USAGES = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'];
/** cfssl's profile for CAs, as Swarm asks for it. */
const CA_PROFILE = 'CA';
const BASIC_CONSTRAINTS = { id: '2.5.29.19', critical: true, value: '30030101ff' };

export interface ExternalAuthorityOptions {
  readonly clusterId: string;
  readonly authority: ExternalAuthority;
  /** While the root is being replaced: the old one, and the new one signed by it. */
  readonly previous?: { readonly certificate: string; readonly crossSigned: string };
  readonly clock: Clock;
}

/**
 * An authority that has an external CA sign. Who a certificate is for goes along with the node's own request, and what comes back is taken
 * only if it is for that node, that role, that cluster and that key, in time, and signed with the cluster's root: `unavailable` otherwise. How
 * long it lives is the CA's to say.
 */
export function createExternalAuthority(o: ExternalAuthorityOptions): CertificateAuthority {
  const { clusterId, authority, previous, clock } = o;
  return {
    issue: async (csr, nodeId, role, hosts = []) => {
      if (!isId(nodeId)) throw invalid(`invalid node ID: ${nodeId}`);
      const key = Buffer.from(await requestedKey(csr));
      const answer = await askToSign(authority, {
        ...{ certificate_request: csr, hosts: namesOf(nodeId, role, hosts) },
        subject: { CN: nodeId, names: [{ OU: unitOf(role), O: clusterId }] },
      });
      const leaf = signedBy(authority, answer, key);
      const own = isOwn(leaf, { nodeId, role, clusterId });
      if (!own || leaf.ca || !USAGES.every((usage) => leaf.keyUsage?.includes(usage) ?? true))
        throw notAsAsked('it is for somebody else, or not for TLS servers and clients');
      const nowMs = clock.nowMs();
      if (leaf.validFromDate.getTime() > nowMs || leaf.validToDate.getTime() < nowMs + SHORTEST_LIFE_MS)
        throw notAsAsked(
          `it is valid from ${leaf.validFrom} to ${leaf.validTo}: nodes need an hour at least`,
        );
      return {
        certificate: leaf.toString() + (previous?.crossSigned ?? ''),
        roots: authority.rootCertificate + (previous?.certificate ?? ''),
      };
    },
  };
}

/** The certificate of the root that comes next, under its own name and key, signed by the external CA that signs now. */
export async function crossSignExternally(authority: ExternalAuthority, next: Root): Promise<string> {
  const x509 = await loadX509();
  const { subject, subjectName } = new x509.X509Certificate(next.certificate);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    ...{ name: subject, keys: signingKeys(next.key), signingAlgorithm: SIGNATURE },
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  const names = subjectName
    .toJSON()
    .map((part) => Object.fromEntries(Object.entries(part).map(([name, [value = '']]) => [name, value])));
  const [CN] = subjectName.getField('CN');
  const answer = await askToSign(authority, {
    ...{
      certificate_request: `${csr.toString('pem')}\n`,
      profile: CA_PROFILE,
      extensions: [BASIC_CONSTRAINTS],
    },
    subject: {
      ...(CN === undefined ? {} : { CN }),
      names: names.filter(({ CN: common }) => common === undefined),
    },
  });
  const root = new X509Certificate(next.certificate);
  const signed = signedBy(authority, answer, spkiOf(root));
  if (!signed.ca || signed.subject !== root.subject)
    throw notAsAsked('it is none of a CA with the name of the next one');
  return signed.toString();
}

function signedBy(authority: ExternalAuthority, answer: string, key: Buffer): X509Certificate {
  const certificate = certificateOf(answer);
  const [root] = parseCertificates(authority.rootCertificate, 'the root certificate');
  if (!isIssuedBy(certificate, root)) throw notAsAsked("the cluster's root did not sign it");
  if (!spkiOf(certificate).equals(key)) throw notAsAsked('it is for another key');
  return certificate;
}

function certificateOf(answer: string): X509Certificate {
  try {
    return parseCertificates(answer, 'the answer')[0];
  } catch (error) {
    // it is not who asks for a certificate that is wrong
    throw notAsAsked(messageOf(error));
  }
}

function isOwn(leaf: X509Certificate, expected: ReturnType<typeof identityOf>): boolean {
  try {
    const { nodeId, role, clusterId } = identityOf(leaf);
    return nodeId === expected.nodeId && role === expected.role && clusterId === expected.clusterId;
  } catch (error) {
    if (kindOf(error) !== 'forbidden') throw error;
    return false;
  }
}

function spkiOf(certificate: X509Certificate): Buffer {
  return certificate.publicKey.export({ type: 'spki', format: 'der' });
}

function notAsAsked(why: string): Error {
  return unavailable(`the external CA gave a certificate that cannot be used: ${why}`);
}
