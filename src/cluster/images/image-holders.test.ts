import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeRecord, NodeState } from '#model/node.ts';
import { holdersOf } from './image-holders.ts';
import { imageKeys } from './image-keys.ts';

const ID = `sha256:${'1'.repeat(64)}`;
const first = { below: () => 0 };

function node(name: string, images: string[], State: NodeState = 'ready'): NodeRecord {
  return {
    ID: `id-${name}`,
    CreatedAt: '',
    UpdatedAt: '',
    Spec: { Role: 'worker', Availability: 'active', Labels: {} },
    Status: { State, since: '', Addr: '' },
    Description: {
      Hostname: name,
      Platform: { Architecture: 'x86_64', OS: 'linux' },
      Resources: { NanoCPUs: 1, MemoryBytes: 1 },
      Engine: { EngineVersion: '', Labels: {}, Plugins: [] },
      images,
    },
    address: `${name}:2377`,
  };
}

function names(nodes: NodeRecord[], image: string, o: { except?: string[]; below?: () => number } = {}) {
  const random = { below: o.below ?? first.below };
  return holdersOf(nodes, { image, except: o.except ?? [], random }).map(({ hostname }) => hostname);
}

test('an image is known by its name, its ID, or the digest that a repository has it under', () => {
  assert.deepEqual(imageKeys('web'), ['web:latest']);
  assert.deepEqual(imageKeys('docker.io/library/web:2'), ['web:2']);
  assert.deepEqual(imageKeys('localhost:5000/a/web:2'), ['localhost:5000/a/web:2']);
  assert.deepEqual(imageKeys(ID), [ID]);
  assert.deepEqual(imageKeys(`web:2@${ID}`), [`web@${ID}`, ID]);
  assert.deepEqual(imageKeys('No Such'), ['No Such']);
});

test('who is there and has the image is named, by whichever of its names it says so', () => {
  const nodes = [
    node('a', ['web:1']),
    node('b', ['web:2', ID]),
    node('c', [`web@${ID}`]),
    node('d', ['web:1', ID], 'down'),
    { ...node('e', []), Description: undefined },
  ].map(({ Description, ...rest }) => (Description === undefined ? rest : { ...rest, Description }));
  assert.deepEqual(names(nodes, 'web:1'), ['a']);
  assert.deepEqual(names(nodes, `web:1@${ID}`), ['b', 'c'], 'the digest counts, not the tag');
  assert.deepEqual(names(nodes, ID), ['b']);
  assert.deepEqual(names(nodes, ID, { except: ['id-b'] }), []);
});

test('a few are named, spread by chance', () => {
  const nodes = Array.from({ length: 20 }, (_, i) => node(`n${i}`, ['web:1']));
  const seen = new Set<string>();
  for (let i = 0; i < 20; i++) {
    const chosen = names(nodes, 'web:1', { below: () => (i * 7) % 17 });
    assert.equal(new Set(chosen).size, 4);
    seen.add(chosen[0] ?? '');
  }
  assert.ok(seen.size > 10, `only ${seen.size} of 20 are ever the first`);
  assert.equal(holdersOf(nodes, { image: 'web:1', except: [], random: first })[0]?.address, 'n0:2377');
});
