/** How long to wait before attempt `attempt` (0 is the first repetition): doubling from `firstMs` up to `maxMs`. */
export function backoffMs(o: { attempt: number; firstMs: number; maxMs: number }): number {
  // 2^31 overflows any sensible maximum long before the exponent could lose exactness
  return Math.min(o.maxMs, o.firstMs * 2 ** Math.min(Math.max(o.attempt, 0), 31));
}
