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

/**
 * The root (PEM) of the external CAs that a new swarm begins with; undefined where it signs itself. Throws `invalid` where they name none, or
 * several.
 */
export function firstExternalRoot(authorities: ExternalCas): string | undefined {
  if (authorities.length === 0) return undefined;
  const named = authorities.flatMap(({ CACert = '' }) =>
    CACert.trim() === '' ? [] : [writtenAlike(CACert)],
  );
  const [root] = named;
  if (root === undefined || named.some((other) => other !== root))
    throw invalid("a new swarm's external CA is named with the certificate of its one root", {
      hint: '--external-ca protocol=cfssl,url=URL,cacert=FILE',
    });
  return root;
}

/** A certificate (PEM) written as all are that are kept, so that the same ones are the same text. */
export function writtenAlike(certificate: string): string {
  return parseCertificates(certificate, 'the CA certificate')[0].toString();
}
