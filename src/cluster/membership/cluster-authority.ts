import type { NodeCredentials } from '#cluster/ca/certificate-files.ts';
import type { ExternalAuthority } from '#cluster/ca/cfssl-client.ts';
import { createExternalAuthority } from '#cluster/ca/external-authority.ts';
import type { CertificateAuthority } from '#cluster/ca/join-handler.ts';
import { createAuthority, DEFAULT_LIFE_MS } from '#cluster/ca/root-authority.ts';
import { type SealingKey, unseal } from '#cluster/ca/sealing.ts';
import { externalUrlsOf } from '#cluster/control/external-authorities.ts';
import type { Clock } from '#control/clock.ts';
import { unavailable } from '#model/errors.ts';
import type { SwarmRecord } from '#model/swarm.ts';

const NANOSECONDS_PER_MS = 1e6;

/** What the CA's key is sealed for, so that no other sealed text can stand in for it. */
export const ROOT_KEY_PURPOSE = 'swarm/root-key';

export interface ClusterAuthorityOptions {
  /** The managers'. */
  readonly key: SealingKey;
  readonly clock: Clock;
  /** This node's own, which external CAs are shown; undefined before it has any. */
  readonly credentials: () => NodeCredentials | undefined;
}

/** Who signs for a cluster: external CAs where there are some for its root, as in Swarm, else the root's key that is in its record. */
export function authorityOf(swarm: SwarmRecord, o: ClusterAuthorityOptions): CertificateAuthority {
  const { previousRootCertificate: certificate, crossSignedRootCertificate: crossSigned } = swarm;
  const previous =
    certificate === undefined || crossSigned === undefined ? {} : { previous: { certificate, crossSigned } };
  const common = { clusterId: swarm.ID, clock: o.clock, ...previous };
  const authority = externalAuthorityOf(swarm, o);
  if (authority !== undefined) return createExternalAuthority({ ...common, authority });
  const expiry = swarm.Spec.CAConfig?.NodeCertExpiry ?? 0;
  return createAuthority({
    ...{ ...common, lifeMs: expiry === 0 ? DEFAULT_LIFE_MS : expiry / NANOSECONDS_PER_MS },
    root: { certificate: swarm.rootCertificate, key: rootKeyOf(swarm, o.key) },
  });
}

/** Undefined where the cluster signs itself. */
export function externalAuthorityOf(
  swarm: SwarmRecord,
  o: Pick<ClusterAuthorityOptions, 'credentials'>,
): ExternalAuthority | undefined {
  const { rootCertificate } = swarm;
  const urls = externalUrlsOf(swarm.Spec, rootCertificate);
  return urls.length === 0 ? undefined : { urls, rootCertificate, client: o.credentials() };
}

/** The key of the cluster's root. `unavailable` where only an external CA has it, `forbidden` where the managers' key is another one. */
export function rootKeyOf(swarm: SwarmRecord, key: SealingKey): string {
  if (swarm.sealedRootKey === '')
    throw unavailable(
      "the CA's key is not in the cluster, and no external CA is named that signs with its root",
      {
        hint: 'docker swarm update --external-ca protocol=cfssl,url=URL',
      },
    );
  return unseal(swarm.sealedRootKey, [key], ROOT_KEY_PURPOSE).toString('utf8');
}
