import type { Clock } from '#control/clock.ts';
import { pause } from '#control/pause.ts';
import { kindOf } from '#model/errors.ts';
import type { StoreLease } from './store.ts';

/** Of its time a lease is renewed: two renewals may fail before it is lost. */
const RENEWALS = 3;
/** How soon a renewal that failed is tried again, as a part of the lease's time. */
const REPETITIONS = 20;
/** How much of its time the holder counts: the store's clock may run a little faster than ours. */
const TRUSTED = 0.95;

export interface LeaseTerms {
  readonly id: string;
  readonly ttlMs: number;
  /** On the clock's `monotonicMs`, when the answer that granted it was asked for: its time counts from there. */
  readonly grantedMs: number;
  readonly clock: Clock;
  /** Ends the keeping: the lease is given back. */
  readonly signal: AbortSignal;
  /** False when the store knows the lease no more. */
  renew(signal: AbortSignal): Promise<boolean>;
  revoke(): Promise<void>;
}

/**
 * Renews a lease until it is revoked, `signal` aborts or its time has passed since the store last answered: who holds a lease
 * that is not `lost` may rely on the store not having ended it, where clocks differ by less than a twentieth.
 */
export function keepLease(terms: LeaseTerms): StoreLease {
  const over = new AbortController();
  const revoke = async (): Promise<void> => {
    over.abort();
    await terms.revoke();
  };
  const giveBack = (): void => {
    // nobody waits for this one; a lease that the store does not hear about ends by its time
    revoke().catch(() => undefined);
  };
  if (terms.signal.aborted) giveBack();
  else terms.signal.addEventListener('abort', giveBack, { once: true });
  over.signal.addEventListener('abort', () => terms.signal.removeEventListener('abort', giveBack), {
    once: true,
  });
  const held: Held = { endsMs: terms.grantedMs + terms.ttlMs * TRUSTED };
  void renewUntilOver(terms, held, over).finally(() => over.abort());
  const isHeld = (): boolean => {
    if (terms.clock.monotonicMs() >= held.endsMs) over.abort();
    return !over.signal.aborted;
  };
  return { id: terms.id, lost: over.signal, isHeld, revoke };
}

/** One for all renewals. */
const ENOUGH = new Error('the renewal is over');

interface Held {
  /** Until when the lease may be relied on. */
  endsMs: number;
}

async function renewUntilOver(terms: LeaseTerms, held: Held, over: AbortController): Promise<void> {
  const { clock } = terms;
  const ttlMs = terms.ttlMs * TRUSTED;
  let pauseMs = ttlMs / RENEWALS;
  while (!over.signal.aborted) {
    const now = clock.monotonicMs();
    if (now >= held.endsMs) return;
    if (!(await pause(clock, Math.min(pauseMs, held.endsMs - now), over.signal))) return;
    const askedMs = clock.monotonicMs();
    // one that hangs leaves time for another: etcd may be changing its leader
    const limitMs = Math.min(held.endsMs - askedMs, ttlMs / RENEWALS);
    const answer = await renewedBefore(terms, limitMs, over.signal);
    if (answer === 'gone') return;
    if (answer === 'renewed') held.endsMs = askedMs + ttlMs;
    pauseMs = ttlMs / (answer === 'renewed' ? RENEWALS : REPETITIONS);
  }
}

/** One renewal, given up after its time. */
async function renewedBefore(
  terms: LeaseTerms,
  limitMs: number,
  over: AbortSignal,
): Promise<'renewed' | 'gone' | 'unanswered'> {
  if (limitMs <= 0) return 'unanswered';
  const enough = new AbortController();
  const ended = AbortSignal.any([enough.signal, over]);
  try {
    const renewed = terms
      .renew(ended)
      .then((known) => (known ? 'renewed' : 'gone') as 'renewed' | 'gone')
      .catch((error: unknown) => (kindOf(error) === 'not-found' ? 'gone' : 'unanswered'));
    const late = pause(terms.clock, limitMs, ended).then(() => 'unanswered' as const);
    return await Promise.race([renewed, late]);
  } finally {
    enough.abort(ENOUGH);
  }
}
