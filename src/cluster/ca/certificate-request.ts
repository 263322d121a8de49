import { invalid } from '#model/errors.ts';
import { generateKey, SIGNATURE, signingKeys } from './ecdsa-key.ts';
import { loadX509 } from './x509-library.ts';

/** A request for a certificate, and the key that stays where it was made. Both PEM. */
export interface CertificateRequest {
  readonly key: string;
  readonly csr: string;
}

const LARGEST_REQUEST = 8 * 1024;
const REQUEST =
  /^\s*-----BEGIN CERTIFICATE REQUEST-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE REQUEST-----\s*$/;

/** A new key and a request for it. The request names nobody: who its owner is, the CA knows. */
export async function createRequest(): Promise<CertificateRequest> {
  const x509 = await loadX509();
  const key = await generateKey();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: '',
    keys: signingKeys(key),
    signingAlgorithm: SIGNATURE,
  });
  return { key, csr: `${request.toString('pem')}\n` };
}

/** The public key (SPKI, DER) of a request whose owner has its private key; on P-256. Throws `invalid`. */
export async function requestedKey(csr: string): Promise<ArrayBuffer> {
  if (csr.length > LARGEST_REQUEST || !REQUEST.test(csr))
    throw invalid('the certificate request is not one PEM block of a request');
  const x509 = await loadX509();
  const request = await parsed(x509, csr);
  const { algorithm } = request.publicKey;
  const isOnCurve =
    algorithm.name === 'ECDSA' && 'namedCurve' in algorithm && algorithm.namedCurve === 'P-256';
  if (!isOnCurve) throw invalid('the certificate request is not for an ECDSA key on P-256');
  return request.publicKey.rawData;
}

async function parsed(
  x509: Awaited<ReturnType<typeof loadX509>>,
  csr: string,
): Promise<InstanceType<(typeof x509)['Pkcs10CertificateRequest']>> {
  try {
    const request = new x509.Pkcs10CertificateRequest(csr);
    if (await request.verify()) return request;
  } catch (cause) {
    throw invalid('the certificate request cannot be read', { cause });
  }
  throw invalid('the certificate request is not signed by its own key');
}
