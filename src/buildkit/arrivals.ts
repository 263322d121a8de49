import { EventEmitter, once } from 'node:events';
import { cancelled, notFound } from '#model/errors.ts';

/** How long one that is asked for has to come: clients make what belongs together in calls side by side. */
const PATIENCE_MS = 5000;

/** What clients bring, by its ID; it may be asked for before it is there. */
export class Arrivals<T> {
  readonly #what: string;
  readonly #there = new Map<string, T>();
  readonly #events = new EventEmitter();

  /** `what` it is, for errors. */
  constructor(what: string) {
    this.#what = what;
  }

  get size(): number {
    return this.#there.size;
  }

  values(): IterableIterator<T> {
    return this.#there.values();
  }

  /** Instead of one that came before under the same ID. */
  add(id: string, thing: T): void {
    this.#there.set(id, thing);
    this.#events.emit(`arrival ${id}`);
  }

  /** Unless another one has come under the ID since. */
  delete(id: string, thing: T): void {
    if (this.#there.get(id) === thing) this.#there.delete(id);
  }

  /** The one that has been here longest, of those that may go. */
  deleteOldest(mayGo: (thing: T) => boolean): void {
    const [id] = this.#there.entries().find(([, thing]) => mayGo(thing)) ?? [];
    if (id !== undefined) this.#there.delete(id);
  }

  /** `not-found` for what does not come within five seconds. */
  async get(id: string, signal: AbortSignal): Promise<T> {
    const known = this.#there.get(id);
    if (known !== undefined) return known;
    try {
      const patience = AbortSignal.timeout(PATIENCE_MS);
      await once(this.#events, `arrival ${id}`, { signal: AbortSignal.any([signal, patience]) });
    } catch (cause) {
      if (signal.aborted) throw cancelled('the build was cancelled', { cause });
    }
    const come = this.#there.get(id);
    if (come === undefined) throw notFound(`No such ${this.#what}: ${id}`);
    return come;
  }
}
