/** One piece of work at a time for each key; different keys do not wait for each other. First come, first served. */
export class KeyedMutex {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs `work` when what was asked for under `key` before is over. With nothing before it, it starts at once. */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key);
    const turn = before === undefined ? work() : before.then(work, work);
    this.#last.set(key, turn);
    try {
      return await turn;
    } finally {
      if (this.#last.get(key) === turn) this.#last.delete(key);
    }
  }

  /** True while something runs or waits under `key`. */
  isBusy(key: string): boolean {
    return this.#last.has(key);
  }
}
