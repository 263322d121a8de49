import { LEADER_KEY } from '#cluster/state/cluster-view.ts';
import type { Guard } from '#cluster/state/record-transaction.ts';
import type { Store, StoreLease } from '#cluster/store/store.ts';
import { backoffMs } from '#control/backoff.ts';
import type { Clock } from '#control/clock.ts';

/** A leader that dies is followed by another after at most this, and what the store takes to notice. */
export const LEADER_TTL_MS = 3000;

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 1000;

/** Who leads, as it stands in the store. */
export interface Leader {
  readonly nodeId: string;
  /** `host:port` where agents find it. */
  readonly address: string;
}

/** What stands under the leader's key; undefined for what is none. */
export function parseLeader(text: string | undefined): Leader | undefined {
  if (text === undefined) return undefined;
  const { nodeId, address }: Partial<Leader> = JSON.parse(text);
  return nodeId === undefined || address === undefined ? undefined : { nodeId, address };
}

/** What the one who stands knows of who led last; kept from one standing to the next. */
interface Candidacy {
  predecessor: Leader | undefined;
}

/** What leading gives: a guard for writes, and a signal that is aborted before anybody else can lead. */
export interface Leadership {
  readonly guard: Guard;
  readonly lost: AbortSignal;
  /** Looks at the clock: a process that stood still may be asked something before `lost` could be aborted. */
  readonly isHeld: () => boolean;
  /** Who led before, as far as is known here; may be the same. */
  readonly predecessor: Leader | undefined;
}

/**
 * Stands for leader until `signal` aborts; whenever elected, calls `lead`, whose promise ends the leadership (it has to settle
 * when {@link Leadership.lost} aborts). Errors of the store mean "not now".
 */
export async function campaign(o: {
  store: Store;
  clock: Clock;
  self: Leader;
  lead: (leadership: Leadership) => Promise<void>;
  report: (message: string, details: object) => void;
  signal: AbortSignal;
}): Promise<void> {
  let failures = 0;
  const candidacy: Candidacy = { predecessor: undefined };
  while (!o.signal.aborted) {
    try {
      await standOnce(o, candidacy);
      failures = 0;
    } catch (error) {
      if (o.signal.aborted) return;
      o.report('the election failed', { error: String(error) });
      const wait = backoffMs({ attempt: failures++, firstMs: FIRST_RETRY_MS, maxMs: LONGEST_RETRY_MS });
      await o.clock.sleep(wait, o.signal).catch(() => undefined);
    }
  }
}

/** Until the leader's key is free, then takes it; when it is lost again, or somebody was faster, the caller stands again. */
async function standOnce(o: Parameters<typeof campaign>[0], candidacy: Candidacy): Promise<void> {
  const ending = new AbortController();
  const signal = AbortSignal.any([o.signal, ending.signal]);
  try {
    const { revision, entries } = await o.store.list(LEADER_KEY);
    const held = entries.find(({ key }) => key === LEADER_KEY);
    if (held !== undefined) {
      candidacy.predecessor = parseLeader(held.value);
      await untilDeleted(o.store, revision, signal);
      return;
    }
    const lease = await o.store.lease(LEADER_TTL_MS, signal);
    try {
      await leadWith(o, candidacy, lease);
    } finally {
      await lease
        .revoke()
        .catch((error: unknown) => o.report('the lease was not given back', { error: String(error) }));
    }
  } finally {
    ending.abort();
  }
}

async function leadWith(
  o: Parameters<typeof campaign>[0],
  candidacy: Candidacy,
  lease: StoreLease,
): Promise<void> {
  const taken = await o.store.commit({
    checks: [{ key: LEADER_KEY, revision: 0 }],
    puts: [{ key: LEADER_KEY, value: JSON.stringify(o.self), lease: lease.id }],
    deletes: [],
  });
  if (!taken.committed) return;
  const { predecessor } = candidacy;
  candidacy.predecessor = o.self;
  await o.lead({
    guard: { key: LEADER_KEY, revision: taken.revision },
    lost: AbortSignal.any([lease.lost, o.signal]),
    isHeld: () => lease.isHeld() && !o.signal.aborted,
    predecessor,
  });
}

async function untilDeleted(store: Store, revision: number, signal: AbortSignal): Promise<void> {
  for await (const { changes } of store.watch(LEADER_KEY, revision, signal)) {
    if (changes.some((change) => change.kind === 'delete')) return;
  }
}
