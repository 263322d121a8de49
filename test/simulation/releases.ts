import { isDeepStrictEqual } from 'node:util';
import { isWanted } from '#cluster/controllers/task-places.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange } from '#cluster/state/tables.ts';
import type { ReleaseRecord } from '#model/release.ts';
import type { ServiceRecord } from '#model/service.ts';
import { STACK_LABEL, type StackService } from '#model/stack.ts';

/** What must hold of releases after every commit. */
export function* checkReleases(view: ClusterView, changes: readonly ViewChange[]): Generator<string> {
  const deleted = new Map<string, ReleaseRecord>();
  const stacks = new Set<string>();
  for (const change of changes) {
    if (change.table !== 'release') continue;
    if (change.before !== undefined && change.after === undefined) deleted.set(change.id, change.before);
    stacks.add(change.after?.stack ?? change.before?.stack ?? '');
  }
  for (const change of changes) {
    if (change.table !== 'release' || change.after === undefined) continue;
    if (change.before === undefined) yield* checkRollback(view, change.after, deleted);
    else yield* checkSame(change.before, change.after);
  }
  for (const stack of stacks) yield* checkStack(view, stack);
}

/** What was asked for never changes, and what has come to its end for good stays there. */
function* checkSame(before: ReleaseRecord, after: ReleaseRecord): Generator<string> {
  const asked = ({ CreatedAt, stack, number, rollbackOf, spec, salt }: ReleaseRecord): unknown[] => [
    ...[CreatedAt, stack, number, rollbackOf, spec, salt],
  ];
  if (!isDeepStrictEqual(asked(before), asked(after))) yield `release ${before.ID} was changed`;
  if (before.status.State === 'superseded' && after.status.State !== 'superseded')
    yield `release ${before.ID} was superseded and is ${after.status.State}`;
  if (after.status.State === 'failed' && after.status.Message === '')
    yield `release ${before.ID} failed, and does not say why`;
}

/** A rollback asks for what the older release asked for. */
function* checkRollback(
  view: ClusterView,
  release: ReleaseRecord,
  deleted: ReadonlyMap<string, ReleaseRecord>,
): Generator<string> {
  if (release.rollbackOf === undefined) return;
  const id = `${release.stack}.${release.rollbackOf}`;
  const older = view.get('release', id) ?? deleted.get(id);
  if (!isDeepStrictEqual(older?.spec, release.spec)) yield `release ${release.ID} is not what ${id} was`;
}

/** One deployment at a time, of the newest release. */
function* checkStack(view: ClusterView, stack: string): Generator<string> {
  const releases = releasesOf(view, stack);
  for (const { ID, status } of releases.slice(1)) {
    if (status.State === 'deploying') yield `release ${ID} is being deployed, and is not the newest`;
  }
}

/** Why stacks are not what their newest releases ask for. */
export function* unsettledStacks(view: ClusterView): Generator<string> {
  const stacks = new Set([...view.all('release')].map(({ stack }) => stack));
  for (const stack of stacks) {
    const [newest] = releasesOf(view, stack);
    if (newest?.status.State === 'deploying' && !isWaiting(view, stack))
      yield `release ${newest.ID} is being deployed`;
    if (newest?.status.State === 'superseded') yield `release ${newest.ID} is superseded by none`;
    if (newest?.status.State === 'deployed') yield* differences(view, newest);
  }
}

function* differences(view: ClusterView, { ID, spec, stack }: ReleaseRecord): Generator<string> {
  const there = new Map(servicesOf(view, stack).map((service) => [service.Spec.Name, service]));
  for (const wanted of spec.services) {
    const service = there.get(wanted.spec.Name);
    there.delete(wanted.spec.Name);
    if (service === undefined) yield `release ${ID} is deployed, and has no service ${wanted.spec.Name}`;
    else if (!isAsked(view, service, wanted))
      yield `release ${ID} is deployed, and ${wanted.spec.Name} is another`;
  }
  for (const name of there.keys()) yield `release ${ID} is deployed, and ${name} is still there`;
}

/** By what can be seen of it: image, replicas, and what is in its configs. */
function isAsked(view: ClusterView, { Spec }: ServiceRecord, { spec }: StackService): boolean {
  const seen = (each: typeof Spec): unknown => {
    const { Image, Configs = [] } = each.TaskTemplate.ContainerSpec;
    return [Image, each.Mode, Configs.map(({ ConfigName }) => ConfigName)];
  };
  const { Configs = [] } = Spec.TaskTemplate.ContainerSpec;
  const named = Configs.every((each) => view.get('config', each.ConfigID)?.Spec.Name === each.ConfigName);
  return named && isDeepStrictEqual(seen(Spec), seen(spec));
}

/** A task of it waits for what nothing but a person can bring about. */
function isWaiting(view: ClusterView, stack: string): boolean {
  return servicesOf(view, stack).some(({ ID }) =>
    [...view.tasksOfService(ID)].some((task) => task.waiting !== undefined && isWanted(task)),
  );
}

/** Those that are not on their way out. */
export function servicesOf(view: ClusterView, stack: string): ServiceRecord[] {
  return [...view.all('service')].filter(
    ({ Spec, removing }) => removing !== true && Spec.Labels?.[STACK_LABEL.namespace] === stack,
  );
}

/** The newest first. */
export function releasesOf(view: ClusterView, stack: string): ReleaseRecord[] {
  return [...view.all('release')]
    .filter((release) => release.stack === stack)
    .sort((a, b) => b.number - a.number);
}
