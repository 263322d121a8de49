import assert from 'node:assert/strict';
import { test } from 'node:test';
import { network, node, Scene, service, swarm, task } from '#cluster/controllers/scene.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import { NetworkMembers } from './network-members.ts';
import { planOfNode } from './plan-of-node.ts';

const SWARM = swarm().map(withKeys);

function withKeys(write: Write): Write {
  if (write.table !== 'swarm' || !('put' in write)) return write;
  const networkKeys = ['k1', 'k2'].map((id) => ({ id, sealed: `sealed ${id}`, createdAt: '' }));
  return { table: 'swarm', put: { ...write.put, networkKeys } };
}

function nodeWith(id: string, salts: string[]): Write {
  const made = node(id);
  if (made.table !== 'node' || !('put' in made)) throw new Error('no node');
  const Description = {
    ...{ Hostname: id, Platform: { Architecture: '', OS: '' }, Resources: { NanoCPUs: 0, MemoryBytes: 0 } },
    ...{ Engine: { EngineVersion: '', Labels: {}, Plugins: [] }, encryption: { salts } },
  };
  const Status = { ...made.put.Status, Addr: `addr-${id}` };
  return { table: 'node', put: { ...made.put, Description, Status } };
}

function on(id: string, NodeID: string, networkId: string): Write {
  return task(id, { NodeID, networks: [{ networkId, address: '10.1.0.5/24', aliases: [] }] });
}

class Story {
  readonly scene = new Scene();
  readonly members = new NetworkMembers();
  readonly opened: string[] = [];

  happens(...writes: (Write | Write[])[]): (Iterable<string> | 'all')[] {
    return this.scene.happens(...writes).map((change: ViewChange) => this.members.observe(change));
  }

  plan(nodeId: string): NetworkPlan {
    return planOfNode(this.scene.view, nodeId, this.members, ({ id, sealed }) => {
      this.opened.push(id);
      return `${sealed}, opened`;
    });
  }
}

const STORY: (Write | Write[])[] = [
  SWARM,
  ['a', 'b', 'c'].map((id) => nodeWith(id, [`salt-${id}`])),
  network('secret', { EncryptedOption: true }),
  network('open'),
  service(),
  [on('t1', 'a', 'secret'), on('t2', 'b', 'secret'), on('t3', 'c', 'open'), on('t4', 'a', 'open')],
];

test('keys go to nodes with a task on an encrypted network, and are opened for no others', () => {
  const story = new Story();
  story.happens(...STORY);
  assert.equal(story.plan('c').encryption, undefined);
  assert.deepEqual(story.opened, []);
  assert.deepEqual(story.plan('a').encryption, {
    keys: [
      { id: 'k1', key: 'sealed k1, opened' },
      { id: 'k2', key: 'sealed k2, opened' },
    ],
    primary: 'k1',
    salts: ['salt-a'],
    peers: [{ nodeId: 'b', address: 'addr-b', salts: ['salt-b'] }],
  });
  story.happens({ table: 'task', delete: 't1' });
  assert.equal(story.plan('a').encryption, undefined);
});

test('another salt or key is news to nodes, and a swarm that changes otherwise is none', () => {
  const story = new Story();
  story.happens(...STORY);
  assert.deepEqual(story.happens(nodeWith('b', ['salt-b', 'salt-b2'])), ['all']);
  assert.deepEqual(story.happens(nodeWith('b', ['salt-b', 'salt-b2'])), [[]]);
  assert.deepEqual(story.plan('a').encryption?.peers[0]?.salts, ['salt-b', 'salt-b2']);
  const [swarm] = SWARM;
  if (swarm?.table !== 'swarm' || !('put' in swarm)) throw new Error('no swarm');
  assert.deepEqual(story.happens({ table: 'swarm', put: { ...swarm.put, UpdatedAt: 'later' } }), [[]]);
  const { networkKeys: _, ...keyless } = swarm.put;
  assert.deepEqual(story.happens({ table: 'swarm', put: keyless }), ['all']);
  assert.equal(story.plan('a').encryption, undefined);
});
