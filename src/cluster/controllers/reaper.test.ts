import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Write } from '#cluster/state/tables.ts';
import { Reaper } from './reaper.ts';
import { node, Scene, START_MS, said, service, swarm, task } from './scene.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

function reaper(fencedInMs = 0, isSingleWriter = () => false): Reaper {
  return new Reaper({ isSingleWriter, fencedInMs: () => fencedInMs });
}

function limited(TaskHistoryRetentionLimit: number): Write[] {
  return swarm({ spec: { Orchestration: { TaskHistoryRetentionLimit } } });
}

/** `count` tasks that ended, one after the other, in a place where another one runs. */
function history(count: number): Write[] {
  const ended = Array.from({ length: count }, (_, i) =>
    task(`t${i + 1}`, { attempt: i + 1, is: 'failed', DesiredState: 'shutdown' }),
  );
  return [...ended, task('now', { attempt: count + 1 })];
}

const LIMITS: [number | undefined, number, string[]][] = [
  [undefined, 5, []],
  [undefined, 7, ['t1 goes', 't2 goes']],
  [1, 3, ['t1 goes', 't2 goes']],
  [0, 2, ['t1 goes', 't2 goes']],
];

for (const [limit, count, expected] of LIMITS) {
  test(`of ${count} tasks that ended in a place, with a limit of ${limit ?? 'Docker’s'}, ${expected.length} go`, () => {
    const scene = new Scene(
      limit === undefined ? [] : limited(limit),
      node('a'),
      service(),
      ...history(count),
    );
    assert.deepEqual(said(scene.decides(reaper())), expected);
  });
}

test('the last task of a place stays, and tells why nothing else is there', () => {
  const scene = new Scene(limited(0), service(), task('t1', { is: 'failed', DesiredState: 'shutdown' }));
  assert.deepEqual(said(scene.decides(reaper())), []);
});

test('a task that is to be removed goes when it is over, and not before', () => {
  const scene = new Scene(node('a'), service(), task('t1', { DesiredState: 'remove' }));
  assert.deepEqual(said(scene.decides(reaper())), []);
  scene.reports('t1', 'shutdown');
  assert.deepEqual(said(scene.decides(reaper())), ['t1 goes']);
});

test('one that never came to a node is over as soon as nobody wants it', () => {
  const scene = new Scene(service(), task('t1', { is: 'pending', DesiredState: 'remove' }));
  assert.deepEqual(said(scene.decides(reaper())), ['t1 goes']);
});

test('what was on a node that is gone is given up when its single writers are surely over', () => {
  const scene = new Scene(service(), task('t1', { DesiredState: 'remove' }));
  assert.deepEqual(scene.decides(reaper(3000)), { writes: [], againAtMs: START_MS + 3000 });
  assert.deepEqual(said(scene.decides(reaper())), ['t1 is orphaned']);
  assert.deepEqual(said(scene.decides(reaper())), ['t1 goes']);
});

test('what was on a node that is lost is given up after a day', () => {
  const scene = new Scene(node('a', { state: 'down' }), service(), task('t1', { DesiredState: 'shutdown' }));
  assert.deepEqual(scene.decides(reaper()), { writes: [], againAtMs: START_MS + DAY_MS });
  scene.nowMs += DAY_MS;
  assert.deepEqual(said(scene.decides(reaper())), ['t1 is orphaned']);
});

test('but not what may still write there, which only a person can say', () => {
  const down = node('a', { state: 'down' });
  const scene = new Scene(down, service(), task('t1', { DesiredState: 'shutdown' }));
  scene.nowMs += DAY_MS;
  assert.deepEqual(scene.decides(reaper(0, () => true)), { writes: [] });
  const fenced = new Scene(down, service(), task('t1', { DesiredState: 'shutdown', fenced: true }));
  fenced.nowMs += DAY_MS;
  assert.deepEqual(said(fenced.decides(reaper(0, () => true))), ['t1 is orphaned']);
});

test('what is wanted is left alone, wherever its node is', () => {
  const scene = new Scene(service(), task('t1'), task('t2', { Slot: 2, is: 'failed' }));
  assert.deepEqual(scene.decides(reaper()), { writes: [] });
});

test('revisions go that neither the service nor a task names', () => {
  const scene = new Scene(
    ...[1, 2, 3, 4].map((revision) => service({ revision, previousRevision: 3 })),
    task('t1', { revision: 2 }),
  );
  assert.deepEqual(said(scene.decides(reaper())), ['web.1 goes']);
  scene.happens({ table: 'task', delete: 't1' }, { table: 'service', delete: 'web' });
  assert.deepEqual(said(scene.decides(reaper())), ['web.2 goes', 'web.3 goes', 'web.4 goes']);
});

test('what there is no room for in one round goes in the next', () => {
  const scene = new Scene(limited(0), node('a'), service(), ...history(5));
  assert.equal(scene.decides(reaper(), 'web', 2).writes.length, 2);
  assert.equal(scene.decides(reaper(), 'web', 2).writes.length, 2);
  assert.equal(scene.decides(reaper(), 'web', 2).writes.length, 1);
});
