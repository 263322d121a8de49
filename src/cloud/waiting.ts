import { setTimeout as delay } from 'node:timers/promises';
import { unavailable } from '#model/errors.ts';

const LOOK_EVERY_MS = 10;

/** Resolves with what `look` finds first; `unavailable` when that is nothing for `limitMs`. For what the kernel does not announce. */
export async function waitFor<T>(
  look: () => T | undefined | Promise<T | undefined>,
  o: { what: string; limitMs: number },
): Promise<T> {
  const deadline = performance.now() + o.limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw unavailable(`not within ${o.limitMs / 1000} s: ${o.what}`);
    await delay(LOOK_EVERY_MS);
  }
}
