import { X509Certificate } from 'node:crypto';
import { invalid } from '#model/errors.ts';

/** Certificates of one text: a chain, and the roots before and after a rotation; nothing of ours has more. */
const MOST_CERTIFICATES = 8;
const LARGEST_TEXT = 64 * 1024;
const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g;

/**
 * The certificates of a PEM text, in order; at least one and at most eight. Throws `invalid` for anything else, naming `what` the text is.
 */
export function parseCertificates(pem: string, what: string): [X509Certificate, ...X509Certificate[]] {
  if (pem.length > LARGEST_TEXT) throw invalid(`${what}: too large for PEM certificates`);
  const blocks = pem.match(BLOCK) ?? [];
  if (blocks.length > MOST_CERTIFICATES)
    throw invalid(`${what}: more than ${MOST_CERTIFICATES} certificates`);
  const [first, ...rest] = blocks.map((block) => parsed(block, what));
  if (first === undefined) throw invalid(`${what}: no PEM certificate in it`);
  return [first, ...rest];
}

function parsed(block: string, what: string): X509Certificate {
  try {
    return new X509Certificate(block);
  } catch (cause) {
    throw invalid(`${what}: not a certificate`, { cause });
  }
}

/** Whether `certificate` carries the signature of `issuer`, which is a CA's. Says nothing about time. */
export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
