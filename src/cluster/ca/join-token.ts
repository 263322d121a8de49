import { createHash, randomBytes, timingSafeEqual, X509Certificate } from 'node:crypto';
import { invalid } from '#model/errors.ts';
import type { NodeRole } from '#model/node.ts';

/** What a node that wants to join holds: the CA by its digest, and a secret that says what it may join as. */
export interface JoinToken {
  /** SHA-256 of the CA's certificate (DER), 50 characters of base36. */
  readonly caDigest: string;
  readonly secret: string;
}

const DIGEST_LENGTH = 50;
const SECRET_LENGTH = 25;
const TOKEN = /^SWMTKN-1-([0-9a-z]{50})-([0-9a-z]{25})$/;

/** The digest by which a token names a CA. */
export function caDigestOf(certificate: X509Certificate): string {
  return base36(createHash('sha256').update(certificate.raw).digest(), DIGEST_LENGTH);
}

/** A new token of a cluster whose CA has this certificate (PEM): `SWMTKN-1-<digest>-<secret>`. The secret has 128 random bits. */
export function createJoinToken(rootCertificate: string): string {
  return joinTokenOf(rootCertificate, base36(randomBytes(16), SECRET_LENGTH));
}

/** The same token for another root: its secret goes on, when the CA is replaced. Throws `invalid` for what is no token. */
export function rebindJoinToken(token: string, rootCertificate: string): string {
  return joinTokenOf(rootCertificate, parseJoinToken(token).secret);
}

function joinTokenOf(rootCertificate: string, secret: string): string {
  return `SWMTKN-1-${caDigestOf(new X509Certificate(rootCertificate))}-${secret}`;
}

/** Throws `invalid` for a text that is no token; the message does not repeat it. */
export function parseJoinToken(token: string): JoinToken {
  const [, caDigest, secret] = TOKEN.exec(token) ?? [];
  if (caDigest === undefined || secret === undefined) throw invalid('invalid join token');
  return { caDigest, secret };
}

/** What a token lets its holder join as; undefined for one of neither role. Takes as long whatever the token is. */
export function roleOfToken(
  token: string,
  tokens: { readonly Worker: string; readonly Manager: string },
): NodeRole | undefined {
  const isManager = equal(token, tokens.Manager);
  const isWorker = equal(token, tokens.Worker);
  if (isManager) return 'manager';
  return isWorker ? 'worker' : undefined;
}

/** By digest, so that texts of any length compare in the same time. */
function equal(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function base36(bytes: Buffer, length: number): string {
  return BigInt(`0x${bytes.toString('hex')}`)
    .toString(36)
    .padStart(length, '0');
}
