import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Orchestrator, type OrchestratorRules } from './orchestrator.ts';
import { node, Scene, START_MS, said, service, task } from './scene.ts';

function orchestrator(rules: Partial<OrchestratorRules> = {}): Orchestrator {
  return new Orchestrator({ isSingleWriter: () => false, fits: () => true, fencedInMs: () => 0, ...rules });
}

const FAILED = { is: 'failed' as const, startedAt: START_MS };

test('a service has as many tasks as it wants, in the lowest slots that are free', () => {
  const scene = new Scene(node('a'), service({ replicas: 3 }), task('t2', { Slot: 2 }));
  assert.deepEqual(said(scene.decides(orchestrator())), [
    'new web.1 r1 is to running',
    'new web.3 r1 is to running',
  ]);
  assert.deepEqual(said(scene.decides(orchestrator())), []);
});

test('what there is no room for in one round is made in the next', () => {
  const scene = new Scene(node('a'), service({ replicas: 5 }));
  assert.equal(scene.decides(orchestrator(), 'web', 3).writes.length, 2);
  for (let i = 0; i < 4; i++) scene.decides(orchestrator(), 'web', 3);
  assert.equal(scene.view.count('task'), 5);
});

test('scaled down, what does not run goes first, then where most are, then the last', () => {
  const scene = new Scene(
    ...[node('a'), node('b'), service({ replicas: 1 })],
    ...[task('t1', { Slot: 1 }), task('t2', { Slot: 2 }), task('t3', { Slot: 3, NodeID: 'b' })],
    task('t4', { Slot: 4, is: 'starting' }),
  );
  assert.deepEqual(said(scene.decides(orchestrator())), [
    't4 is to remove',
    't2 is to remove',
    't3 is to remove',
  ]);
});

test('scaled down by more than fits into a round while the template changes, it is done in several', () => {
  const tasks = Array.from({ length: 10 }, (_, i) => task(`t${i}`, { Slot: i + 1 }));
  const scene = new Scene(node('a'), service({ replicas: 1, revision: 2 }), service().slice(1), ...tasks);
  for (let i = 0; i < 20; i++) {
    assert.ok(scene.decides(orchestrator(), 'web', 4).writes.length <= 4);
  }
  const wanted = [...scene.view.tasksOfService('web')].filter(
    ({ DesiredState }) => DesiredState !== 'remove',
  );
  assert.ok(wanted.length >= 1);
  assert.equal(scene.service().UpdateStatus?.State, 'updating');
});

const RESTARTS: [string, Parameters<typeof service>[0], Parameters<typeof task>[1], string[]][] = [
  ['one that failed is replaced', {}, FAILED, ['t1 is to shutdown', 'new web.1 r1 is to running']],
  [
    'one that ended well is, too',
    {},
    { is: 'complete' },
    ['t1 is to shutdown', 'new web.1 r1 is to running'],
  ],
  [
    'not where only failures are',
    { restart: { Condition: 'on-failure' } },
    { is: 'complete' },
    ['t1 is to shutdown'],
  ],
  ['not where nothing is', { restart: { Condition: 'none' } }, FAILED, ['t1 is to shutdown']],
  [
    'not more often than allowed',
    { restart: { MaxAttempts: 2 } },
    { ...FAILED, restarts: [iso(-9000), iso(-1000)] },
    ['t1 is to shutdown'],
  ],
  [
    'but those before the window do not count',
    { restart: { MaxAttempts: 2, Window: 5e9 } },
    { ...FAILED, restarts: [iso(-9000), iso(-1000)] },
    ['t1 is to shutdown', 'new web.1 r1 is to running'],
  ],
  ['after its delay', { restart: { Delay: 3e9 } }, FAILED, ['t1 is to shutdown', 'new web.1 r1 is to ready']],
];

function iso(fromStartMs: number): string {
  return new Date(START_MS + fromStartMs).toISOString();
}

for (const [what, asked, ended, expected] of RESTARTS) {
  test(`restarts: ${what}`, () => {
    const scene = new Scene(node('a'), service(asked), task('t1', ended));
    assert.deepEqual(said(scene.decides(orchestrator())), expected);
  });
}

test('restarts that are counted are written with the task, those before the window dropped', () => {
  const scene = new Scene(
    ...[node('a'), service({ restart: { MaxAttempts: 3, Window: 5e9 } })],
    task('t1', { ...FAILED, restarts: [iso(-9000), iso(-1000)] }),
  );
  scene.decides(orchestrator());
  assert.deepEqual(scene.task('new1').restarts, [iso(-1000), iso(0)]);
});

test('a task that waits for its delay runs when that is over, and is looked at then', () => {
  const scene = new Scene(node('a'), service({ restart: { Delay: 3e9 } }), task('t1', FAILED));
  scene.decides(orchestrator());
  assert.equal(scene.decides(orchestrator()).againAtMs, START_MS + 3000);
  scene.nowMs += 3000;
  assert.deepEqual(said(scene.decides(orchestrator())), ['new web.1 r1 is to running']);
});

test('a date that was put back does not hold a restart up', () => {
  const scene = new Scene(node('a'), service({ restart: { Delay: 3e9 } }), task('t1', FAILED));
  scene.decides(orchestrator());
  scene.nowMs -= 3_600_000;
  assert.deepEqual(said(scene.decides(orchestrator())), ['new web.1 r1 is to running']);
});

test('tasks of a node that is drained, lost or gone are replaced; elsewhere they wait only for what can still end', () => {
  const drained = new Scene(node('a', { availability: 'drain' }), service(), task('t1'));
  assert.deepEqual(said(drained.decides(orchestrator())), ['t1 is to shutdown', 'new web.1 r1 is to ready']);
  drained.reports('t1', 'shutdown');
  assert.deepEqual(said(drained.decides(orchestrator())), ['new web.1 r1 is to running']);
  for (const lost of [[node('a', { state: 'down' })], []]) {
    const scene = new Scene(...lost, service(), task('t1'));
    assert.deepEqual(said(scene.decides(orchestrator())), [
      't1 is to shutdown',
      'new web.1 r1 is to running',
    ]);
  }
});

test('a node that does not meet the constraints any more gives its task up', () => {
  const scene = new Scene(node('a'), service(), task('t1'));
  const rules = orchestrator({ fits: () => false });
  assert.deepEqual(said(scene.decides(rules)), ['t1 is to shutdown', 'new web.1 r1 is to ready']);
});

test('a single writer of a lost node is replaced when that has certainly ended it', () => {
  let leftMs = 4000;
  const rules = orchestrator({ isSingleWriter: () => true, fencedInMs: () => leftMs });
  const scene = new Scene(node('a', { state: 'down' }), service(), task('t1', { fenced: true }));
  assert.deepEqual(said(scene.decides(rules)), ['t1 is to shutdown', 'new web.1 r1 is to ready']);
  assert.equal(scene.task('new1').fenced, true);
  assert.equal(scene.decides(rules).againAtMs, START_MS + 4000);
  leftMs = 0;
  assert.deepEqual(said(scene.decides(rules)), ['new web.1 r1 is to running']);
});

test('one that its node does not end by itself keeps its place until the node is back or removed', () => {
  const rules = orchestrator({ isSingleWriter: () => true });
  const scene = new Scene(node('a', { state: 'down' }), node('b'), service(), task('t1'));
  assert.deepEqual(said(scene.decides(rules)), ['t1 is to shutdown', 'new web.1 r1 is to ready']);
  scene.happens({ table: 'task', put: { ...scene.task('new1'), NodeID: 'b' } });
  scene.reports('new1', 'assigned');
  const [waits = ''] = said(scene.decides(rules));
  assert.match(
    waits,
    /^new1 waits: node a was lost before it heard that web has a single writer, .*web\.1\.t1: bring/,
  );
  assert.deepEqual(said(scene.decides(rules)), []);
  scene.happens({ table: 'node', delete: 'a' });
  assert.deepEqual(said(scene.decides(rules)), ['new web.1 r1 is to running']);
  assert.equal(scene.task('new1').waiting, undefined);
});

test('nor does one that was let run before get a node then', () => {
  const rules = orchestrator({ isSingleWriter: () => true });
  const scene = new Scene(
    ...[node('a', { state: 'down' }), service(), task('t1', { DesiredState: 'shutdown' })],
    task('t2', { attempt: 2, is: 'pending' }),
  );
  assert.deepEqual(said(scene.decides(rules)), ['t2 is to shutdown', 'new web.1 r1 is to ready']);
});

test('but where nothing else may run it does, and is fenced', () => {
  const rules = orchestrator({ isSingleWriter: () => true });
  const scene = new Scene(node('a'), service(), task('t1', { is: 'pending' }));
  scene.decides(rules);
  assert.deepEqual([scene.task('t1').fenced, scene.task('t1').DesiredState], [true, 'running']);
  assert.deepEqual(said(scene.decides(rules)), []);
});

test('nor one that was to start before the one it replaces ends', () => {
  const rules = orchestrator({ isSingleWriter: () => true });
  const scene = new Scene(
    ...[node('a'), service().slice(1), service({ revision: 2 }), task('t1')],
    task('t2', { attempt: 2, revision: 2, is: 'pending', replaces: 't1' }),
  );
  assert.deepEqual(said(scene.decides(rules)), ['t2 is to shutdown']);
  assert.deepEqual(said(scene.decides(rules)), ['web is updating']);
  assert.deepEqual(said(scene.decides(rules)), ['t1 is to shutdown', 'new web.1 r2 is to ready']);
});

test('the only task of a service waits for those that are going from other places', () => {
  const rules = orchestrator({ isSingleWriter: () => true });
  const scene = new Scene(
    node('a'),
    service(),
    task('t1', { Slot: 1, DesiredState: 'remove', fenced: true }),
  );
  assert.deepEqual(said(scene.decides(rules)), ['new web.2 r1 is to ready']);
  assert.deepEqual(said(scene.decides(rules)), []);
  scene.reports('t1', 'shutdown');
  assert.deepEqual(said(scene.decides(rules)), ['new web.2 r1 is to running']);
});

test('what is decided of a service holds for the service as it was looked at', () => {
  const scene = new Scene(node('a'), service());
  assert.deepEqual(scene.decides(orchestrator()).relies, [{ table: 'service', id: 'web' }]);
});

test('the older task of a place is ended when the newer one runs, and goes on when that one fails', () => {
  const older = task('t1');
  const newer = { attempt: 2, revision: 2 };
  const two = service({ revision: 2 });
  const taken = new Scene(node('a'), service().slice(1), two, older, task('t2', newer));
  assert.ok(said(taken.decides(orchestrator())).includes('t1 is to shutdown'));
  const failed = new Scene(node('a'), service().slice(1), two, older, task('t2', { ...newer, is: 'failed' }));
  assert.equal(said(failed.decides(orchestrator()))[0], 't2 is to shutdown');
});

test('a place whose older task dies after the newer one was given up is not left empty', () => {
  const scene = new Scene(
    ...[node('a'), service(), task('t1', FAILED)],
    task('t2', { attempt: 2, revision: 2, is: 'failed', DesiredState: 'shutdown' }),
  );
  assert.deepEqual(said(scene.decides(orchestrator())), ['t1 is to shutdown', 'new web.1 r1 is to running']);
  assert.equal(scene.task('new1').attempt, 3);
});

test('a global service is on every node that it may be on; on a paused one it stays, of a lost one nothing is asked', () => {
  const scene = new Scene(
    ...[node('a'), node('b'), node('c', { availability: 'drain' }), node('d', { state: 'down' })],
    ...[node('e', { availability: 'pause' }), node('f', { availability: 'pause' })],
    service({ spec: { Mode: { Global: {} } } }),
    ...['a', 'c', 'd', 'e'].map((NodeID) => task(`on-${NodeID}`, { Slot: 0, NodeID })),
  );
  assert.deepEqual(said(scene.decides(orchestrator())), ['new web.b r1 is to running', 'on-c is to remove']);
});

test('a global service leaves a node that is gone', () => {
  const scene = new Scene(service({ spec: { Mode: { Global: {} } } }), task('t1', { Slot: 0 }));
  assert.deepEqual(said(scene.decides(orchestrator())), ['t1 is to remove']);
});

const JOB = { JobStatus: { JobIteration: 1, LastExecution: iso(0) } };
const RUN = { JobIteration: 1, DesiredState: 'complete' as const };

test('a job has so many tasks at once until so many completed', () => {
  const Mode = { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 3 } };
  const scene = new Scene(
    node('a'),
    service({ ...JOB, spec: { Mode }, restart: { Condition: 'on-failure' } }),
  );
  assert.deepEqual(said(scene.decides(orchestrator())), [
    'new web.1 r1 is to complete',
    'new web.2 r1 is to complete',
  ]);
  scene.reports('new1', 'complete');
  assert.deepEqual(said(scene.decides(orchestrator())), ['new web.3 r1 is to complete']);
  scene.reports('new2', 'failed');
  assert.deepEqual(said(scene.decides(orchestrator())), [
    'new2 is to shutdown',
    'new web.2 r1 is to complete',
  ]);
  scene.reports('new3', 'complete');
  scene.reports('new4', 'complete');
  assert.deepEqual(said(scene.decides(orchestrator())), []);
});

test('a job that is run again gives up the tasks of the run before', () => {
  const again = { JobStatus: { JobIteration: 2, LastExecution: iso(0) } };
  const Mode = { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 1 } };
  const scene = new Scene(
    node('a'),
    service({ ...again, spec: { Mode } }),
    task('t1', { ...RUN, is: 'complete' }),
  );
  assert.deepEqual(said(scene.decides(orchestrator())), ['t1 is to remove', 'new web.2 r1 is to complete']);
});

test('a global job on a node that is lost waits for it, once', () => {
  const Mode = { GlobalJob: {} };
  const scene = new Scene(
    ...[node('a', { state: 'down' }), service({ ...JOB, spec: { Mode } })],
    task('t1', { ...RUN, Slot: 0 }),
  );
  assert.deepEqual(said(scene.decides(orchestrator())), []);
  scene.happens(node('a', { availability: 'drain' }));
  assert.deepEqual(said(scene.decides(orchestrator())), ['t1 is to remove']);
});

test('a service that is removed ends its tasks, and goes when they are gone', () => {
  const scene = new Scene(node('a'), service({ removing: true }), task('t1'));
  assert.deepEqual(said(scene.decides(orchestrator())), ['t1 is to remove']);
  scene.happens({ table: 'task', delete: 't1' });
  assert.deepEqual(said(scene.decides(orchestrator())), ['web goes']);
});

test('tasks without a service are ended', () => {
  const scene = new Scene(node('a'), task('t1'));
  assert.deepEqual(said(scene.decides(orchestrator())), ['t1 is to remove']);
});
