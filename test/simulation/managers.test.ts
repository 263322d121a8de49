import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Story } from './story.ts';

const MINUTES_MS = 60_000;

test('all managers are others in the end, and what runs runs on', async () => {
  using story = await Story.begun(1, { TaskTemplate: { ContainerSpec: { Image: 'good:1' } } });
  const before = story.where;
  for (const n of [1, 2, 3]) {
    await story.setRole(`worker${n}`, 'manager');
    await story.pass(5000);
    await story.setRole(`manager${n}`, 'worker');
    await story.pass(10_000);
  }
  assert.deepEqual(story.managers, ['worker1', 'worker2', 'worker3']);
  assert.ok(story.cluster.nodes.some(({ id, isLeader }) => isLeader && id.startsWith('worker')));
  assert.equal(story.cluster.nodes.filter(({ view }) => view !== undefined).length, 3);
  assert.deepEqual(story.running, [before]);
});

test('the last one that manages stays a manager while the one that was promoted is away', async () => {
  using story = await Story.begun(2);
  for (const n of [1, 2]) {
    await story.setRole(`manager${n}`, 'worker');
    await story.pass(10_000);
  }
  story.node('worker1').crash();
  await story.setRole('worker1', 'manager');
  await assert.rejects(story.setRole('manager3', 'worker'), /attempting to demote the last manager/);
  story.node('worker1').start();
  await story.pass(20_000);
  await story.setRole('manager3', 'worker');
  await story.pass(20_000);
  assert.deepEqual(story.managers, ['worker1']);
  assert.ok(story.node('worker1').isLeader);
});

test('a manager that was demoted while it was away for a moment is none by its record either', async () => {
  using story = await Story.begun(3);
  const gone = ['manager1', 'manager2', 'manager3'].find((id) => !story.node(id).isLeader) ?? '';
  story.node(gone).kill();
  await story.setRole(gone, 'worker');
  story.node(gone).start();
  await story.pass(2 * MINUTES_MS);
  assert.equal(story.managers.length, 2);
  assert.ok(!story.managers.includes(gone));
});
