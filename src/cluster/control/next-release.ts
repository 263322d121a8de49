import { isDeepStrictEqual } from 'node:util';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Write } from '#cluster/state/tables.ts';
import { conflict, notFound } from '#model/errors.ts';
import type { ReleaseRecord } from '#model/release.ts';
import type { StackSpec } from '#model/stack.ts';
import type { Basis } from '#model/stack-plan.ts';
import type { Decision } from './record-writer.ts';
import { saltOf, superseded } from './release-choice.ts';
import { modeName } from './service-spec-check.ts';
import { releasesOf } from './stack-cleanup.ts';
import { missingContents, movedSince, planStack } from './stack-plan.ts';

/** So many are kept of a stack, and what they name with them. */
const RELEASES_KEPT = 10;

/** `unchanged`: it is the last release, and the cluster is as it says; `again`: it is, but the cluster was not. */
export type ReleaseOutcome = 'created' | 'again' | 'unchanged';

export interface NextRelease {
  /** RFC 3339. */
  readonly now: string;
  readonly newId: () => string;
  readonly basis: readonly Basis[];
  readonly rollbackOf?: number;
  /** By the keys of services: what nodes pull their images with, in the clear. */
  readonly registryAuth: Readonly<Record<string, string>>;
  /** Seals it for a service's ID. */
  readonly seal: (registryAuth: string, serviceId: string) => string;
}

/**
 * Makes `spec` what is asked of a stack: as its next release, or as the last one again. Throws `conflict` when what `basis` names has
 * moved, `not-found` for a secret or a config that is not there.
 */
export function nextRelease(
  view: ClusterView,
  spec: StackSpec,
  o: NextRelease,
): Decision<{ number: number; outcome: ReleaseOutcome }> {
  checkBasis(view, spec.name, o.basis);
  const [missing] = missingContents(view, spec);
  if (missing !== undefined) throw notFound(missing);
  const releases = releasesOf(view, spec.name);
  const [last] = releases;
  const fresh = { UpdatedAt: o.now, applied: {}, ...deploying(o.now), ...identities(view, spec, o) };
  if (last !== undefined && isDeepStrictEqual(last.spec, spec)) {
    const { number } = last;
    if (isAsAsked(view, last)) return { writes: [], result: { number, outcome: 'unchanged' } };
    const { sealedRegistryAuth: _old, ...kept } = last;
    return {
      writes: [{ table: 'release', put: { ...kept, ...fresh } }],
      result: { number, outcome: 'again' },
    };
  }
  const number = (last?.number ?? 0) + 1;
  const put: ReleaseRecord = {
    ID: `${spec.name}.${number}`,
    CreatedAt: o.now,
    stack: spec.name,
    number,
    ...(o.rollbackOf === undefined ? {} : { rollbackOf: o.rollbackOf }),
    spec,
    ...fresh,
    salt: saltOf(view, spec.name, last),
  };
  const old = releases.slice(RELEASES_KEPT - 1).map(({ ID }): Write => ({ table: 'release', delete: ID }));
  return {
    writes: [{ table: 'release', put }, ...superseded(last, o.now), ...old],
    result: { number, outcome: 'created' },
  };
}

/** `conflict` names what is not as a plan found it. */
export function checkBasis(view: ClusterView, stack: string, basis: readonly Basis[]): void {
  const moved = movedSince(view, stack, basis);
  if (moved.length === 0) return;
  throw conflict(`the cluster has moved since the plan was made: ${moved.join(', ')}`, {
    hint: 'Nothing was changed; make another plan.',
  });
}

function deploying(now: string): Pick<ReleaseRecord, 'status'> {
  return { status: { State: 'deploying', Message: '', since: now } };
}

/** It is on its way, or it is deployed and nobody has changed anything since. */
function isAsAsked(view: ClusterView, last: ReleaseRecord): boolean {
  if (last.status.State === 'deploying') return true;
  if (last.status.State !== 'deployed') return false;
  const plan = planStack(view, { spec: last.spec, last, contents: [] });
  return plan.objects.length === 0 && plan.services.every(({ action }) => action === 'none');
}

/** The IDs that services have, or will have: credentials are sealed for them. */
function identities(
  view: ClusterView,
  spec: StackSpec,
  o: NextRelease,
): Pick<ReleaseRecord, 'serviceIds' | 'sealedRegistryAuth'> {
  const serviceIds: Record<string, string> = {};
  const sealedRegistryAuth: Record<string, string> = {};
  for (const service of spec.services) {
    const there = view.named('service', service.spec.Name);
    const stays = there !== undefined && modeName(there.Spec.Mode) === modeName(service.spec.Mode);
    const id = stays ? there.ID : o.newId();
    serviceIds[service.key] = id;
    const auth = o.registryAuth[service.key];
    if (auth !== undefined) sealedRegistryAuth[service.key] = o.seal(auth, id);
  }
  return {
    serviceIds,
    ...(Object.keys(sealedRegistryAuth).length === 0 ? {} : { sealedRegistryAuth }),
  };
}
