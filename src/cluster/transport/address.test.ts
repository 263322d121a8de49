import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAddress } from './address.ts';

test('an address is a host and a port', () => {
  assert.deepEqual(parseAddress('10.0.0.1:2377'), { host: '10.0.0.1', port: 2377 });
  assert.deepEqual(parseAddress('manager-1.example:1'), { host: 'manager-1.example', port: 1 });
  assert.deepEqual(parseAddress('[fe80::1]:65535'), { host: 'fe80::1', port: 65_535 });
  for (const wrong of [
    '',
    'host',
    'host:',
    ':1',
    'host:0',
    'host:65536',
    'fe80::1:1',
    '[host]:1',
    'a b:1',
    'a/b:1',
    '[::1]',
  ])
    assert.throws(() => parseAddress(wrong), /invalid address/, wrong);
});
