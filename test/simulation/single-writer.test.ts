import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceSpec } from '#model/service.ts';
import type { TaskRecord } from '#model/task.ts';
import { SimulatedCluster } from './simulated-cluster.ts';
import type { SimulatedNode } from './simulated-node.ts';

const WRITER = { 'drover.single-writer': 'true' };

/** A service with one task on a worker, and three workers and managers on which nobody meddles. */
class Story implements Disposable {
  readonly cluster: SimulatedCluster;

  static async begun(seed: number, spec: Partial<ServiceSpec> = {}): Promise<Story> {
    const story = new Story(seed);
    const { cluster } = story;
    for (const node of cluster.nodes) node.start();
    await story.pass(5000);
    const TaskTemplate = {
      ContainerSpec: { Image: 'good:1' },
      Placement: { Constraints: ['node.role == worker'] },
      RestartPolicy: { Delay: 0 },
    };
    const made = { Name: 'db', Mode: { Replicated: { Replicas: 1 } }, TaskTemplate, ...spec };
    await story.ask((control) => control.services.create({ spec: made }));
    await story.pass(5000);
    assert.equal(story.running.length, 1);
    return story;
  }

  private constructor(seed: number) {
    this.cluster = new SimulatedCluster(
      seed,
      { managers: 3, workers: 3 },
      { isCalm: false, onTrace: () => undefined },
    );
  }

  [Symbol.dispose](): void {
    this.cluster[Symbol.dispose]();
  }

  get running(): SimulatedNode[] {
    return this.cluster.nodes.filter(({ engine }) => engine.running.length > 0);
  }

  get where(): SimulatedNode {
    const [node] = this.running;
    assert.ok(node);
    return node;
  }

  get waiting(): TaskRecord | undefined {
    return [...this.cluster.truth.all('task')].find((task) => task.waiting !== undefined);
  }

  pass(ms: number): Promise<void> {
    return this.cluster.runUntil(this.cluster.clock.nowMs() + ms);
  }

  cutOff(node: SimulatedNode): void {
    for (const other of this.cluster.nodes)
      if (other !== node) this.cluster.network.partition([node.id], [other.id]);
  }

  async ask(
    request: (control: NonNullable<SimulatedNode['access']>['control']) => Promise<unknown>,
  ): Promise<void> {
    const { control } = this.cluster.nodes.find(({ isLeader }) => isLeader)?.access ?? {};
    assert.ok(control);
    let isDone = false;
    const asked = request(control).finally(() => {
      isDone = true;
    });
    while (!isDone) await this.pass(10);
    await asked;
  }

  async update(change: (spec: ServiceSpec) => ServiceSpec): Promise<void> {
    await this.ask(async (control) => {
      const { record, revision } = control.services.inspect('db');
      await control.services.update('db', { version: revision, spec: change(record.Spec) });
    });
  }
}

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
