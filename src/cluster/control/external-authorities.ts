import { parseCertificates } from '#cluster/ca/pem.ts';
import { invalid } from '#model/errors.ts';
import type { SwarmSpec } from '#model/swarm.ts';

type ExternalCas = NonNullable<NonNullable<SwarmSpec['CAConfig']>['ExternalCAs']>;

const MOST = 16;

/** Where external CAs sign with this root, whose certificate is as {@link writtenAlike} gives it. */
export function externalUrlsOf(spec: SwarmSpec, rootCertificate: string): string[] {
  const authorities = spec.CAConfig?.ExternalCAs ?? [];
  return authorities.flatMap(({ URL: url = '', CACert }) => (CACert === rootCertificate ? [url] : []));
}

/**
 * External CAs as they are kept: one that names no root signs with `rootCertificate`, the one that is to be the cluster's. Throws `invalid` for what
 * cannot be asked.
 */
export function checkedExternals(authorities: ExternalCas, rootCertificate: string): ExternalCas {
  if (authorities.length > MOST) throw invalid(`a swarm has at most ${MOST} external CAs`);
  return authorities.map(({ Protocol = 'cfssl', URL: url = '', CACert = '', ...rest }) => {
    if (Protocol.toLowerCase() !== 'cfssl') throw invalid(`unrecognized external CA protocol ${Protocol}`);
    if (URL.parse(url)?.protocol !== 'https:')
      throw invalid(`invalid URL of an external CA: ${JSON.stringify(url)}: it begins with https://`);
    const root = CACert.trim() === '' ? rootCertificate : writtenAlike(CACert);
    return { ...rest, Protocol: 'cfssl', URL: url, CACert: root };
  });
}

/** A certificate (PEM) written as all are that are kept, so that the same ones are the same text. */
export function writtenAlike(certificate: string): string {
  return parseCertificates(certificate, 'the CA certificate')[0].toString();
}
