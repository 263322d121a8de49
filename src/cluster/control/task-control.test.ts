import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TaskRecord } from '#model/task.ts';
import { controlOver, FIRST_NODE, oneNodeSwarm } from './control-fixture.ts';

async function twoTasks() {
  const store = await oneNodeSwarm();
  const control = controlOver(store);
  const image = (Image: string) => ({ ContainerSpec: { Image, Labels: { tier: 'front' } } });
  const { id } = await control.services.create({ spec: { Name: 'web', TaskTemplate: image('nginx:1') } });
  await control.services.update('web', {
    spec: { Name: 'web', TaskTemplate: image('nginx:2'), Labels: { stack: 'shop' } },
    version: control.services.inspect('web').revision,
  });
  const task: TaskRecord = {
    ID: 'aaa',
    CreatedAt: '',
    UpdatedAt: '',
    ServiceID: id,
    Slot: 1,
    attempt: 1,
    NodeID: FIRST_NODE.ID,
    DesiredState: 'shutdown',
    Status: { State: 'shutdown', Timestamp: '', Message: '' },
    revision: 1,
    networks: [],
  };
  const next: TaskRecord = { ...task, ID: 'bbb', revision: 2, DesiredState: 'running', NodeID: '' };
  await store.write({ table: 'task', put: task }, { table: 'task', put: next });
  return control.tasks;
}

test('a task is shown with the template of its own revision', async () => {
  const tasks = await twoTasks();
  const old = tasks.inspect('aaa');
  assert.deepEqual([old.name, old.template?.ContainerSpec.Image], ['web.1', 'nginx:1']);
  assert.equal(tasks.inspect('web.1.bbb').template?.ContainerSpec.Image, 'nginx:2');
  assert.throws(() => tasks.inspect('ccc'), { kind: 'not-found', message: 'task ccc not found' });
});

test('tasks are listed by service, node, state, revision, name and label', async () => {
  const tasks = await twoTasks();
  const ids = (filters: Record<string, string[]>): string[] =>
    tasks.list(filters).map(({ record }) => record.ID);
  assert.deepEqual(ids({}), ['aaa', 'bbb']);
  assert.deepEqual(ids({ service: ['web'] }), ['aaa', 'bbb']);
  assert.deepEqual(ids({ node: ['self'] }), ['aaa']);
  assert.deepEqual(ids({ service: ['web'], node: ['one'] }), ['aaa']);
  assert.deepEqual(ids({ 'desired-state': ['running'] }), ['bbb']);
  assert.deepEqual(ids({ '_up-to-date': ['true'] }), ['bbb']);
  assert.deepEqual(ids({ 'up-to-date': ['false'] }), ['aaa']);
  assert.deepEqual(ids({ name: ['web.1.a'] }), ['aaa']);
  assert.deepEqual(ids({ label: ['tier=front', 'stack=shop'] }), ['aaa', 'bbb']);
  assert.deepEqual(ids({ label: ['tier=back'] }), []);
  assert.deepEqual(ids({ id: ['b'] }), ['bbb']);
  assert.throws(() => ids({ service: ['nope'] }), { message: 'service nope not found' });
  assert.throws(() => ids({ 'desired-state': ['odd'] }), { message: "Invalid desired-state filter: 'odd'" });
});

test('clients count the places of a job from 0, in each run', async () => {
  const store = await oneNodeSwarm();
  const control = controlOver(store);
  const { id } = await control.services.create({
    spec: { Name: 'job', TaskTemplate: { ContainerSpec: { Image: 'bb' } }, Mode: { ReplicatedJob: {} } },
  });
  const task = (ID: string, Slot: number, JobIteration: number): TaskRecord => ({
    ...{ ID, CreatedAt: '', UpdatedAt: '', ServiceID: id, Slot, attempt: 1, NodeID: FIRST_NODE.ID },
    ...{ DesiredState: 'complete', revision: 1, networks: [], JobIteration },
    Status: { State: 'complete', Timestamp: '', Message: '' },
  });
  const tasks = [task('a', 1, 0), task('b', 2, 0), task('c', 3, 1), task('d', 5, 1), task('e', 5, 1)];
  await store.write(...tasks.map((put) => ({ table: 'task' as const, put })));
  assert.deepEqual(
    control.tasks.list({}).map(({ slot }) => slot),
    [0, 1, 0, 1, 1],
  );
  assert.equal(control.tasks.inspect('d').slot, 1);
});
