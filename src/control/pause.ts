import type { Clock } from './clock.ts';

/** Sleeps `ms`; false where `signal` cut it off, which is no error here. */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await clock.sleep(ms, signal);
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}
