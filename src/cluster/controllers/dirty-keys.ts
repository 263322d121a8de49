/** The keys that a controller has to look at, now or at a time: each once, in the order in which they came. */
export class DirtyKeys {
  readonly #now = new Set<string>();
  /** Key → milliseconds of a clock that only goes on. */
  readonly #later = new Map<string, number>();
  #earliest = Number.POSITIVE_INFINITY;

  get size(): number {
    return this.#now.size;
  }

  add(key: string): void {
    this.#now.add(key);
  }

  /** Of two times the earlier one counts. */
  addAt(key: string, atMs: number): void {
    const known = this.#later.get(key);
    if (known !== undefined && known <= atMs) return;
    this.#later.set(key, atMs);
    this.#earliest = Math.min(this.#earliest, atMs);
  }

  /** Makes what is due dirty; gives how many keys are. */
  wake(nowMs: number): number {
    if (this.#earliest <= nowMs) {
      this.#earliest = Number.POSITIVE_INFINITY;
      for (const [key, atMs] of this.#later) {
        if (atMs <= nowMs) {
          this.#now.add(key);
          this.#later.delete(key);
        } else this.#earliest = Math.min(this.#earliest, atMs);
      }
    }
    return this.#now.size;
  }

  /** Takes the one that is dirty longest. */
  take(): string | undefined {
    for (const key of this.#now) {
      this.#now.delete(key);
      return key;
    }
    return undefined;
  }

  /** When the next key is due: 0 for one that is, infinity for none. */
  nextAtMs(): number {
    return this.#now.size > 0 ? 0 : this.#earliest;
  }
}
