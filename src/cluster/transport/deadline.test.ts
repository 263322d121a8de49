import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '#control/clock.ts';
import { DroverError } from '#model/errors.ts';
import { unlessAborted, within } from './deadline.ts';

const never = new AbortController().signal;
const forever = <T>(signal: AbortSignal): Promise<T> =>
  unlessAborted(new Promise<T>(() => undefined), signal);

/** Time that has passed (`late`), or does not pass. */
function clockThat(late: boolean): Clock & { stopped: number } {
  const clock = {
    stopped: 0,
    nowMs: () => 0,
    monotonicMs: () => 0,
    sleep: (_ms: number, signal: AbortSignal): Promise<void> =>
      late
        ? Promise.resolve()
        : new Promise((_resolve, reject) => {
            signal.addEventListener('abort', () => {
              clock.stopped++;
              reject(signal.reason);
            });
          }),
  };
  return clock;
}

function isOfKind(kind: string): (error: unknown) => boolean {
  return (error) => error instanceof DroverError && error.kind === kind;
}

test('work that is done in time stops the timer', async () => {
  const clock = clockThat(false);
  assert.equal(await within(clock, 10, never, 'it', () => Promise.resolve(1)), 1);
  await assert.rejects(
    within(clock, 10, never, 'it', () => Promise.reject(new Error('own'))),
    /own/,
  );
  assert.equal(clock.stopped, 2);
});

test('work that is late or cancelled ends with that', async () => {
  await assert.rejects(within(clockThat(true), 10, never, 'it', forever), isOfKind('unavailable'));
  const cancel = new AbortController();
  const work = within(clockThat(false), 10, cancel.signal, 'it', forever);
  cancel.abort();
  await assert.rejects(work, isOfKind('cancelled'));
  await assert.rejects(
    within(clockThat(false), 10, AbortSignal.abort(), 'it', () => assert.fail('began')),
    isOfKind('cancelled'),
  );
});

test('what is waited for too late may fail unheard', async () => {
  const failing = Promise.reject(new Error('nobody hears it'));
  await assert.rejects(unlessAborted(failing, AbortSignal.abort(new Error('too late'))), /too late/);
});
