/** How long a failure counts against its node (milliseconds), as Swarm's. */
export const FAILURE_WINDOW_MS: number = 5 * 60_000;

interface Failure {
  readonly atMs: number;
  readonly revisionId: string;
  readonly nodeId: string;
}

/**
 * Which nodes tasks of a service's revision failed on lately. What is noted counts from the next {@link advance} on, which is
 * when the time is known. A failure costs O(1), however many there are.
 */
export class FailureLog {
  #noted: Failure[] = [];
  /** Ordered by time, but for clocks of nodes that are ahead or behind: those are forgotten somewhat late. */
  #recent: Failure[] = [];
  #forgotten = 0;
  readonly #counts = new Map<string, Map<string, number>>();

  note(failure: Failure): void {
    this.#noted.push(failure);
  }

  /** Counts what was noted and forgets what is too old at `nowMs`. */
  advance(nowMs: number): void {
    const since = nowMs - FAILURE_WINDOW_MS;
    if (this.#noted.length > 0) {
      // a clock that is ahead makes no failure last longer
      const fresh = this.#noted
        .map((failure) => ({ ...failure, atMs: Math.min(failure.atMs, nowMs) }))
        .filter(({ atMs }) => atMs > since)
        .sort((a, b) => a.atMs - b.atMs);
      this.#noted = [];
      for (const failure of fresh) {
        this.#recent.push(failure);
        this.#count(failure, 1);
      }
    }
    for (;;) {
      const oldest = this.#recent[this.#forgotten];
      if (oldest === undefined || oldest.atMs > since) break;
      this.#count(oldest, -1);
      this.#forgotten += 1;
    }
    if (this.#forgotten > this.#recent.length / 2) {
      this.#recent = this.#recent.slice(this.#forgotten);
      this.#forgotten = 0;
    }
  }

  /** By node; nodes without any are left out. */
  failuresOf(revisionId: string): ReadonlyMap<string, number> | undefined {
    return this.#counts.get(revisionId);
  }

  #count({ revisionId, nodeId }: Failure, sign: 1 | -1): void {
    const counts = this.#counts.get(revisionId) ?? new Map<string, number>();
    const count = (counts.get(nodeId) ?? 0) + sign;
    if (count > 0) counts.set(nodeId, count);
    else counts.delete(nodeId);
    if (counts.size > 0) this.#counts.set(revisionId, counts);
    else this.#counts.delete(revisionId);
  }
}
