import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ActualXfrmState } from '#linux/xfrm-messages.ts';
import type { NetworkPlan, PlannedEncryption } from '#model/network-plan.ts';
import { directionKey } from './encryption-keys.ts';
import {
  type ActualEncryption,
  encryptionChanges,
  lockPolicies,
  noEncryption,
  REQID,
  type Sending,
  type SendingMemory,
  sendingTo,
  type WantedEncryption,
  wantedEncryption,
} from './encryption-state.ts';

const KEYS = ['a', 'b', 'c', 'd'].map((id, i) => ({ id, key: Buffer.alloc(32, i).toString('base64') }));
const PLAN: NetworkPlan = {
  ...{ nodeId: 'me', dataPathAddress: '192.0.2.1', dataPathPort: 4789 },
  ...{ networks: [], ports: [], ingressNetworkId: undefined },
};
const PEER = { nodeId: 'it', address: '192.0.2.2', salts: ['s1'] };
const encryption = (o: Partial<PlannedEncryption> = {}): PlannedEncryption => ({
  ...{ keys: KEYS.slice(0, 3), primary: 'b', salts: ['mine'], peers: [PEER] },
  ...o,
});
const FRESH: SendingMemory = { salts: ['mine'], used: [] };
const EMPTY: ActualEncryption = { states: [], policies: [] };

const sent = (keyIndex: number, salt: string, count = 0): ActualXfrmState => {
  const clusterKey = KEYS[keyIndex]?.key ?? '';
  const { spi } = directionKey({ clusterKey, salt, sender: 'me', receiver: 'it' });
  return { source: '192.0.2.1', destination: '192.0.2.2', spi, reqid: REQID, port: 4790, sent: count };
};
const kindOf = (memory: SendingMemory, states: ActualXfrmState[], o = encryption()): string =>
  sendingTo(PLAN, o, PEER, memory, states).kind;
const wanted = (o = encryption(), memory = FRESH, states: ActualXfrmState[] = []): WantedEncryption => {
  const sendings = new Map<string, Sending>([['it', sendingTo(PLAN, o, PEER, memory, states)]]);
  return wantedEncryption(PLAN, o, sendings);
};
const made = ({ states, policies }: WantedEncryption): ActualEncryption => ({
  states: states.map((state) => ({ ...state, sent: 0 })),
  policies,
});
const words = (actual: ActualEncryption, to: WantedEncryption): string[] =>
  encryptionChanges(actual, to).map((change) =>
    'policy' in change
      ? `${change.kind} ${change.policy.action} ${change.policy.direction}`
      : `${change.kind} ${change.state.source}`,
  );

test('an association that is in the kernel is gone on with; one is made only once', () => {
  assert.equal(kindOf(FRESH, []), 'make');
  assert.equal(kindOf({ ...FRESH, used: ['b it'] }, [sent(1, 'mine')]), 'adopt');
  // it was made, and is not there any more: somebody took it away, or the machine lost its power
  assert.equal(kindOf({ ...FRESH, used: ['b it'] }, []), 'salt');
  assert.equal(kindOf({ ...FRESH, used: ['b other', 'a it'] }, []), 'make');
});

test('a new salt is sent by when peers know it; what was sent by goes on until then', () => {
  const memory = { salts: ['mine', 'next'], used: [] };
  assert.equal(kindOf(memory, []), 'wait');
  assert.equal(kindOf(memory, [sent(1, 'mine')]), 'adopt');
  assert.equal(kindOf(memory, [], encryption({ salts: ['mine', 'next'] })), 'make');
});

test('an association that has sent much is followed by another one', () => {
  const worn = sent(1, 'mine', 2 ** 31);
  assert.equal(kindOf({ salts: ['mine'], used: ['b it'] }, [worn]), 'salt');
  assert.equal(kindOf({ salts: ['mine', 'next'], used: [] }, [worn]), 'adopt');
  const known = encryption({ salts: ['mine', 'next'] });
  assert.equal(kindOf({ salts: ['mine', 'next'], used: [] }, [worn], known), 'make');
});

test('until a salt is known to peers, what the last key was sent by goes on; salts wear out', () => {
  const next = encryption({ keys: KEYS.slice(1, 4), primary: 'c' });
  assert.equal(kindOf({ salts: ['mine', 'next'], used: [] }, [sent(1, 'mine')], next), 'adopt');
  const used = Array.from({ length: 1000 }, (_, i) => `k${i} it`);
  assert.equal(kindOf({ salts: ['mine'], used }, []), 'salt');
});

test('an association of others with the same SPI is not ours to go on with', () => {
  assert.equal(kindOf({ ...FRESH, used: ['b it'] }, [{ ...sent(1, 'mine'), reqid: 1 }]), 'salt');
});

test('locks are first, what is received by before what is sent by', () => {
  assert.deepEqual(words(EMPTY, wanted()), [
    'policy block in',
    'policy block out',
    ...Array<string>(3).fill('state 192.0.2.2'),
    'state 192.0.2.1',
    'policy allow in',
    'policy allow out',
  ]);
  assert.deepEqual(words(made(wanted()), wanted()), []);
});

test('a rotation puts the next state in the policy’s place before the last one goes', () => {
  const before = made(wanted());
  const next = encryption({ keys: KEYS.slice(1, 4), primary: 'c' });
  assert.deepEqual(words(before, wanted(next, FRESH, [...before.states])), [
    'state 192.0.2.2',
    'state 192.0.2.1',
    'policy allow out',
    'remove-state 192.0.2.2',
    'remove-state 192.0.2.1',
  ]);
  // what was sent by the key before is received to the end
  assert.ok(wanted(next).states.some(({ spi }) => spi === receivedBy(1)));
});

test('what both ends compute is the same', () => {
  const theirPlan = { ...PLAN, nodeId: 'it', dataPathAddress: '192.0.2.2' };
  const me = { nodeId: 'me', address: '192.0.2.1', salts: ['mine'] };
  const theirs = wantedEncryption(
    theirPlan,
    encryption({ salts: ['s1'], peers: [me] }),
    new Map([
      ['me', sendingTo(theirPlan, encryption({ salts: ['s1'] }), me, { salts: ['s1'], used: [] }, [])],
    ]),
  );
  const path = (all: WantedEncryption, source: string): string[] =>
    all.states
      .filter((state) => state.source === source)
      .map(({ spi, key }) => `${spi} ${key.toString('hex')}`);
  const [mine] = path(wanted(), '192.0.2.1');
  assert.ok(path(theirs, '192.0.2.1').includes(mine ?? ''));
  assert.ok(path(wanted(), '192.0.2.2').includes(path(theirs, '192.0.2.2')[0] ?? ''));
});

test('without a peer’s word, or its hearing ours, nothing passes, and it is said', () => {
  const silent = wanted(encryption({ peers: [{ ...PEER, salts: [] }] }));
  assert.deepEqual(silent.states, []);
  assert.deepEqual(silent.policies, lockPolicies(PLAN));
  assert.match(silent.problems[0] ?? '', /^node it has not said that it can encrypt/);
  const unheard = wanted(encryption(), { salts: ['new'], used: [] });
  assert.equal(
    unheard.policies.filter(({ direction, action }) => `${direction} ${action}` === 'out allow').length,
    0,
  );
  assert.match(unheard.problems[0] ?? '', /^node it has not heard yet/);
});

test('with the last peer states go, with the last link the locks; others’ stay', () => {
  const others = { ...sent(0, 'x'), reqid: 1, spi: 5 };
  const theirPolicy = { ...lockPolicies(PLAN)[0], priority: 5 } as never;
  const before = made(wanted());
  const there = { states: [...before.states, others], policies: [...before.policies, theirPolicy] };
  assert.ok(!words(there, noEncryption(PLAN, true)).includes('remove-policy block in'));
  const all = words({ ...before, states: there.states }, noEncryption(PLAN, false));
  assert.deepEqual(all.slice(0, 4), [
    'remove-policy allow in',
    'remove-policy allow out',
    'remove-policy block in',
    'remove-policy block out',
  ]);
  assert.equal(all.length, 4 + before.states.length);
});

test('two associations to this node with one SPI: the second is said, not made', () => {
  const twice = wanted(encryption({ peers: [PEER, PEER] }));
  assert.equal(twice.problems.length, 4);
});

function receivedBy(keyIndex: number): number {
  const clusterKey = KEYS[keyIndex]?.key ?? '';
  return directionKey({ clusterKey, salt: 's1', sender: 'it', receiver: 'me' }).spi;
}
