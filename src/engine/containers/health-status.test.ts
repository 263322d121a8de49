import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Health } from '#model/container.ts';
import { type HealthPlan, healthAfter, healthPlan, nextProbeMs } from './health-status.ts';

const plan: HealthPlan = {
  command: ['true'],
  intervalMs: 1000,
  timeoutMs: 1000,
  retries: 2,
  startPeriodMs: 5000,
  startIntervalMs: 100,
};
const starting: Health = { Status: 'starting', FailingStreak: 0, Log: [] };

function probe(exitCode: number): { Start: string; End: string; ExitCode: number; Output: string } {
  return { Start: '', End: '', ExitCode: exitCode, Output: '' };
}

test('a check is a command with Docker’s defaults', () => {
  const shell = ['/bin/sh', '-c'];
  assert.equal(healthPlan(undefined, shell), undefined);
  assert.equal(healthPlan({ Test: [] }, shell), undefined);
  assert.equal(healthPlan({ Test: ['NONE'] }, shell), undefined);
  assert.deepEqual(healthPlan({ Test: ['CMD-SHELL', 'test -e /x'], Interval: 5e8 }, shell), {
    command: ['/bin/sh', '-c', 'test -e /x'],
    intervalMs: 500,
    timeoutMs: 30_000,
    retries: 3,
    startPeriodMs: 0,
    startIntervalMs: 5000,
  });
  assert.deepEqual(healthPlan({ Test: ['CMD', 'test', '-e', '/x'] }, shell)?.command, ['test', '-e', '/x']);
});

test('failures in the start period do not count, a success ends it', () => {
  const early = healthAfter(plan, { health: starting, probe: probe(1), ranMs: 100 });
  assert.equal(early.Status, 'starting');
  assert.equal(early.FailingStreak, 0);
  const healthy = healthAfter(plan, { health: early, probe: probe(0), ranMs: 200 });
  assert.equal(healthy.Status, 'healthy');
  const failing = healthAfter(plan, { health: healthy, probe: probe(1), ranMs: 300 });
  assert.equal(failing.FailingStreak, 1);
  assert.equal(failing.Status, 'healthy');
});

test('enough failures in a row make it unhealthy, one success healthy again', () => {
  let health = starting;
  for (const expected of ['starting', 'unhealthy', 'unhealthy'] as const) {
    health = healthAfter(plan, { health, probe: probe(1), ranMs: 6000 });
    assert.equal(health.Status, expected);
  }
  health = healthAfter(plan, { health, probe: probe(0), ranMs: 7000 });
  assert.deepEqual([health.Status, health.FailingStreak, health.Log.length], ['healthy', 0, 4]);
});

test('probes come faster while the container starts', () => {
  assert.equal(nextProbeMs(plan, { health: starting, ranMs: 0 }), 100);
  assert.equal(nextProbeMs(plan, { health: starting, ranMs: 5000 }), 1000);
  assert.equal(nextProbeMs(plan, { health: { ...starting, Status: 'healthy' }, ranMs: 0 }), 1000);
});
