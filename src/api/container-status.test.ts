import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ContainerState, CREATED } from '#model/container.ts';
import { statusText } from './container-status.ts';
import { humanDuration } from './human-duration.ts';

const NOW = Date.parse('2026-01-01T12:00:00Z');

function state(change: Partial<ContainerState>): ContainerState {
  return { ...CREATED, ...change };
}

test('the status column', () => {
  const started = '2026-01-01T11:59:57Z';
  const up = { Running: true, StartedAt: started } as const;
  assert.equal(statusText(state({}), NOW), 'Created');
  assert.equal(statusText(state(up), NOW), 'Up 3 seconds');
  for (const [status, text] of [
    ['none', 'Up 3 seconds'],
    ['starting', 'Up 3 seconds (health: starting)'],
    ['healthy', 'Up 3 seconds (healthy)'],
    ['unhealthy', 'Up 3 seconds (unhealthy)'],
  ] as const) {
    const health = { Status: status, FailingStreak: 0, Log: [] };
    assert.equal(statusText(state({ ...up, Health: health }), NOW), text);
  }
  assert.equal(statusText(state({ ...up, Paused: true }), NOW), 'Up 3 seconds (Paused)');
  const ended = { StartedAt: started, FinishedAt: '2026-01-01T11:59:58Z', ExitCode: 137 } as const;
  assert.equal(statusText(state(ended), NOW), 'Exited (137) 2 seconds ago');
  assert.equal(statusText(state({ ...ended, Restarting: true }), NOW), 'Restarting (137) 2 seconds ago');
  assert.equal(statusText(state({ ...ended, Status: 'removing' }), NOW), 'Removal In Progress');
  assert.equal(statusText(state({ ...ended, Dead: true }), NOW), 'Dead');
});

test('durations in Docker’s words', () => {
  const hour = 3_600_000;
  for (const [milliseconds, text] of [
    [0, 'Less than a second'],
    [1999, '1 second'],
    [59_000, '59 seconds'],
    [90_000, 'About a minute'],
    [120_000, '2 minutes'],
    [hour, 'About an hour'],
    [hour * 1.6, '2 hours'],
    [hour * 47, '47 hours'],
    [hour * 48, '2 days'],
    [hour * 24 * 14, '2 weeks'],
    [hour * 24 * 61, '2 months'],
    [hour * 24 * 365 * 3, '3 years'],
  ] as const) {
    assert.equal(humanDuration(milliseconds), text);
  }
});
