import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cuts } from './cloud-state.ts';
import { cutFrom, withCut, withoutCuts } from './cuts.ts';

const NONE: Cuts = { isolated: [], links: [] };

test('a link is cut once, whichever end is named first', () => {
  const cuts = withCut(withCut(NONE, 'node1', ['node2', 'node3', 'node3']), 'node2', ['node1']);
  assert.deepEqual(cutFrom(cuts, 'node1').sort(), ['node2', 'node3']);
  assert.deepEqual(cutFrom(cuts, 'node2'), ['node1']);
  assert.equal(cuts.links.length, 2);
  assert.throws(() => withCut(NONE, 'node1', ['node1']), /from itself/);
});

test('a node is isolated once, and reaches nobody', () => {
  const cuts = withCut(withCut(NONE, 'node1', []), 'node1', []);
  assert.deepEqual(cuts.isolated, ['node1']);
  assert.deepEqual(cutFrom(cuts, 'node1'), ['*']);
});

test('healing a node ends the cuts that it has a part in', () => {
  const cuts = withCut(withCut(withCut(NONE, 'node1', []), 'node2', ['node1', 'node3']), 'node3', []);
  assert.deepEqual(withoutCuts(cuts, 'node1'), { isolated: ['node3'], links: [['node2', 'node3']] });
  assert.deepEqual(withoutCuts(cuts, undefined), NONE);
});
