import type { Clock } from '#control/clock.ts';
import { cancelled, kindOf, unavailable } from '#model/errors.ts';

/**
 * Runs `work` with a signal that aborts when `ms` have passed (`unavailable`, naming `what`) or `signal` aborts (`cancelled`); its reason is the
 * error that is thrown. `work` ends soon after its signal aborts.
 */
export async function within<T>(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const both = new AbortController();
  const timer = new AbortController();
  const cancel = (): void => both.abort(cancelled(`${what} was cancelled`, { cause: signal.reason }));
  if (signal.aborted) cancel();
  signal.addEventListener('abort', cancel, { once: true });
  const late = (): void => both.abort(unavailable(`${what} took more than ${ms} ms`));
  const timing = clock.sleep(ms, timer.signal).then(late, (error: unknown) => {
    // the timer itself is stopped when the work is done
    if (!timer.signal.aborted) both.abort(error);
  });
  try {
    both.signal.throwIfAborted();
    return await work(both.signal);
  } catch (error) {
    // whatever the work made of it, who gave up is the reason
    throw both.signal.aborted && kindOf(both.signal.reason) !== 'internal' ? both.signal.reason : error;
  } finally {
    signal.removeEventListener('abort', cancel);
    timer.abort();
    await timing;
  }
}

/** Rejects with the signal's reason when it aborts before `promise` settles, which goes on. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    // nobody asks any more what becomes of it
    promise.catch(() => undefined);
    throw signal.reason;
  }
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
