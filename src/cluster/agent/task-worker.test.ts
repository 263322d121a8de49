import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#control/manual-clock.ts';
import { internal, invalid } from '#model/errors.ts';
import type { AssignedTask } from './assigned-task.ts';
import { ScriptedEngine } from './scripted-engine.ts';
import { assignedTask } from './task-builder.ts';
import { TaskWorker } from './task-worker.ts';

/** One task `t` on one engine, and what was said of it. */
class Work implements Disposable {
  readonly engine: ScriptedEngine = new ScriptedEngine();
  readonly clock: ManualClock = new ManualClock();
  readonly said: string[] = [];
  readonly worker: TaskWorker;
  readonly #ending = new AbortController();

  constructor(change: Partial<AssignedTask> = {}) {
    this.worker = new TaskWorker({
      ...{ task: assigned(change), engine: this.engine, clock: this.clock, signal: this.#ending.signal },
      report: (_taskId, { State, Err }) => this.said.push(Err === undefined ? State : `${State}: ${Err}`),
      onFenced: (_taskId, number) => this.said.push(`fenced ${number}`),
      log: () => undefined,
    });
    this.engine.watch(() => this.worker.wake());
  }

  [Symbol.dispose](): void {
    this.#ending.abort();
  }

  async begin(): Promise<void> {
    this.worker.wake();
    await this.pass(1);
  }

  async wish(change: Partial<AssignedTask>): Promise<void> {
    this.worker.assign(assigned(change));
    await this.pass(1);
  }

  pass(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }
}

function assigned(change: Partial<AssignedTask>): AssignedTask {
  return { ...assignedTask({ id: 't' }), ...change };
}

test('a task is prepared, started, and said to run when it is healthy', async () => {
  using work = new Work();
  await work.begin();
  assert.deepEqual(work.said, ['preparing', 'ready', 'starting', 'running']);
  assert.deepEqual(work.engine.calls, ['prepare t', 'start t']);
});

test('one that is only to be ready is not started before it is to run', async () => {
  using work = new Work({ desiredState: 'ready' });
  await work.begin();
  assert.deepEqual(work.said, ['preparing', 'ready']);
  await work.wish({ desiredState: 'running' });
  assert.equal(work.said.at(-1), 'running');
});

test('health: it does not run before it is healthy, and is ended when it is not', async () => {
  using work = new Work();
  work.engine.startsAnyway = true;
  await work.begin();
  work.engine.happens('t', { health: 'unhealthy' });
  await work.pass(1);
  assert.equal(work.said.at(-1), 'failed: unhealthy container');
  assert.equal(work.engine.calls.at(-1), 'stop t');
});

const ENDS: [string, { exitCode: number; error: string | undefined }, string][] = [
  ['well', { exitCode: 0, error: undefined }, 'complete'],
  ['badly', { exitCode: 1, error: 'task: non-zero exit (1)' }, 'failed: task: non-zero exit (1)'],
];

for (const [how, exit, expected] of ENDS) {
  test(`a container that ends ${how} makes the task ${expected}`, async () => {
    using work = new Work();
    await work.begin();
    work.engine.happens('t', { state: 'exited', exit: { ...exit, finishedAt: '' } });
    await work.pass(1);
    assert.equal(work.said.at(-1), expected);
    assert.ok(!work.engine.calls.slice(2).includes('start t'), 'never twice');
  });
}

test('a container that was removed by hand is a task that failed', async () => {
  using work = new Work({ state: 'running' });
  await work.begin();
  assert.match(work.said.join(), /^failed: the container is gone/);
});

test('a daemon that starts anew takes a container as it is', async () => {
  using work = new Work({ state: 'assigned' });
  work.engine.happens('t', { state: 'running', health: 'healthy' });
  await work.begin();
  // which says no more than that it is not to end with the lease, as a daemon before may have said
  assert.deepEqual([work.said, work.engine.calls], [['running'], ['start t']]);
});

test('an end is told when it has come, not when it was asked for', async () => {
  using work = new Work();
  await work.begin();
  work.engine.stubborn.add('t');
  await work.wish({ desiredState: 'shutdown' });
  assert.equal(work.said.at(-1), 'running');
  work.engine.stubborn.clear();
  await work.pass(10_000);
  assert.equal(work.said.at(-1), 'shutdown');
});

test('an engine that does not answer is asked again, and nothing is said meanwhile', async () => {
  using work = new Work();
  await work.begin();
  work.engine.fail('stop', 3);
  await work.wish({ desiredState: 'shutdown' });
  assert.equal(work.said.at(-1), 'running');
  work.engine.fail('inspect', 3);
  await work.pass(20_000);
  assert.equal(work.said.at(-1), 'shutdown');
});

test('what cannot be prepared is rejected', async () => {
  using work = new Work();
  work.engine.fail('prepare', 1, invalid('No such image: busybox'));
  await work.begin();
  assert.deepEqual(work.said, ['preparing', 'rejected: No such image: busybox']);
});

const STARTS: [string, Error | undefined, number, string][] = [
  ['for good, it failed', internal('exec format error'), 1, 'failed: exec format error'],
  ['for now, it is tried again', undefined, 2, 'running'],
  ['for now, again and again, it failed', undefined, 9, 'failed: the engine did not answer'],
];

for (const [what, error, times, expected] of STARTS) {
  test(`where a start fails ${what}`, async () => {
    using work = new Work();
    work.engine.fail('start', times, error);
    await work.begin();
    await work.pass(30_000);
    assert.equal(work.said.at(-1), expected);
  });
}

test('a start that failed although it runs is none that failed', async () => {
  using work = new Work();
  work.engine.startsAnyway = true;
  work.engine.fail('start', 1, internal('the answer was lost'));
  await work.begin();
  assert.equal(work.said.at(-1), 'running');
});

test('a fenced task ends at once, and is never started', async () => {
  using running = new Work({ singleWriter: true });
  await running.begin();
  running.worker.fence();
  await running.pass(1);
  assert.match(running.said.at(-1) ?? '', /^failed: no manager was heard/);
  using waiting = new Work({ desiredState: 'ready' });
  await waiting.begin();
  waiting.worker.fence();
  await waiting.wish({ desiredState: 'running' });
  assert.ok(!waiting.engine.calls.includes('start t'));
});

test('a single writer that runs already, or becomes one, is made to end with the lease', async () => {
  using work = new Work();
  await work.begin();
  assert.equal(work.engine.calls.filter((call) => call === 'start t').length, 1);
  await work.wish({ singleWriter: true });
  await work.wish({ singleWriter: true });
  assert.equal(work.engine.calls.filter((call) => call === 'start t').length, 2);
});

test('that it ends with the lease is said when it does, to whoever asks', async () => {
  using work = new Work({ singleWriter: true, confirmFence: 1 });
  await work.begin();
  // before it was made, it could not run otherwise
  assert.equal(work.said[0], 'fenced 1');
  assert.equal(work.said.filter((said) => said.startsWith('fenced')).length, 1);
  await work.wish({ singleWriter: true, confirmFence: 2 });
  assert.equal(work.said.at(-1), 'fenced 2');
  await work.wish({ singleWriter: true });
  assert.equal(work.said.at(-1), 'fenced 2');
});

test('it is not said while the engine does not do it', async () => {
  using work = new Work();
  await work.begin();
  work.engine.fail('start', 1);
  await work.wish({ singleWriter: true, confirmFence: 7 });
  assert.ok(!work.said.includes('fenced 7'));
  await work.pass(1000);
  assert.equal(work.said.at(-1), 'fenced 7');
});

test('one that is no single writer any more does not end with the lease', async () => {
  using work = new Work({ singleWriter: true });
  await work.begin();
  await work.wish({ singleWriter: false });
  assert.equal(work.engine.calls.filter((call) => call === 'start t').length, 2);
});

test('one that is over is ended again when somebody starts it by hand', async () => {
  using work = new Work({ state: 'failed' });
  work.engine.happens('t', { state: 'running' });
  await work.pass(1);
  assert.deepEqual([work.engine.calls, work.said], [['stop t'], []]);
});

test('given up, it does nothing any more', async () => {
  using work = new Work();
  work.engine.fail('inspect', 100);
  await work.begin();
  await work.worker.settled();
  work.worker.wake();
  work.engine.failures.clear();
  await work.pass(60_000);
  assert.deepEqual(work.engine.calls, []);
});
