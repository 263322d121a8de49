import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exitedState, runningState } from '#engine/containers/container-state.ts';
import { containerRecord } from '#engine/containers/record-builder.ts';
import { type ContainerRecord, CREATED, type Health } from '#model/container.ts';
import { TASK_ID_LABEL } from './task-container.ts';
import type { TaskContainer } from './task-engine.ts';
import { taskContainerOf } from './task-status.ts';

const CHECK = { Test: ['CMD', 'true'], Retries: 3 };
const STARTED = { pid: 42, startedAt: '2026-01-01T00:00:00Z', hasHealthCheck: false };
const ENDED = { exitCode: 0, oomKilled: false, finishedAt: '2026-01-01T00:01:00Z' };

function look(
  state: ContainerRecord['state'],
  o: { hasCheck?: boolean; ports?: ContainerRecord['ports'] } = {},
): TaskContainer | undefined {
  const record = containerRecord({ state, ports: o.ports ?? {} });
  const Healthcheck = o.hasCheck === true ? { Healthcheck: CHECK } : {};
  return taskContainerOf({
    ...record,
    config: { ...record.config, ...Healthcheck, Labels: { [TASK_ID_LABEL]: 'task' } },
  });
}

function running(health?: Health): ContainerRecord['state'] {
  const state = runningState(CREATED, STARTED);
  return health === undefined ? state : { ...state, Health: health };
}

test('a container without the label is no task, one that is being removed is none any more', () => {
  assert.equal(taskContainerOf(containerRecord()), undefined);
  assert.equal(look({ ...CREATED, Status: 'removing' }), undefined);
});

test('created, running, between restarts of a person, and exited', () => {
  assert.equal(look({ ...CREATED })?.state, 'created');
  assert.deepEqual(look(running())?.status.PID, 42);
  assert.equal(look(running())?.state, 'running');
  assert.equal(look({ ...running(), Status: 'paused', Paused: true })?.state, 'running');
  assert.equal(look(exitedState(running(), ENDED))?.state, 'exited');
});

for (const [what, health, hasCheck, expected] of [
  ['without a check', undefined, false, 'healthy'],
  ['with one that has not probed yet', undefined, true, 'starting'],
  ['while it starts', { Status: 'starting', FailingStreak: 1, Log: [] }, true, 'starting'],
  ['when it is well', { Status: 'healthy', FailingStreak: 0, Log: [] }, true, 'healthy'],
  ['when it is not', { Status: 'unhealthy', FailingStreak: 3, Log: [] }, true, 'unhealthy'],
] as const) {
  test(`its health ${what} is ${expected}`, () => {
    const state = running(health === undefined ? undefined : { ...health, Log: [] });
    assert.equal(look(state, { hasCheck })?.health, expected);
  });
}

test('its end is told in Docker’s words, with the reason where there is one', () => {
  const errorOf = (
    end: Partial<typeof ENDED>,
    o: { streak?: number; said?: string } = {},
  ): string | undefined => {
    const Health = { Status: 'healthy' as const, FailingStreak: o.streak ?? 0, Log: [] };
    const state = exitedState(running(Health), { ...ENDED, ...end });
    return look({ ...state, Error: o.said ?? '' }, { hasCheck: true })?.exit?.error;
  };
  assert.equal(errorOf({}), undefined);
  assert.equal(errorOf({ exitCode: 1 }), 'task: non-zero exit (1)');
  assert.equal(errorOf({ exitCode: 137, oomKilled: true }), 'task: non-zero exit (137): OOM killed');
  assert.equal(errorOf({ exitCode: 143 }, { streak: 3 }), 'task: non-zero exit (143): unhealthy container');
  assert.equal(errorOf({}, { streak: 3 }), 'unhealthy container');
  assert.equal(errorOf({ exitCode: 128 }, { said: 'cut off' }), 'task: non-zero exit (128): cut off');
});

test('ports are told once, however many addresses they are published on', () => {
  const ports = {
    '80/tcp': [
      { HostIp: '0.0.0.0', HostPort: '8080' },
      { HostIp: '::', HostPort: '8080' },
    ],
  };
  assert.deepEqual(look(running(), { ports })?.ports, [
    { Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'host' },
  ]);
});

test('an end by a person’s hand is said, also one in good order', () => {
  const record = containerRecord({ stoppedByUser: true });
  const ended = (exitCode: number) =>
    taskContainerOf({
      ...record,
      config: { ...record.config, Labels: { [TASK_ID_LABEL]: 'task' } },
      state: exitedState(running(), { ...ENDED, exitCode }),
    });
  assert.equal(ended(0)?.exit?.error, 'the container was stopped by hand');
  assert.equal(ended(143)?.exit?.error, 'the container was stopped by hand: task: non-zero exit (143)');
});

test('what can be changed by hand is told', () => {
  const paused = look({ ...running(), Status: 'paused', Paused: true });
  assert.equal(paused?.isPaused, true);
  assert.deepEqual(paused?.limits, { memoryBytes: 0, memoryReservationBytes: 0, nanoCpus: 0, pids: 0 });
});
