import type { Store } from '#cluster/store/store.ts';
import { backoffMs } from '#control/backoff.ts';
import type { Clock } from '#control/clock.ts';
import { cancelled, kindOf, messageOf } from '#model/errors.ts';
import { ClusterView } from './cluster-view.ts';
import type { ViewChange } from './tables.ts';

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 2000;

export type ViewListener = (changes: readonly ViewChange[], view: ClusterView) => void;

/**
 * Keeps a view equal to the store: a listing, then every change without a gap; a listing again when the store has forgotten what
 * is missing or was away. Listeners hear of every difference exactly once, in order, after the view has it.
 */
export class ViewFollower {
  readonly view: ClusterView = new ClusterView();
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #listeners = new Set<ViewListener>();
  readonly #waiting = new Set<{ revision: number; resolve: () => void }>();
  #error: string | undefined = 'the store was not read yet';

  constructor(o: { store: Store; clock: Clock }) {
    this.#store = o.store;
    this.#clock = o.clock;
  }

  /** Why the view may be old; undefined while the store is followed. */
  get error(): string | undefined {
    return this.#error;
  }

  /** Hears of changes from now on, until `signal` aborts. */
  listen(listener: ViewListener, signal: AbortSignal): void {
    this.#listeners.add(listener);
    signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true });
  }

  /** Resolves when the view has this revision; rejects with `cancelled` when `signal` aborts. */
  untilRevision(revision: number, signal: AbortSignal): Promise<void> {
    if (this.view.revision >= revision) return Promise.resolve();
    if (signal.aborted) return Promise.reject(cancelled('the cluster is being left'));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = { revision, resolve };
    const stop = (): void => {
      this.#waiting.delete(waiting);
      reject(cancelled('the cluster is being left'));
    };
    this.#waiting.add(waiting);
    signal.addEventListener('abort', stop, { once: true });
    return promise.finally(() => signal.removeEventListener('abort', stop));
  }

  /** Follows until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        const listing = await this.#store.list('');
        this.#publish(this.view.replace(listing));
        this.#error = undefined;
        failures = 0;
        for await (const batch of this.#store.watch('', this.view.revision, signal)) {
          this.#publish(this.view.apply(batch));
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#error = messageOf(error);
        if (kindOf(error) === 'conflict') continue;
        const delay = backoffMs({ attempt: failures++, firstMs: FIRST_RETRY_MS, maxMs: LONGEST_RETRY_MS });
        await this.#clock.sleep(delay, signal).catch(() => undefined);
      }
    }
  }

  #publish(changes: readonly ViewChange[]): void {
    if (changes.length > 0) for (const listener of this.#listeners) listener(changes, this.view);
    for (const waiting of this.#waiting) {
      if (waiting.revision > this.view.revision) continue;
      this.#waiting.delete(waiting);
      waiting.resolve();
    }
  }
}
