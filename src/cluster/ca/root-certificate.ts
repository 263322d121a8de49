import { createPrivateKey, type X509Certificate } from 'node:crypto';
import { invalid } from '#model/errors.ts';
import { generateKey, SIGNATURE, signingKeys } from './ecdsa-key.ts';
import { isIssuedBy, parseCertificates } from './pem.ts';
import { loadX509 } from './x509-library.ts';

const LIFE_MS = 20 * 365 * 24 * 3600 * 1000;
/** Certificates are valid from an hour ago, for the clocks of the nodes differ. */
export const BACKDATED_MS: number = 3600 * 1000;
/** As in Swarm. */
const COMMON_NAME = 'swarm-ca';

/** A CA's certificate and its private key, both PEM. */
export interface Root {
  readonly certificate: string;
  readonly key: string;
}

/** A root that takes over: one of an external CA has its key elsewhere. */
export interface NextRoot {
  readonly certificate: string;
  readonly key: string | undefined;
}

/** A new self-signed root of a cluster, for 20 years. */
export async function createRoot(clusterId: string, nowMs: number): Promise<Root> {
  const x509 = await loadX509();
  const key = await generateKey();
  const keys = signingKeys(key);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ O: [clusterId] }, { CN: [COMMON_NAME] }],
    keys,
    signingAlgorithm: SIGNATURE,
    notBefore: new Date(nowMs - BACKDATED_MS),
    notAfter: new Date(nowMs + LIFE_MS),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: `${certificate.toString('pem')}\n`, key };
}

/**
 * `next` under its own name and key, but signed by `current`: who trusts `current` alone reaches certificates of `next` through it.
 * It lives as long as the one of both that ends first.
 */
export async function crossSign(next: string, current: Root): Promise<string> {
  const x509 = await loadX509();
  const subject = new x509.X509Certificate(next);
  const issuer = new x509.X509Certificate(current.certificate);
  const { privateKey } = signingKeys(current.key);
  const certificate = await x509.X509CertificateGenerator.create({
    subject: subject.subjectName,
    issuer: issuer.subjectName,
    publicKey: subject.publicKey,
    signingKey: privateKey,
    signingAlgorithm: SIGNATURE,
    notBefore: new Date(Math.max(subject.notBefore.getTime(), issuer.notBefore.getTime())),
    notAfter: new Date(Math.min(subject.notAfter.getTime(), issuer.notAfter.getTime())),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      ...keyIdentifiers(x509, subject, issuer),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

/**
 * A root that a user gives (`docker swarm ca --ca-cert`, with or without `--ca-key`), its certificate written as all others are: roots are put together to one
 * text. Throws `invalid` with the reason that it cannot be used.
 */
export function checkedRoot(root: NextRoot, nowMs: number): NextRoot {
  if (root.key !== undefined) signingKeys(root.key);
  const certificate = parsedRoot(root.certificate);
  if (!isIssuedBy(certificate, certificate)) throw invalid('the CA certificate is not a self-signed CA');
  if (root.key !== undefined && !certificate.checkPrivateKey(createPrivateKey(root.key)))
    throw invalid("the CA certificate and the CA key don't match");
  if (certificate.validFromDate.getTime() > nowMs) throw invalid('the CA certificate is not valid yet');
  if (certificate.validToDate.getTime() <= nowMs) throw invalid('the CA certificate has expired');
  return { ...root, certificate: certificate.toString() };
}

function parsedRoot(pem: string): X509Certificate {
  const [certificate, ...others] = parseCertificates(pem, 'the CA certificate');
  if (others.length > 0) throw invalid('the CA certificate: one certificate is taken, not a bundle');
  return certificate;
}

type X509 = Awaited<ReturnType<typeof loadX509>>;
type Certificate = InstanceType<X509['X509Certificate']>;

/** The extensions by which a chain is found; a root that a user gives may have none, and then nothing is said about it. */
function keyIdentifiers(
  x509: X509,
  subject: Certificate,
  issuer: Certificate,
): InstanceType<X509['Extension']>[] {
  const own = subject.getExtension(x509.SubjectKeyIdentifierExtension);
  return [...(own === null ? [] : [own]), ...authorityKeyIdentifier(x509, issuer)];
}

/** Names the issuer's key in a certificate that it signs, exactly as its own certificate does. */
export function authorityKeyIdentifier(x509: X509, issuer: Certificate): InstanceType<X509['Extension']>[] {
  const key = issuer.getExtension(x509.SubjectKeyIdentifierExtension);
  return key === null ? [] : [new x509.AuthorityKeyIdentifierExtension(key.keyId)];
}
