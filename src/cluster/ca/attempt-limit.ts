import type { Clock } from '#control/clock.ts';
import { unavailable } from '#model/errors.ts';

export interface AttemptLimits {
  /** Attempts that may fail in a window; 10 unless told. */
  readonly failures?: number;
  /** Milliseconds; a minute unless told. */
  readonly windowMs?: number;
  /** Addresses that are remembered; 10,000 unless told. Beyond it the oldest is forgotten. */
  readonly addresses?: number;
}

/** Counts the failed attempts of each address. An attempt counts from its beginning, so that many at once are not one. */
export class AttemptLimit {
  readonly #clock: Clock;
  readonly #limits: Required<AttemptLimits>;
  readonly #windows = new Map<string, { startMs: number; count: number }>();

  constructor(clock: Clock, { failures = 10, windowMs = 60_000, addresses = 10_000 }: AttemptLimits = {}) {
    this.#clock = clock;
    this.#limits = { failures, windowMs, addresses };
  }

  /** Counts an attempt. Throws `unavailable` when this address has failed too often; it may try again when its window has passed. */
  begin(address: string): void {
    const window = this.#window(address);
    if (window.count >= this.#limits.failures)
      throw unavailable(`too many failed attempts from ${address || 'there'}`, {
        hint: `check the token and try again in ${Math.ceil(this.#limits.windowMs / 1000)} seconds`,
      });
    window.count++;
  }

  /** The attempt did not fail, or not by its own fault. */
  takeBack(address: string): void {
    const window = this.#windows.get(address);
    if (window !== undefined && window.count > 0) window.count--;
  }

  #window(address: string): { startMs: number; count: number } {
    const nowMs = this.#clock.nowMs();
    const known = this.#windows.get(address);
    if (known !== undefined && nowMs - known.startMs < this.#limits.windowMs) return known;
    const fresh = { startMs: nowMs, count: 0 };
    this.#windows.delete(address);
    this.#windows.set(address, fresh);
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size <= this.#limits.addresses) break;
      this.#windows.delete(oldest);
    }
    return fresh;
  }
}
