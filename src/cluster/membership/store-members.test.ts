import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClusterView, recordKey } from '#cluster/state/cluster-view.ts';
import type { NodeRecord } from '#model/node.ts';
import { abandonedManagers, abandonedMembers } from './store-members.ts';

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
  const gone = abandonedMembers(members, (id) => NODES.find(({ ID }) => ID === id));
  assert.deepEqual(
    gone.map(({ name }) => name),
    ['lost', 'left', 'removed'],
  );
});

test('a lost worker manages no more by its record', () => {
  const view = new ClusterView();
  view.replace({
    revision: 5,
    entries: NODES.map((each) => ({
      key: recordKey('node', each.ID),
      value: JSON.stringify(each),
      revision: 1,
    })),
  });
  const { ManagerStatus: _, ...put } = node('lost', 'worker', 'down');
  assert.deepEqual(abandonedManagers(view), [{ table: 'node', put }]);
});
