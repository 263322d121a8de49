/** Wakes who waits for the next commit. */
export class CommitSignal {
  readonly #waiting = new Set<() => void>();

  /** Wakes everyone who waits now. */
  announce(): void {
    for (const wake of this.#waiting) wake();
  }

  /** Resolves at the next commit from this call on, or when `signal` aborts. */
  next(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => {
      this.#waiting.delete(wake);
      signal.removeEventListener('abort', wake);
      resolve();
    };
    this.#waiting.add(wake);
    signal.addEventListener('abort', wake, { once: true });
    return promise;
  }
}
