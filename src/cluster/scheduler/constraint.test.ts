import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeRecord } from '#model/node.ts';
import { parseConstraints } from './constraint.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

function node(): NodeRecord {
  const cluster = new SimulatedCluster();
  cluster.node('n1', {
    labels: { zone: 'a', Zone: 'upper' },
    engineLabels: { storage: 'SSD' },
    role: 'manager',
    address: '10.1.2.3',
    arch: 'aarch64',
  });
  const record = cluster.view.get('node', 'n1');
  assert.ok(record);
  return record;
}

test('constraints hold of what the node says', () => {
  for (const [text, holds] of [
    ['node.id == n1', true],
    ['node.id==N1', true],
    ['node.id != n1', false],
    ['node.hostname == host-n1', true],
    ['node.role == manager', true],
    ['node.role == worker', false],
    ['node.platform.os == Linux', true],
    ['node.platform.arch == arm64', true],
    ['node.platform.arch != aarch64', false],
    ['node.labels.zone == a', true],
    ['Node.Labels.zone == A', true],
    ['node.labels.Zone == a', false],
    ['node.labels.rack == r1', false],
    ['node.labels.rack != r1', true],
    ['engine.labels.storage == ssd', true],
    ['node.ip == 10.1.2.3', true],
    ['node.ip != 10.1.2.3', false],
    ['node.ip == 10.1.0.0/16', true],
    ['node.ip == 10.2.0.0/16', false],
    ['node.ip != 10.2.0.0/16', true],
    ['node.ip == fd00::/8', false],
    ['node.ip != 10.1.0.0/99', false],
    ['node.ip == somewhere', false],
  ] as const) {
    const [constraint] = parseConstraints([text]);
    assert.equal(constraint?.holds(node()), holds, text);
  }
});

test('what is no constraint is refused in Docker’s words', () => {
  for (const [text, message] of [
    ['node.role', 'constraint expected one operator from ==, !='],
    ['node.role = manager', 'constraint expected one operator from ==, !='],
    ['no de.role == manager', "key 'no de.role' is invalid"],
    ['== manager', "key '' is invalid"],
    ['node.labels.zone == ', "value '' is invalid"],
    ['node.labels.zone == a,b', "value 'a,b' is invalid"],
    ['node.colour == red', "key 'node.colour' is invalid"],
    ['node.labels. == red', "key 'node.labels.' is invalid"],
  ] as const) {
    assert.throws(() => parseConstraints(['node.role == worker', text]), { kind: 'invalid', message }, text);
  }
});
