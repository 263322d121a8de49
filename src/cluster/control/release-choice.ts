import { createHmac } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Write } from '#cluster/state/tables.ts';
import { invalid, notFound } from '#model/errors.ts';
import type { ReleaseRecord } from '#model/release.ts';

/** The release to go back to: `number`, or the last one that was deployed and is not what is asked for now. */
export function rollbackTarget(
  releases: readonly ReleaseRecord[],
  number: number | undefined,
): ReleaseRecord {
  const [newest, ...older] = releases;
  const stack = newest?.stack ?? '';
  const hint = `See: drover releases ${stack}`;
  if (number !== undefined) {
    const found = releases.find((release) => release.number === number);
    if (found === undefined) throw notFound(`stack ${stack} has no release ${number}`, { hint });
    if (found === newest)
      throw invalid(`release ${number} of ${stack} is what is asked for already`, { hint });
    return found;
  }
  const target = older.find(
    ({ spec, status }) => status.State === 'deployed' && !isDeepStrictEqual(spec, newest?.spec),
  );
  if (target === undefined)
    throw notFound(`stack ${stack} has no earlier release that was deployed`, { hint });
  return target;
}

/** A release that is still being deployed is given up for the next one. */
export function superseded(last: ReleaseRecord | undefined, now: string): Write[] {
  if (last?.status.State !== 'deploying') return [];
  const status = { State: 'superseded', Message: '', since: now } as const;
  return [{ table: 'release', put: { ...last, UpdatedAt: now, status } }];
}

/**
 * What digests of a stack's secrets are keyed with: that of its releases; for the first one it follows from a secret of the managers, so
 * that a plan and the deployment after it give the same names.
 */
export function saltOf(view: ClusterView, stack: string, last: ReleaseRecord | undefined): string {
  if (last !== undefined) return last.salt;
  const [swarm] = view.all('swarm');
  return createHmac('sha256', swarm?.joinTokens.Manager ?? '')
    .update(`stack ${stack}`)
    .digest('hex');
}
