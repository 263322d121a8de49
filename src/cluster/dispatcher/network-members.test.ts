import assert from 'node:assert/strict';
import { test } from 'node:test';
import { network, node, Scene, service, task } from '#cluster/controllers/scene.ts';
import type { Write } from '#cluster/state/tables.ts';
import { NetworkMembers } from './network-members.ts';

const ON_NET = { networks: [{ networkId: 'net', address: '10.0.1.5/24', aliases: [] }] };

test('what a node says of a task on its way is nothing to the networks, until connections go to it', () => {
  const members = new NetworkMembers();
  const scene = new Scene();
  const affected = (...writes: (Write | Write[])[]): string[] =>
    scene.happens(...writes).flatMap((change) => [...members.observe(change)]);
  affected(node('a'), network('net'), service());
  assert.deepEqual(affected(task('t1', { ...ON_NET, is: 'assigned' })), ['a']);
  for (const is of ['accepted', 'preparing', 'starting'] as const)
    assert.deepEqual(affected(task('t1', { ...ON_NET, is })), [], is);
  assert.deepEqual(affected(task('t1', { ...ON_NET, is: 'running' })), ['a']);
  assert.deepEqual(affected(task('t1', { ...ON_NET, is: 'running', DesiredState: 'shutdown' })), ['a']);
  assert.deepEqual(affected(task('t1', { ...ON_NET, is: 'failed', DesiredState: 'shutdown' })), ['a']);
  assert.equal(members.tasksOn('net').size, 0);
});
