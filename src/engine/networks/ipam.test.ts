import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chooseAddress, chooseSubnet, completePool, DEFAULT_POOLS } from './ipam.ts';
import {
  contains,
  formatAddress,
  formatSubnet,
  overlaps,
  parseAddress,
  parseSubnet,
  type Subnet,
} from './ipv4.ts';

const FREE = { networks: [], routes: [] };

test('addresses and subnets are read and written', () => {
  fc.assert(
    fc.property(fc.nat(0xffffffff), fc.integer({ min: 0, max: 32 }), (address, prefix) => {
      assert.equal(parseAddress(formatAddress(address)), address);
      const subnet = parseSubnet(`${formatAddress(address)}/${prefix}`);
      assert.ok(contains(subnet, address));
      assert.deepEqual(parseSubnet(formatSubnet(subnet)), subnet);
    }),
  );
  for (const text of ['', '1.2.3', '1.2.3.4.5', '1.2.3.256', '1.2.3.-4', 'a.b.c.d', '1.2.3.4 '])
    assert.throws(() => parseAddress(text), { kind: 'invalid' }, text);
  for (const text of ['1.2.3.4', '1.2.3.4/33', '1.2.3.4/', '/8', '::1/64'])
    assert.throws(() => parseSubnet(text), { kind: 'invalid' }, text);
});

test('networks are given parts of the pools in turn, past what is taken, until there are none', () => {
  assert.equal(formatSubnet(chooseSubnet(DEFAULT_POOLS, [])), '172.17.0.0/16');
  assert.equal(formatSubnet(chooseSubnet(DEFAULT_POOLS, [parseSubnet('172.17.3.0/24')])), '172.18.0.0/16');
  const taken: Subnet[] = [];
  for (;;) {
    try {
      const next = chooseSubnet(DEFAULT_POOLS, taken);
      assert.ok(!taken.some((other) => overlaps(next, other)));
      taken.push(next);
    } catch (error) {
      assert.match(String(error), /fully subnetted/);
      break;
    }
  }
  assert.equal(taken.length, 15 + 16);
});

test('what is asked for is checked against the subnet and the other networks', () => {
  const asked = { Subnet: '10.1.2.3/24' };
  assert.deepEqual(completePool(asked, [], FREE), { Subnet: '10.1.2.0/24', Gateway: '10.1.2.1' });
  assert.equal(completePool({ ...asked, Gateway: '10.1.2.254' }, [], FREE).Gateway, '10.1.2.254');
  // A route of the host is the user's to judge, another network is not.
  completePool(asked, [], { networks: [], routes: [parseSubnet('10.0.0.0/8')] });
  const networks = [parseSubnet('10.1.0.0/16')];
  assert.throws(() => completePool(asked, [], { networks, routes: [] }), /overlaps/);
  assert.throws(
    () => completePool({ ...asked, Gateway: '10.1.3.1' }, [], FREE),
    /no matching subnet for gateway/,
  );
  assert.throws(
    () => completePool({ ...asked, IPRange: '10.1.3.0/25' }, [], FREE),
    /no matching subnet for range/,
  );
});

test('every address of a range is given once, but for those that are not a container’s', () => {
  const pool = { Subnet: '10.1.2.0/28', Gateway: '10.1.2.1', AuxiliaryAddresses: { printer: '10.1.2.5' } };
  const used = new Set<string>();
  for (let count = 0; count < 12; count += 1) used.add(chooseAddress(pool, undefined, used));
  assert.equal(used.size, 12);
  for (const kept of ['10.1.2.0', '10.1.2.1', '10.1.2.5', '10.1.2.15']) assert.ok(!used.has(kept), kept);
  assert.throws(() => chooseAddress(pool, undefined, used), /no available IPv4 addresses/);
  assert.throws(() => chooseAddress(pool, '10.1.2.2', used), { kind: 'conflict' });
  assert.throws(() => chooseAddress(pool, '10.1.2.1', new Set()), { kind: 'conflict' });
  assert.throws(() => chooseAddress(pool, '10.1.9.1', new Set()), { kind: 'invalid' });
  assert.equal(chooseAddress(pool, '10.1.2.9', new Set()), '10.1.2.9');
  assert.equal(chooseAddress({ ...pool, IPRange: '10.1.2.8/29' }, undefined, new Set()), '10.1.2.8');
});
