import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from './clock.ts';

interface Sleeper {
  readonly endsMs: number;
  readonly order: number;
  wake: (() => void) | undefined;
}

/** Time that only passes when a test or a simulation says so. Sleepers wake in the order of their ends, then of their calls. */
export class ManualClock implements Clock {
  /** A binary heap by end; those who were woken or cut off stay in it until they come up. */
  readonly #sleepers: Sleeper[] = [];
  #order = 0;
  #nowMs = 1_000_000;

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (signal.aborted) {
      reject(signal.reason);
      return promise;
    }
    const sleeper: Sleeper = { endsMs: this.#nowMs + Math.max(0, ms), order: this.#order++, wake: undefined };
    const abort = (): void => {
      sleeper.wake = undefined;
      reject(signal.reason);
    };
    sleeper.wake = () => {
      signal.removeEventListener('abort', abort);
      resolve();
    };
    this.#push(sleeper);
    signal.addEventListener('abort', abort, { once: true });
    return promise;
  }

  /** Lets time pass: who sleeps wakes in order, and what follows from it is done before the next one wakes. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await turn();
    while (await this.wakeNext(untilMs));
    this.#nowMs = untilMs;
  }

  /** Wakes the next sleeper whose time comes by `untilMs`, and waits for what follows from it; false when there is none. */
  async wakeNext(untilMs: number): Promise<boolean> {
    for (let [next] = this.#sleepers; next !== undefined && next.endsMs <= untilMs; [next] = this.#sleepers) {
      this.#pop();
      if (next.wake === undefined) continue;
      this.#nowMs = Math.max(this.#nowMs, next.endsMs);
      next.wake();
      await turn();
      return true;
    }
    return false;
  }

  #push(sleeper: Sleeper): void {
    const heap = this.#sleepers;
    let at = heap.length;
    heap.push(sleeper);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(sleeper, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = sleeper;
  }

  #pop(): void {
    const heap = this.#sleepers;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let below = heap[child];
      const right = heap[child + 1];
      if (below !== undefined && right !== undefined && isBefore(right, below)) {
        child++;
        below = right;
      }
      if (below === undefined || !isBefore(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Sleeper, b: Sleeper): boolean {
  return a.endsMs < b.endsMs || (a.endsMs === b.endsMs && a.order < b.order);
}
