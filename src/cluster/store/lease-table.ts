import type { Clock } from '#control/clock.ts';
import { pause } from '#control/pause.ts';

interface HeldLease {
  readonly ttlMs: number;
  readonly keys: Set<string>;
  readonly over: AbortController;
  endsMs: number;
}

/**
 * The leases of a store that lives in one process: who ends when, and what goes with it. Nothing of it is written: with the process
 * all leases are over.
 */
export class LeaseTable implements Disposable {
  readonly #clock: Clock;
  readonly #expire: (id: string, keys: readonly string[]) => void;
  readonly #leases = new Map<string, HeldLease>();
  readonly #leaseOfKey = new Map<string, string>();
  #last = 0;

  /** `expire` is called with what a lease takes with it when its time has passed. */
  constructor(o: { clock: Clock; expire: (id: string, keys: readonly string[]) => void }) {
    this.#clock = o.clock;
    this.#expire = o.expire;
  }

  grant(ttlMs: number): string {
    this.#last += 1;
    const id = String(this.#last);
    const endsMs = this.#clock.monotonicMs() + ttlMs;
    const lease: HeldLease = { ttlMs, keys: new Set(), over: new AbortController(), endsMs };
    this.#leases.set(id, lease);
    void this.#watch(id, lease);
    return id;
  }

  has(id: string): boolean {
    return this.#leases.has(id);
  }

  /** False for a lease that is over. */
  renew(id: string): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined) return false;
    lease.endsMs = this.#clock.monotonicMs() + lease.ttlMs;
    return true;
  }

  /** Forgets the lease and gives the keys that go with it. */
  end(id: string): string[] {
    const lease = this.#leases.get(id);
    if (lease === undefined) return [];
    this.#leases.delete(id);
    lease.over.abort();
    for (const key of lease.keys) this.#leaseOfKey.delete(key);
    return [...lease.keys];
  }

  ids(): string[] {
    return [...this.#leases.keys()];
  }

  /** From now on the key goes with this lease, or with none. */
  attach(key: string, id: string | undefined): void {
    const before = this.#leaseOfKey.get(key);
    if (before === id) return;
    if (before !== undefined) this.#leases.get(before)?.keys.delete(key);
    if (id === undefined) this.#leaseOfKey.delete(key);
    else {
      this.#leaseOfKey.set(key, id);
      this.#leases.get(id)?.keys.add(key);
    }
  }

  [Symbol.dispose](): void {
    for (const { over } of this.#leases.values()) over.abort();
    this.#leases.clear();
  }

  async #watch(id: string, lease: HeldLease): Promise<void> {
    const { signal } = lease.over;
    while (!signal.aborted) {
      const left = lease.endsMs - this.#clock.monotonicMs();
      if (left <= 0) {
        const keys = this.end(id);
        this.#expire(id, keys);
        return;
      }
      await pause(this.#clock, left, signal);
    }
  }
}
