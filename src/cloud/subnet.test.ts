import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressOf, checkSubnet, chooseSubnet } from './subnet.ts';

test('a free subnet is one that nothing overlaps, whichever of the two is larger', () => {
  assert.equal(chooseSubnet({ seed: 0, taken: [] }), '10.208.0.0/24');
  assert.equal(chooseSubnet({ seed: 4095, taken: ['10.223.255.9/32'] }), '10.208.0.0/24');
  assert.equal(chooseSubnet({ seed: 0, taken: ['10.208.0.0/16', '10.209.0.1/24'] }), '10.209.1.0/24');
  assert.equal(chooseSubnet({ seed: 5, taken: ['0.0.0.0/0', 'fe80::1/64', '::/0'] }), '10.208.5.0/24');
  assert.throws(() => chooseSubnet({ seed: 0, taken: ['10.0.0.0/8'] }), /no free subnet/);
});

test('addresses are counted from the base, and the broadcast address is none', () => {
  assert.equal(addressOf('10.20.30.0/24', 1), '10.20.30.1/24');
  assert.equal(addressOf('10.20.30.77/24', 254), '10.20.30.254/24');
  assert.equal(addressOf('10.20.30.0/23', 257), '10.20.31.1/23');
  assert.throws(() => addressOf('10.20.30.0/29', 7), /too small/);
});

test('what is no subnet is refused', () => {
  assert.equal(checkSubnet('192.168.9.0/24'), '192.168.9.0/24');
  for (const wrong of ['10.0.0.0', '10.0.0/24', '10.0.0.0/30', '10.0.0.256/24', 'fe80::/64'])
    assert.throws(() => checkSubnet(wrong), /invalid subnet/, wrong);
});
