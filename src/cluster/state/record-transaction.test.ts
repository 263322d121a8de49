import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Scene, service, task } from '#cluster/controllers/scene.ts';
import { kindOf } from '#model/errors.ts';
import type { ServiceRecord } from '#model/service.ts';
import { nameKey } from './cluster-view.ts';
import { transactionOf } from './record-transaction.ts';

const NAME = nameKey('service', 'web');

/** `web`, in the view with its name, as two commits made it. */
function known(change: Partial<ServiceRecord> = {}): Scene {
  const scene = new Scene(service(change));
  scene.view.apply({
    revision: 2,
    changes: [{ kind: 'put', entry: { key: NAME, value: 'web', revision: 2 } }],
  });
  return scene;
}

test('a record is written if it is still what the view shows', () => {
  const { view } = new Scene(task('t1'));
  const { checks } = transactionOf(view, [task('t1'), task('t2')], [{ key: 'leader', revision: 7 }]);
  assert.deepEqual(checks, [
    { key: 'leader', revision: 7 },
    { key: 'task/t1', revision: 1 },
    { key: 'task/t2', revision: 0 },
  ]);
});

test('a new record takes its name, if that is nobody’s', () => {
  const { checks, puts } = transactionOf(new Scene().view, service().slice(0, 1));
  assert.deepEqual(checks, [
    { key: 'service/web', revision: 0 },
    { key: NAME, revision: 0 },
  ]);
  assert.deepEqual(
    puts.map(({ key }) => key),
    ['service/web', NAME],
  );
});

test('a name that is another’s is refused', () => {
  const other = service({ ID: 'other', spec: { Name: 'web' } }).slice(0, 1);
  assert.throws(
    () => transactionOf(known().view, other),
    (error) => kindOf(error) === 'conflict',
  );
});

test('a record that keeps its name says nothing of it', () => {
  const { checks, puts, deletes } = transactionOf(known().view, service({ replicas: 5 }).slice(0, 1));
  assert.deepEqual([checks.length, puts.length, deletes], [1, 1, []]);
});

test('what goes, or is about to, gives its name up, once', () => {
  const removing = service({ removing: true }).slice(0, 1);
  assert.deepEqual(transactionOf(known().view, removing).deletes, [NAME]);
  assert.deepEqual(transactionOf(known().view, [{ table: 'service', delete: 'web' }]).deletes, [
    'service/web',
    NAME,
  ]);
  assert.deepEqual(transactionOf(known({ removing: true }).view, removing).deletes, []);
});
