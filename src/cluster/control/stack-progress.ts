import { isDeepStrictEqual } from 'node:util';
import { serviceProgress } from '#cluster/controllers/service-progress.ts';
import { nodeFit } from '#cluster/scheduler/node-fit.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import { pause } from '#control/pause.ts';
import { notFound } from '#model/errors.ts';
import type { ReleaseRecord } from '#model/release.ts';
import type { StackService } from '#model/stack.ts';
import type { StackProgress, StackServiceProgress } from '#model/stack-progress.ts';
import type { ControlPorts } from './control-ports.ts';

/** A busy cluster is looked at no more often than people can read. */
const BREATH_MS = 100;

/**
 * How a release gets on, now and whenever that changes; ends with the release's own end, or when `signal` aborts. `not-found` for one
 * that is not there, also when it goes meanwhile.
 */
export async function* followRelease(
  { follower, clock }: Pick<ControlPorts, 'follower' | 'clock'>,
  o: { readonly stack: string; readonly number: number; readonly signal: AbortSignal },
): AsyncGenerator<StackProgress> {
  const { view } = follower;
  let shown: StackProgress | undefined;
  while (!o.signal.aborted) {
    const seen = view.revision;
    const release = view.get('release', `${o.stack}.${o.number}`);
    if (release === undefined) throw notFound(`stack ${o.stack} has no release ${o.number}`);
    const now = stackProgress(view, release);
    if (!isDeepStrictEqual(now, shown)) yield now;
    shown = now;
    if (release.status.State !== 'deploying') return;
    const next = follower.untilRevision(seen + 1, o.signal);
    const [moved] = await Promise.allSettled([next]);
    if (moved.status === 'rejected' && !o.signal.aborted) throw moved.reason;
    if (!(await pause(clock, BREATH_MS, o.signal))) return;
  }
}

function stackProgress(view: ClusterView, release: ReleaseRecord): StackProgress {
  const fits = nodeFit();
  return {
    stack: release.stack,
    release: release.number,
    status: release.status,
    services: release.spec.services.map((service) => progressOf(view, release, service, fits)),
  };
}

function progressOf(
  view: ClusterView,
  { applied, spec, status }: ReleaseRecord,
  service: StackService,
  fits: ReturnType<typeof nodeFit>,
): StackServiceProgress {
  const { Name: name, Mode } = service.spec;
  const wanted = Mode?.Replicated?.Replicas ?? Mode?.ReplicatedJob?.TotalCompletions ?? 0;
  const record = view.named('service', name);
  const revision = applied[service.key];
  if (revision === undefined) {
    const names = spec.services.filter(({ key }) => key in service.dependsOn).map((each) => each.spec.Name);
    const reason = names.length === 0 || status.State !== 'deploying' ? '' : `after ${names.join(', ')}`;
    return { name, state: 'waiting', running: 0, wanted, update: '', reason };
  }
  if (record === undefined)
    return { name, state: 'failed', running: 0, wanted, update: '', reason: 'removed' };
  const progress = serviceProgress(view, record, fits);
  const update = record.UpdateStatus?.State ?? '';
  const isOther = record.revision !== revision;
  return {
    name,
    state: isOther ? 'failed' : progress.outcome,
    running: progress.running,
    wanted: progress.wanted,
    update: isOther || progress.outcome !== 'settled' ? update : '',
    reason: isOther ? (record.UpdateStatus?.Message ?? 'changed meanwhile') : progress.reason,
  };
}
