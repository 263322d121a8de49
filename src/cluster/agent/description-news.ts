import type { Clock } from '#control/clock.ts';
import type { NodeDescription } from '#model/node.ts';

/** Between two descriptions: what changes all the time (a machine that builds images) is not written all the time. */
const INTERVAL_MS = 1000;
/** One thing that happens changes several: an image is made, then named. */
const SETTLE_MS = 50;

/** Where a node's description comes from; `watch` calls back when it may have changed, until `signal` aborts. */
export interface DescriptionSource {
  /** The same object as long as nothing has changed. */
  describe(): Promise<NodeDescription>;
  watch?: (onChange: () => void, signal: AbortSignal) => void;
}

/** What a node says of itself, and when there is something new to say. One reader at a time. */
export class DescriptionNews {
  readonly #source: DescriptionSource;
  readonly #clock: Clock;
  #said: NodeDescription | undefined;
  #saidMs = Number.NEGATIVE_INFINITY;
  #mayBeOld = false;
  #wake: (() => void) | undefined;

  constructor(source: DescriptionSource, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  /** Begins to listen for changes. */
  watch(signal: AbortSignal): void {
    this.#source.watch?.(() => this.lookAgain(), signal);
  }

  /** The description may have changed. */
  lookAgain(): void {
    this.#mayBeOld = true;
    this.#wake?.();
  }

  /** What there is to say now, to somebody who knows nothing. */
  async current(): Promise<NodeDescription> {
    this.#mayBeOld = false;
    this.#said = await this.#source.describe();
    return this.#said;
  }

  /** The next description that differs from the last one, at once, but at most one a second; undefined when `signal` aborts. */
  async next(signal: AbortSignal): Promise<NodeDescription | undefined> {
    const wake = (): void => this.#wake?.();
    signal.addEventListener('abort', wake, { once: true });
    try {
      for (;;) {
        while (!this.#mayBeOld && !signal.aborted) await this.#change();
        const early = this.#saidMs + INTERVAL_MS - this.#clock.monotonicMs();
        await this.#clock.sleep(Math.max(SETTLE_MS, early), signal).catch(() => undefined);
        if (signal.aborted) return undefined;
        const before = this.#said;
        const now = await this.current();
        if (now === before) continue;
        this.#saidMs = this.#clock.monotonicMs();
        return now;
      }
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  async #change(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
    this.#wake = undefined;
  }
}
