import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '#control/clock.ts';
import { ManualClock } from '#control/manual-clock.ts';
import { unavailable } from '#model/errors.ts';
import { keepLease, type LeaseTerms } from './kept-lease.ts';

const TTL_MS = 9000;

function terms(clock: Clock, renew: LeaseTerms['renew']): LeaseTerms {
  const { signal } = new AbortController();
  return {
    ...{ id: '1', ttlMs: TTL_MS, grantedMs: clock.monotonicMs(), clock, signal, renew },
    revoke: async () => undefined,
  };
}

test('a lease is renewed often enough, and seldom', async () => {
  const clock = new ManualClock();
  let renewals = 0;
  const lease = keepLease(
    terms(clock, async () => {
      renewals += 1;
      return true;
    }),
  );
  await clock.advance(TTL_MS * 10);
  assert.equal(lease.lost.aborted, false);
  assert.ok(renewals >= 30 && renewals <= 33, String(renewals));
});

test('a renewal that is never answered does not hold up the end', async () => {
  const clock = new ManualClock();
  const lease = keepLease(terms(clock, () => new Promise(() => undefined)));
  await clock.advance(TTL_MS - 1);
  assert.equal(lease.lost.aborted, true);
});

test('a renewal that is never answered is followed by another before the end', async () => {
  const clock = new ManualClock();
  let renewals = 0;
  const lease = keepLease(
    terms(clock, () => {
      renewals += 1;
      return renewals === 1 ? new Promise(() => undefined) : Promise.resolve(true);
    }),
  );
  await clock.advance(TTL_MS * 3);
  assert.equal(lease.lost.aborted, false);
});

test('a lease that the store knows no more is lost at once', async () => {
  const clock = new ManualClock();
  const lease = keepLease(terms(clock, async () => false));
  await clock.advance(TTL_MS / 3);
  assert.equal(lease.lost.aborted, true);
});

test('setting the time back does not lengthen a lease', async () => {
  const clock = new ManualClock();
  let backMs = 0;
  const turned: Clock = {
    nowMs: () => clock.nowMs() - backMs,
    monotonicMs: () => clock.monotonicMs(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
  };
  const lease = keepLease(
    terms(turned, async () => {
      throw unavailable('away');
    }),
  );
  for (let step = 0; step < 9; step += 1) {
    await clock.advance(TTL_MS / 9);
    backMs += 60_000;
  }
  assert.equal(lease.lost.aborted, true);
});

test('the end of its signal gives a lease back', async () => {
  const clock = new ManualClock();
  const end = new AbortController();
  const revoked = Promise.withResolvers<void>();
  const lease = keepLease({
    ...terms(clock, async () => true),
    signal: end.signal,
    revoke: async () => revoked.resolve(),
  });
  end.abort();
  await revoked.promise;
  assert.equal(lease.lost.aborted, true);
});
