import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Write } from '#cluster/state/tables.ts';
import type { ViewListener } from '#cluster/state/view-follower.ts';
import type { EtcdClient } from '#cluster/store/etcd-client.ts';
import { type EtcdMemberInfo, listMembers, removeMember } from '#cluster/store/etcd-cluster.ts';
import type { Clock } from '#control/clock.ts';
import { messageOf } from '#model/errors.ts';
import type { NodeRecord } from '#model/node.ts';

/** How often the members are compared with the nodes though nothing was heard of either. */
const LOOK_MS = 30_000;
/** What belongs together comes together: a demotion, and the news that the node is down. */
const SETTLE_MS = 500;
const RETRY_MS = 5000;

/** Who was demoted leaves by itself, and within so long if it can; one that came back without its store cannot. */
const LEAVE_MS = 60_000;

/** Since when managers that were demoted are seen not to have left. */
export class LateLeavers {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #sinceMs = new Map<string, number>();

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  /** Looks at who is a worker and still says that it manages; gives those that have had the time to leave. */
  look(view: ClusterView): ReadonlySet<string> {
    const nowMs = this.#clock.monotonicMs();
    const late = new Set<string>();
    for (const { ID, Spec, ManagerStatus } of view.all('node')) {
      if (Spec.Role !== 'worker' || ManagerStatus === undefined) {
        this.#sinceMs.delete(ID);
        continue;
      }
      const sinceMs = this.#sinceMs.get(ID) ?? nowMs;
      this.#sinceMs.set(ID, sinceMs);
      if (nowMs - sinceMs >= LEAVE_MS) late.add(ID);
    }
    return late;
  }
}

/**
 * Members of the store that no manager stands for any more: their node was removed, or is a worker and cannot leave by itself because it is
 * down or is one of those that are `late`. A manager that is down stays a member: it may come back.
 */
export function abandonedMembers<T extends Pick<EtcdMemberInfo, 'name'>>(
  members: readonly T[],
  node: (id: string) => NodeRecord | undefined,
  late: ReadonlySet<string>,
): T[] {
  return members.filter(({ name }) => {
    // one that has not started yet has no name, and no vote
    if (name === '') return false;
    const record = node(name);
    return record === undefined || isAbandoned(record, late);
  });
}

/** Records of workers that still say that they manage, and cannot take it back themselves. */
export function abandonedManagers(view: ClusterView, late: ReadonlySet<string>): Write[] {
  return [...view.all('node')].flatMap(({ ManagerStatus, ...node }) => {
    const isLeft = ManagerStatus !== undefined && isAbandoned(node, late);
    return isLeft ? [{ table: 'node', put: node } as const] : [];
  });
}

function isAbandoned({ ID, Spec, Status }: NodeRecord, late: ReadonlySet<string>): boolean {
  return Spec.Role === 'worker' && (Status.State === 'down' || late.has(ID));
}

/**
 * Keeps the store's members equal to the managers while this manager leads, until `signal` aborts: a manager that died and was demoted or
 * removed is taken out, for as long as it counts the others need one more for their quorum.
 */
export async function keepStoreMembers(o: {
  readonly view: ClusterView;
  readonly listen: (listener: ViewListener, signal: AbortSignal) => void;
  readonly isLeader: () => boolean;
  readonly write: (decide: () => readonly Write[]) => Promise<void>;
  readonly client: EtcdClient;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly report: (message: string, details: object) => void;
}): Promise<void> {
  const { signal, clock } = o;
  const leavers = new LateLeavers(clock);
  let wake: (() => void) | undefined;
  o.listen((changes) => {
    if (changes.some(({ table }) => table === 'node')) wake?.();
  }, signal);
  while (!signal.aborted) {
    let waitMs = LOOK_MS;
    try {
      const late = leavers.look(o.view);
      if (o.isLeader()) await removeAbandoned(o, late);
    } catch (error) {
      if (signal.aborted) return;
      waitMs = RETRY_MS;
      o.report('the members of the store are not those that manage yet', { error: messageOf(error) });
    }
    const waking = new AbortController();
    wake = () => waking.abort();
    await clock.sleep(waitMs, AbortSignal.any([signal, waking.signal])).catch(() => undefined);
    wake = undefined;
    await clock.sleep(SETTLE_MS, signal).catch(() => undefined);
  }
}

async function removeAbandoned(
  o: Parameters<typeof keepStoreMembers>[0],
  late: ReadonlySet<string>,
): Promise<void> {
  const members = await listMembers(o.client);
  for (const { id, name } of abandonedMembers(members, (nodeId) => o.view.get('node', nodeId), late)) {
    await removeMember(o.client, id);
    o.report('a manager that is gone was taken out of the store', { nodeId: name });
  }
  await o.write(() => abandonedManagers(o.view, late));
}
