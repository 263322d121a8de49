import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ALL_CAPABILITIES,
  capabilitiesOfMask,
  containerCapabilities,
  DEFAULT_CAPABILITIES,
} from './capabilities.ts';

function chosen(o: {
  add?: string[];
  drop?: string[];
  privileged?: boolean;
  held?: readonly string[];
}): string[] {
  return containerCapabilities({ add: [], drop: [], privileged: false, held: ALL_CAPABILITIES, ...o });
}

test('the default ones, added to and dropped from, in any spelling', () => {
  assert.deepEqual(chosen({}), DEFAULT_CAPABILITIES);
  assert.deepEqual(chosen({ add: ['net_admin', 'CAP_CHOWN'] }), [...DEFAULT_CAPABILITIES, 'CAP_NET_ADMIN']);
  assert.ok(!chosen({ drop: ['cap_chown'] }).includes('CAP_CHOWN'));
  assert.throws(() => chosen({ add: ['CAP_NOPE'] }), /unknown capability: "CAP_NOPE"/);
});

test('ALL on one side is refined by the other', () => {
  assert.deepEqual(chosen({ drop: ['ALL'] }), []);
  assert.deepEqual(chosen({ drop: ['ALL'], add: ['KILL'] }), ['CAP_KILL']);
  const allButOne = chosen({ add: ['ALL'], drop: ['SYS_ADMIN'] });
  assert.equal(allButOne.length, ALL_CAPABILITIES.length - 1);
  assert.ok(!allButOne.includes('CAP_SYS_ADMIN'));
  assert.deepEqual(chosen({ privileged: true, drop: ['ALL'] }), ALL_CAPABILITIES);
});

test('nobody gives what he has not got', () => {
  assert.deepEqual(chosen({ privileged: true, held: ['CAP_KILL'] }), ['CAP_KILL']);
});

test('a mask is read by the numbers of capabilities(7)', () => {
  assert.deepEqual(capabilitiesOfMask('00000000a80425fb').sort(), [...DEFAULT_CAPABILITIES].sort());
  assert.deepEqual(capabilitiesOfMask('0'), []);
  assert.equal(capabilitiesOfMask('1ffffffffff').length, ALL_CAPABILITIES.length);
});
