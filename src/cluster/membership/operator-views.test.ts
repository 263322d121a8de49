import assert from 'node:assert/strict';
import { test } from 'node:test';
import { network, node, Scene, service, task } from '#cluster/controllers/scene.ts';
import type { Write } from '#cluster/state/tables.ts';
import { withoutFences, withoutOtherManagers } from './cluster-backup.ts';
import { servicesInChange, waitingTasks } from './cluster-status.ts';
import { resolve } from './network-inspection.ts';
import { explainService } from './service-explanation.ts';

const ON_NET = { networks: [{ networkId: 'net', address: '10.0.1.5/24', aliases: ['web.1.t1'] }] };

test('what waits is listed with its reason, and what changes or stopped changing', () => {
  const waiting = { reason: 'no suitable node', since: '2030-01-01T00:00:00.000Z' };
  const scene = new Scene(
    service({ UpdateStatus: { State: 'paused', Message: 'a task failed', revision: 1 } }),
    task('t1', { is: 'pending', waiting }),
    task('t2', { is: 'running', Slot: 2, waiting }),
    task('t3', { is: 'pending', Slot: 3, waiting, DesiredState: 'shutdown' }),
  );
  assert.deepEqual(
    waitingTasks(scene.view).map(({ name, reason }) => [name, reason]),
    [['web.1', 'no suitable node']],
  );
  assert.deepEqual(servicesInChange(scene.view), [
    { name: 'web', state: 'paused', message: 'a task failed', running: 1, desired: 1 },
  ]);
});

test('a service, a task, its container and an address lead to the nodes they are on', () => {
  const container = 'c0ffee'.repeat(10);
  const status = { ContainerStatus: { ContainerID: container, PID: 1, ExitCode: 0 } };
  const scene = new Scene(node('a'), service(), task('t1', { NodeID: 'a', ...ON_NET }));
  const known = scene.task('t1');
  scene.happens({ table: 'task', put: { ...known, Status: { ...known.Status, ...status } } });
  for (const reference of ['web.1', 't1', container.slice(0, 12), '10.0.1.5', 'web.1.t1']) {
    assert.deepEqual([...resolve(scene.view, reference).nodeIds], ['a'], reference);
  }
  assert.deepEqual(resolve(scene.view, 'web').networkIds, new Set(['net']));
  assert.deepEqual([...resolve(scene.view, 'nobody').nodeIds], []);
});

test('an attached container leads to its node by any of its names', () => {
  const containerId = 'c0ffee'.repeat(10);
  const put = {
    ...{ ID: 'one', CreatedAt: '', UpdatedAt: '', nodeId: 'a', networkId: 'net', containerId },
    ...{ names: ['plain', 'alias'], address: '10.0.1.7/24' },
  };
  const { view } = new Scene(node('a'), { table: 'attachment', put });
  for (const reference of ['plain', 'alias', '10.0.1.7', containerId.slice(0, 12)]) {
    const { reference: known, nodeIds, networkIds } = resolve(view, reference);
    assert.deepEqual([known, [...nodeIds], [...(networkIds ?? [])]], ['plain', ['a'], ['net']], reference);
  }
});

test('any manager explains a service by its view alone', () => {
  const scene = new Scene(node('a'), node('b'), service(), task('t1', { NodeID: 'a', is: 'running' }));
  const { name, tasks } = explainService(scene.view, 'web');
  assert.equal(name, 'web');
  assert.match(tasks[0]?.summary ?? '', /^it is on a/);
  assert.throws(() => explainService(scene.view, 'nothing'), { kind: 'not-found' });
  const waiting = { reason: 'node b was lost', since: '2030-01-01T00:00:00.000Z' };
  scene.happens(task('t1', { NodeID: 'a', is: 'ready', DesiredState: 'ready', waiting }));
  assert.equal(explainService(scene.view, 'web').tasks[0]?.summary, 'node b was lost');
});

test('what an older store says of fences is taken back, but for what is over', () => {
  const scene = new Scene(
    ...[node('a'), service(), task('t1', { fenced: true }), task('t2')],
    task('t3', { fenced: true, is: 'failed' }),
  );
  scene.happens(withoutFences(scene.view));
  assert.deepEqual(
    ['t1', 't2', 't3'].map((id) => scene.task(id).fenced),
    [undefined, undefined, true],
  );
});

test('what a node cannot do for a service’s networks is explained', () => {
  const template = { ContainerSpec: { Image: 'bb' }, Networks: [{ Target: 'secret' }] };
  const scene = new Scene(node('a'), network('secret', { EncryptedOption: true }), service());
  const revision = scene.view.get('revision', 'web.1');
  assert.ok(revision !== undefined);
  scene.happens({ table: 'revision', put: { ...revision, template } }, task('t1', { is: 'pending' }));
  const { tasks } = explainService(scene.view, 'web');
  assert.match(tasks[0]?.summary ?? '', /encrypted networks not supported on 1 node/);
});

test('who goes on alone is the only manager; a record at its address goes', () => {
  const manager = (id: string): Write => {
    const made = node(id);
    if (made.table !== 'node' || !('put' in made)) throw new Error('no node');
    const Spec = { ...made.put.Spec, Role: 'manager' as const };
    return { table: 'node', put: { ...made.put, Spec, ManagerStatus: { Addr: id } } };
  };
  const scene = new Scene(manager('self'), manager('other'), node('worker'), node('taken'));
  scene.happens(withoutOtherManagers(scene.view, 'self', 'taken'));
  const roles = [...scene.view.all('node')].map(({ ID, Spec, ManagerStatus }) => [
    ID,
    Spec.Role,
    ManagerStatus !== undefined,
  ]);
  assert.deepEqual(roles.sort(), [
    ['other', 'worker', false],
    ['self', 'manager', true],
    ['worker', 'worker', false],
  ]);
});
