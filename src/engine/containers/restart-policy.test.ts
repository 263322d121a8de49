import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RestartPolicy } from '#model/container.ts';
import { checkRestartPolicy, nextRestart, shouldRestart, shouldStartWithMachine } from './restart-policy.ts';

function policy(name: RestartPolicy['Name'], maximum = 0): RestartPolicy {
  return { Name: name, MaximumRetryCount: maximum };
}

test('a policy decides by exit code, count and who ended the container', () => {
  const failed = { exitCode: 1, stoppedByUser: false, restartCount: 0 };
  const done = { ...failed, exitCode: 0 };
  const stopped = { ...failed, stoppedByUser: true };
  assert.equal(shouldRestart(policy('no'), failed), false);
  assert.equal(shouldRestart(policy(''), failed), false);
  for (const name of ['always', 'unless-stopped'] as const) {
    assert.equal(shouldRestart(policy(name), failed), true);
    assert.equal(shouldRestart(policy(name), done), true);
    assert.equal(shouldRestart(policy(name), stopped), false);
  }
  assert.equal(shouldRestart(policy('on-failure'), failed), true);
  assert.equal(shouldRestart(policy('on-failure'), done), false);
  assert.equal(shouldRestart(policy('on-failure', 2), { ...failed, restartCount: 1 }), true);
  assert.equal(shouldRestart(policy('on-failure', 2), { ...failed, restartCount: 2 }), false);
});

test('with the machine start what has run before and should always run', () => {
  const ran = { stoppedByUser: false, hasBeenStarted: true };
  assert.equal(shouldStartWithMachine(policy('always'), { ...ran, stoppedByUser: true }), true);
  assert.equal(shouldStartWithMachine(policy('unless-stopped'), ran), true);
  assert.equal(shouldStartWithMachine(policy('unless-stopped'), { ...ran, stoppedByUser: true }), false);
  assert.equal(shouldStartWithMachine(policy('on-failure'), ran), false);
  assert.equal(shouldStartWithMachine(policy('always'), { ...ran, hasBeenStarted: false }), false);
});

test('delays double from 100 ms and start over after ten steady seconds', () => {
  assert.deepEqual(nextRestart({ quickRestarts: 0, ranMs: 5 }), { quickRestarts: 1, delayMs: 100 });
  assert.deepEqual(nextRestart({ quickRestarts: 3, ranMs: 5 }), { quickRestarts: 4, delayMs: 800 });
  assert.deepEqual(nextRestart({ quickRestarts: 30, ranMs: 5 }), { quickRestarts: 31, delayMs: 60_000 });
  assert.deepEqual(nextRestart({ quickRestarts: 30, ranMs: 10_000 }), { quickRestarts: 1, delayMs: 100 });
});

test('a policy that makes no sense is refused', () => {
  assert.throws(() => checkRestartPolicy(policy('always', 3)), /can only be used with 'on-failure'/);
  assert.throws(() => checkRestartPolicy(policy('on-failure', -1)), /cannot be negative/);
  checkRestartPolicy(policy('on-failure', 3));
});
