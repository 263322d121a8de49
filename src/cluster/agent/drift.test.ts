import assert from 'node:assert/strict';
import { test } from 'node:test';
import { driftOf } from './drift.ts';
import { assignedTask } from './task-builder.ts';
import type { TaskContainer } from './task-engine.ts';

const NETWORKS = [
  { networkId: 'front', address: '10.0.1.3/24', aliases: [] },
  { networkId: 'back', address: '10.0.2.3/24', aliases: [] },
];

function container(change: Partial<TaskContainer> = {}): TaskContainer {
  return {
    taskId: 'task',
    state: 'running',
    health: 'healthy',
    status: { ContainerID: 'c', PID: 1, ExitCode: 0 },
    exit: undefined,
    ...change,
  };
}

const limits = { memoryBytes: 1024, memoryReservationBytes: 0, nanoCpus: 5e8, pids: 0 };

test('a container that is what the task says has no drift, and what is not told is not compared', () => {
  const task = assignedTask({
    networks: NETWORKS,
    spec: { Resources: { Limits: { MemoryBytes: 1024, NanoCPUs: 5e8 } } },
  });
  assert.equal(driftOf(task, container()), undefined);
  assert.equal(driftOf(task, container({ networkIds: ['back', 'other', 'front'], limits })), undefined);
  assert.equal(driftOf(task, container({ limits: { ...limits, pids: -1 } })), undefined);
});

test('what was done by hand is said', () => {
  const task = assignedTask({ networks: NETWORKS });
  assert.match(driftOf(task, container({ isPaused: true })) ?? '', /paused by hand/);
  assert.match(driftOf(task, container({ networkIds: ['front'] })) ?? '', /network back by hand/);
  assert.equal(
    driftOf(task, container({ limits })),
    'limits of the container were changed by hand: memory, CPUs',
  );
  assert.match(driftOf(task, container({ limits: { ...limits, pids: 3 } })) ?? '', /processes$/);
});
