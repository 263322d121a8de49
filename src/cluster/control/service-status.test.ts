import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceMode, ServiceRecord } from '#model/service.ts';
import type { DesiredTaskState, TaskRecord, TaskState } from '#model/task.ts';
import { serviceStatus } from './service-status.ts';

const AT = { CreatedAt: '', UpdatedAt: '' };

function service(Mode: ServiceMode, run?: number): ServiceRecord {
  return {
    ...{ ID: 's', ...AT, revision: 1, Endpoint: {} },
    Spec: { Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'bb' } }, Mode },
    ...(run === undefined ? {} : { JobStatus: { JobIteration: run, LastExecution: '' } }),
  };
}

function task(State: TaskState, DesiredState: DesiredTaskState, run?: number): TaskRecord {
  return {
    ...{ ID: 't', ...AT, ServiceID: 's', Slot: 1, attempt: 1, NodeID: 'n', revision: 1, networks: [] },
    ...{ DesiredState, Status: { Timestamp: '', State, Message: '' } },
    ...(run === undefined ? {} : { JobIteration: run }),
  };
}

test('replicas are those asked for, tasks of a global service those that are to run', () => {
  const tasks = [task('running', 'running'), task('pending', 'running'), task('running', 'shutdown')];
  assert.deepEqual(serviceStatus(service({ Replicated: { Replicas: 5 } }), tasks), {
    ...{ RunningTasks: 2, DesiredTasks: 5, CompletedTasks: 0 },
  });
  assert.deepEqual(serviceStatus(service({ Global: {} }), tasks), {
    ...{ RunningTasks: 2, DesiredTasks: 2, CompletedTasks: 0 },
  });
});

test('of a job the current run counts; a global one wants what has not completed', () => {
  const tasks = [
    ...[task('complete', 'complete', 1), task('running', 'complete', 1), task('complete', 'complete', 0)],
  ];
  assert.deepEqual(serviceStatus(service({ GlobalJob: {} }, 1), tasks), {
    ...{ RunningTasks: 1, DesiredTasks: 1, CompletedTasks: 1 },
  });
  assert.deepEqual(serviceStatus(service({ ReplicatedJob: { MaxConcurrent: 2 } }, 1), tasks), {
    ...{ RunningTasks: 1, DesiredTasks: 2, CompletedTasks: 1 },
  });
});
