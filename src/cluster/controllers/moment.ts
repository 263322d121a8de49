/**
 * Whether it is still to wait for a moment that was `periodMs` ahead when it was set. Dates are of whichever leader wrote them: one
 * that is further ahead than twice the period is of a clock that was put back since, and counts as come.
 */
export function isAhead(atMs: number, o: { nowMs: number; periodMs: number }): boolean {
  return atMs > o.nowMs && atMs - o.nowMs <= 2 * o.periodMs;
}
