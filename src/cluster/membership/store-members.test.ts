import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClusterView, recordKey } from '#cluster/state/cluster-view.ts';
import type { NodeRecord } from '#model/node.ts';
import { abandonedManagers, abandonedMembers, LateLeavers } from './store-members.ts';

function node(ID: string, Role: 'worker' | 'manager', State: 'ready' | 'down', manages = true): NodeRecord {
  const at = '2026-01-01T00:00:00.000Z';
  return {
    ...{ ID, CreatedAt: at, UpdatedAt: at, address: `${ID}:2377` },
    Spec: { Role, Availability: 'active' },
    Status: { State, since: at, Addr: ID },
    ...(manages ? { ManagerStatus: { Addr: `${ID}:2377` } } : {}),
  };
}

const NODES = [
  node('up', 'manager', 'ready'),
  node('away', 'manager', 'down'),
  node('demoted', 'worker', 'ready'),
  node('lost', 'worker', 'down'),
  node('left', 'worker', 'down', false),
];

test('members go whose node was removed, or was demoted and cannot leave itself', () => {
  const members = ['up', 'away', 'demoted', 'lost', 'left', 'removed', ''].map((name) => ({ name }));
  const gone = abandonedMembers(members, (id) => NODES.find(({ ID }) => ID === id), new Set());
  assert.deepEqual(
    gone.map(({ name }) => name),
    ['lost', 'left', 'removed'],
  );
});

test('a lost worker manages no more by its record', () => {
  const view = viewOf(NODES);
  const { ManagerStatus: _, ...put } = node('lost', 'worker', 'down');
  assert.deepEqual(abandonedManagers(view, new Set()), [{ table: 'node', put }]);
});

test('one that was demoted while it was away, and came back without its store, is taken out after a while', () => {
  let nowMs = 0;
  const leavers = new LateLeavers({ monotonicMs: () => nowMs });
  const view = viewOf(NODES);
  assert.deepEqual([...leavers.look(view)], []);
  nowMs = 60_000;
  const late = leavers.look(view);
  assert.deepEqual([...late], ['demoted', 'lost']);
  const members = abandonedMembers([{ name: 'up' }, { name: 'demoted' }], (id) => view.get('node', id), late);
  assert.deepEqual(members, [{ name: 'demoted' }]);
  assert.deepEqual(
    abandonedManagers(view, late).map((write) => 'put' in write && write.put.ID),
    ['demoted', 'lost'],
  );
  // promoted again, it has as much time once more
  assert.deepEqual([...leavers.look(viewOf([node('demoted', 'manager', 'ready')]))], []);
  assert.deepEqual([...leavers.look(view)].includes('demoted'), false);
});

function viewOf(nodes: readonly NodeRecord[]): ClusterView {
  const view = new ClusterView();
  const entries = nodes.map((each) => ({
    key: recordKey('node', each.ID),
    value: JSON.stringify(each),
    revision: 1,
  }));
  view.replace({ revision: 5, entries });
  return view;
}
