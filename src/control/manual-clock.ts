import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from './clock.ts';

interface Sleeper {
  readonly endsMs: number;
  readonly wake: () => void;
}

/** Time that only passes when a test says so. */
export class ManualClock implements Clock {
  readonly #sleepers = new Set<Sleeper>();
  #nowMs = 1_000_000;

  nowMs(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (signal.aborted) reject(signal.reason);
    const abort = (): void => {
      this.#sleepers.delete(sleeper);
      reject(signal.reason);
    };
    const wake = (): void => {
      this.#sleepers.delete(sleeper);
      signal.removeEventListener('abort', abort);
      resolve();
    };
    const sleeper = { endsMs: this.#nowMs + ms, wake };
    this.#sleepers.add(sleeper);
    signal.addEventListener('abort', abort, { once: true });
    return promise;
  }

  /** Lets time pass: who sleeps wakes in order, and what follows from it is done before the next one wakes. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await turn();
    for (;;) {
      const [next] = [...this.#sleepers]
        .filter(({ endsMs }) => endsMs <= untilMs)
        .sort((a, b) => a.endsMs - b.endsMs);
      if (next === undefined) break;
      this.#nowMs = Math.max(this.#nowMs, next.endsMs);
      next.wake();
      await turn();
    }
    this.#nowMs = untilMs;
  }
}
