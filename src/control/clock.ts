import { setTimeout as delay } from 'node:timers/promises';

/** Time as long-lived work sees it: passed in, so that tests and simulations supply their own. */
export interface Clock {
  /** Milliseconds since the epoch. */
  nowMs(): number;
  /** Milliseconds since some moment, which only ever grow: for how long something took or lasts, whatever becomes of the date. */
  monotonicMs(): number;
  /** Resolves after `ms`; rejects with an AbortError when `signal` aborts first. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** The machine's time. Sleeping does not keep the process alive. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, { signal, ref: false }),
};
