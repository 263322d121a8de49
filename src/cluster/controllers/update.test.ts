import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Write } from '#cluster/state/tables.ts';
import type { ServiceSpec, UpdateConfig } from '#model/service.ts';
import { Orchestrator } from './orchestrator.ts';
import { node, Scene, START_MS, said, service, task } from './scene.ts';

const MS = 1e6;
const AT_ONCE: UpdateConfig = { Parallelism: 1, Monitor: 1 * MS };

/** `web` with some tasks of revision 1, whose template has just been changed to revision 2. */
class Update extends Scene {
  readonly #orchestrator: Orchestrator;

  constructor(o: {
    config?: UpdateConfig;
    spec?: Partial<ServiceSpec>;
    tasks?: number;
    singleWriter?: boolean;
    others?: Write[];
  }) {
    const count = o.tasks ?? 3;
    const tasks = Array.from({ length: count }, (_, i) => task(`t${i + 1}`, { Slot: i + 1 }));
    const before = service({ replicas: count });
    const [old] = before;
    const PreviousSpec =
      old !== undefined && 'put' in old && old.table === 'service' ? old.put.Spec : undefined;
    super(
      ...[node('a'), ...(o.others ?? []), before.slice(1), ...tasks],
      service({
        ...{ replicas: count, revision: 2, previousRevision: 1 },
        ...(PreviousSpec === undefined ? {} : { PreviousSpec }),
        spec: { UpdateConfig: o.config ?? AT_ONCE, ...o.spec },
      }),
    );
    this.#orchestrator = new Orchestrator({
      isSingleWriter: () => o.singleWriter === true,
      fits: () => true,
      fencedInMs: () => 0,
    });
    assert.deepEqual(this.next(), ['web is updating']);
  }

  next(): string[] {
    return said(this.decides(this.#orchestrator));
  }

  again(): number | undefined {
    return this.decides(this.#orchestrator).againAtMs;
  }

  /** A task that was shut down ends, and the one that waits for it comes to run. */
  swap(before: string, after: string): void {
    this.reports(before, 'shutdown');
    this.next();
    this.reports(after, 'running');
  }
}

test('stop-first: as many at once as is allowed, the next when those run', () => {
  const update = new Update({ config: { ...AT_ONCE, Parallelism: 2 } });
  assert.deepEqual(update.next(), [
    ...['t1 is to shutdown', 'new web.1 r2 is to ready'],
    ...['t2 is to shutdown', 'new web.2 r2 is to ready'],
  ]);
  assert.deepEqual(update.next(), []);
  update.swap('t1', 'new1');
  assert.deepEqual(update.next(), ['t3 is to shutdown', 'new web.3 r2 is to ready']);
});

test('0 at once is all at once, and where nothing is said it is one', () => {
  assert.equal(new Update({ config: { Parallelism: 0 } }).next().length, 6);
  assert.equal(new Update({ config: {} }).next().length, 6);
  assert.equal(new Update({ spec: { UpdateConfig: { Parallelism: 1 } } }).next().length, 2);
});

test('the delay lies between one that runs and the next', () => {
  const update = new Update({ config: { ...AT_ONCE, Delay: 2000 * MS } });
  update.next();
  update.swap('t1', 'new1');
  assert.equal(update.again(), START_MS + 2000);
  update.nowMs += 2000;
  assert.deepEqual(update.next(), ['t2 is to shutdown', 'new web.2 r2 is to ready']);
});

test('start-first: the new one runs before the old one ends, unless there may never be two', () => {
  const config: UpdateConfig = { ...AT_ONCE, Order: 'start-first' };
  const update = new Update({ config });
  assert.deepEqual(update.next(), ['new web.1 r2 is to running']);
  assert.deepEqual(update.next(), []);
  update.reports('new1', 'running');
  assert.deepEqual(update.next(), ['t1 is to shutdown']);
  assert.deepEqual(update.next(), ['new web.2 r2 is to running']);
  assert.deepEqual(new Update({ config, singleWriter: true, tasks: 1 }).next(), [
    't1 is to shutdown',
    'new web.1 r2 is to ready',
  ]);
});

test('start-first: one that is about to run is not ended either', () => {
  const update = new Update({ config: { ...AT_ONCE, Order: 'start-first' } });
  update.reports('t3', 'starting');
  assert.deepEqual(update.next(), ['new web.3 r2 is to running']);
});

test('those where nothing runs come first', () => {
  const update = new Update({});
  update.reports('t2', 'starting');
  assert.deepEqual(update.next(), ['t2 is to shutdown', 'new web.2 r2 is to ready']);
});

test('another change while one is under way has no more down at once', () => {
  const update = new Update({});
  update.next();
  update.reports('t1', 'shutdown');
  update.happens(service({ replicas: 3, revision: 3, spec: { UpdateConfig: AT_ONCE } }));
  // the task that waits is let run in this round, and replaced in the next
  assert.deepEqual(update.next(), ['new web.1 r2 is to running', 'web is updating']);
  update.happens({ table: 'task', put: { ...update.task('new1'), DesiredState: 'ready' } });
  assert.deepEqual(update.next(), ['new web.1 r2 is to running']);
  assert.deepEqual(update.next(), ['new1 is to shutdown', 'new web.1 r3 is to running']);
});

test('it is done when the last one has been watched', () => {
  const update = new Update({ config: { Monitor: 3000 * MS }, tasks: 1 });
  update.next();
  update.nowMs += 500;
  update.swap('t1', 'new1');
  assert.equal(update.again(), START_MS + 3500);
  update.nowMs += 3000;
  assert.deepEqual(update.next(), ['web is completed']);
  assert.deepEqual(update.next(), []);
});

test('a date that was put back does not keep it from being done', () => {
  const update = new Update({ config: { Monitor: 3000 * MS }, tasks: 1 });
  update.next();
  update.swap('t1', 'new1');
  update.nowMs -= 3_600_000;
  assert.deepEqual(update.next(), ['web is completed']);
});

const FAILURES: [string, UpdateConfig, string][] = [
  ['is paused', { ...AT_ONCE }, 'web is paused'],
  ['goes on where that is asked', { ...AT_ONCE, FailureAction: 'continue' }, 't2 is to shutdown'],
  ['is rolled back', { ...AT_ONCE, FailureAction: 'rollback' }, 'web is rollback_started'],
  ['goes on below its ratio', { ...AT_ONCE, MaxFailureRatio: 0.4 }, 't2 is to shutdown'],
];

for (const [what, config, expected] of FAILURES) {
  test(`an update of which a task fails ${what}`, () => {
    const update = new Update({ config });
    update.next();
    update.reports('t1', 'shutdown');
    update.next();
    update.reports('new1', 'failed');
    assert.ok(update.next().includes(expected));
  });
}

test('a task that fails after it was watched is no failure of the update', () => {
  const update = new Update({ config: { Parallelism: 1, Delay: 60_000 * MS, Monitor: 1000 * MS } });
  update.next();
  update.swap('t1', 'new1');
  update.nowMs += 1001;
  update.reports('new1', 'failed');
  assert.ok(!update.next().includes('web is paused'));
});

test('a rollback deploys the revision before, with what its images were pulled with, and says so', () => {
  const update = new Update({ config: { ...AT_ONCE, FailureAction: 'rollback' }, tasks: 1 });
  const before = update.service();
  update.happens({
    table: 'service',
    put: { ...before, sealedRegistryAuth: 'new', previousSealedRegistryAuth: 'old' },
  });
  update.next();
  update.reports('t1', 'shutdown');
  update.next();
  update.reports('new1', 'failed');
  update.next();
  const { revision, UpdateStatus, PreviousSpec, previousRevision, sealedRegistryAuth } = update.service();
  assert.equal(revision, 1);
  assert.match(
    UpdateStatus?.Message ?? '',
    /^update rolled back due to failure or early termination of task new1$/,
  );
  assert.deepEqual([PreviousSpec, previousRevision, sealedRegistryAuth], [undefined, undefined, 'old']);
  const [fresh] = [...update.view.tasksOfService('web')].filter(({ Status }) => Status.State === 'pending');
  update.next();
  assert.equal(fresh?.revision, 2);
});

test('where the spec before is of the same revision there is nothing to roll back to', () => {
  const update = new Update({ config: { ...AT_ONCE, FailureAction: 'rollback' } });
  update.happens({ table: 'service', put: { ...update.service(), previousRevision: 2 } });
  update.next();
  update.reports('t1', 'shutdown');
  update.next();
  update.reports('new1', 'failed');
  assert.ok(update.next().includes('web is paused'));
});

test('a rollback that fails is paused', () => {
  const update = new Update({ config: { ...AT_ONCE, FailureAction: 'rollback' }, tasks: 1 });
  const { UpdateStatus: _, ...rest } = update.service();
  const status = {
    State: 'rollback_started' as const,
    revision: 2,
    StartedAt: new Date(START_MS).toISOString(),
  };
  update.happens({ table: 'service', put: { ...rest, UpdateStatus: status } });
  update.next();
  update.reports('t1', 'shutdown');
  update.next();
  update.reports('new1', 'failed');
  assert.ok(update.next().includes('web is rollback_paused'));
});

test('nodes that take no tasks hold a global update up neither, and are caught up with', () => {
  for (const away of [node('b', { state: 'down' }), node('b', { availability: 'pause' })]) {
    const onB = task('on-b', { Slot: 0, NodeID: 'b' });
    const update = new Update({
      tasks: 0,
      spec: { Mode: { Global: {} } },
      others: [away, onB, task('on-a', { Slot: 0 })],
    });
    assert.deepEqual(update.next(), ['on-a is to shutdown', 'new web.a r2 is to ready']);
    update.swap('on-a', 'new1');
    update.nowMs += 1;
    assert.deepEqual(update.next(), ['web is completed']);
    assert.deepEqual(update.next(), []);
    update.happens(node('b'));
    assert.deepEqual(update.next(), ['web is updating']);
    assert.deepEqual(update.next(), ['on-b is to shutdown', 'new web.b r2 is to ready']);
  }
});
