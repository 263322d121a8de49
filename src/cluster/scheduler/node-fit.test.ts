import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeFit } from './node-fit.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

test('a node fits by what it is, whatever it has to do and whether it takes tasks', () => {
  const cluster = new SimulatedCluster();
  cluster.node('n1', { labels: { zone: 'a' }, state: 'down', cpus: 1 });
  const node = cluster.view.get('node', 'n1');
  assert.ok(node);
  const fits = nodeFit();
  const ContainerSpec = { Image: 'app' };
  for (const [expected, Placement] of [
    [true, {}],
    [true, { Constraints: ['node.labels.zone == a'], Platforms: [{ Architecture: 'amd64' }] }],
    [false, { Constraints: ['node.labels.zone == b'] }],
    [false, { Constraints: ['what is this'] }],
    [false, { Platforms: [{ Architecture: 'arm64' }] }],
  ] as const) {
    const template = {
      ContainerSpec,
      Placement: structuredClone(Placement) as object,
      Resources: { Reservations: { NanoCPUs: 8e9 } },
    };
    assert.equal(fits(node, template), expected);
    assert.equal(fits(node, template), expected, 'remembered');
  }
});
