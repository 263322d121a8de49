import { createPrivateKey, createPublicKey, generateKeyPair, type webcrypto } from 'node:crypto';
import { promisify } from 'node:util';
import { invalid } from '#model/errors.ts';

const CURVE = { name: 'ECDSA', namedCurve: 'P-256' };

/** What certificates of the cluster are signed with. */
export const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' };

/** A new private key on P-256, as PKCS#8 PEM. */
export async function generateKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: CURVE.namedCurve });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** Both halves of a private key for signing. Throws `invalid` for what is no PEM of a key on P-256. */
export function signingKeys(pem: string): webcrypto.CryptoKeyPair {
  const key = parsedKey(pem);
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw invalid('the private key is not an ECDSA key on P-256');
  return {
    privateKey: key.toCryptoKey(CURVE, true, ['sign']),
    publicKey: createPublicKey(key).toCryptoKey(CURVE, true, ['verify']),
  };
}

function parsedKey(pem: string): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw invalid('the private key is not readable PEM', { cause });
  }
}
