import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceSpec } from '#model/service.ts';
import { Story } from './story.ts';

const WRITER = { 'drover.single-writer': 'true' };

function marked(spec: ServiceSpec): ServiceSpec {
  return { ...spec, Labels: WRITER };
}

test('a task whose node was lost before it heard that it is a single writer has no successor while the node is away', async () => {
  using story = await Story.begun(1);
  const lost = story.where;
  story.cutOff(lost);
  await story.update(marked);
  await story.pass(60_000);
  assert.deepEqual(story.running, [lost]);
  assert.match(
    story.waiting?.waiting?.reason ?? '',
    new RegExp(
      `^node ${lost.id} was lost before it heard that db has a single writer, .*docker node rm --force ${lost.id}`,
    ),
  );
  story.cluster.network.healAll();
  await story.pass(20_000);
  assert.equal(story.running.length, 1);
  assert.equal(story.waiting, undefined);
});

test('it has one when the node has been removed', async () => {
  using story = await Story.begun(2);
  const lost = story.where;
  story.cutOff(lost);
  await story.update(marked);
  await story.pass(30_000);
  assert.deepEqual(story.running, [lost]);
  story.cluster.drop(lost);
  await story.ask((control) => control.nodes.remove(lost.id, { force: true }));
  await story.pass(20_000);
  assert.equal(story.running.length, 1);
});

test('a task whose node heard of it in time is ended there, and replaced', async () => {
  using story = await Story.begun(3);
  const lost = story.where;
  await story.update(marked);
  await story.pass(3000);
  story.cutOff(lost);
  await story.pass(30_000);
  assert.equal(story.running.length, 1);
  assert.notEqual(story.where, lost);
});

test('so is one whose node never ran it before it was lost', async () => {
  using story = await Story.begun(4, { Labels: WRITER });
  const first = story.where;
  const others = story.cluster.nodes.filter((node) => !node.manages && node !== first);
  for (const node of [first, ...others.slice(1)]) story.cutOff(node);
  const [last] = others;
  assert.ok(last);
  await story.pass(30_000);
  assert.deepEqual(story.running, [last]);
});

test('who was a single writer, and is one again while its node is away, is not counted on', async () => {
  using story = await Story.begun(5, { Labels: WRITER });
  const lost = story.where;
  await story.update((spec) => ({ ...spec, Labels: {} }));
  await story.pass(3000);
  story.cutOff(lost);
  await story.update(marked);
  await story.pass(60_000);
  assert.deepEqual(story.running, [lost]);
});

test('scaled to nothing and back, a single writer waits for the one before it', async () => {
  const Mounts = [{ Type: 'volume' as const, Source: 'data', Target: '/data' }];
  using story = await Story.begun(6, {
    TaskTemplate: {
      ContainerSpec: { Image: 'good:1', Mounts },
      Placement: { Constraints: ['node.role == worker'] },
    },
  });
  const scaled = (Replicas: number) => (spec: ServiceSpec) => ({
    ...spec,
    Mode: { Replicated: { Replicas } },
  });
  await story.update(scaled(0));
  await story.update(scaled(1));
  await story.pass(20_000);
  assert.equal(story.running.length, 1);
  const lost = story.where;
  story.cutOff(lost);
  await story.update(scaled(0));
  await story.update(scaled(1));
  await story.pass(30_000);
  assert.equal(story.running.length, 1);
  assert.notEqual(story.where, lost);
});
