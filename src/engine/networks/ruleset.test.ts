import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addBridge, addPort, removeBridge, removePort, wholeTable } from './ruleset.ts';

const BRIDGE = { bridge: 'br-1', subnet: '10.1.0.0/16', internal: false, masquerade: true, icc: true };
const PORT = { protocol: 'tcp', hostIp: '0.0.0.0', hostPort: 8080, address: '10.1.0.2', port: 80 } as const;

/** The sets that an element is put into. */
const sets = (text: string): string[] => [...text.matchAll(/element ip t (\w+)/g)].map(([, set = '']) => set);

test('a bridge is an element of the sets that say what it may', () => {
  assert.deepEqual(sets(addBridge('t', BRIDGE)), ['bridges', 'hairpin', 'pairs', 'masqueraded']);
  assert.deepEqual(sets(addBridge('t', { ...BRIDGE, icc: false })), ['bridges', 'hairpin', 'masqueraded']);
  assert.deepEqual(sets(addBridge('t', { ...BRIDGE, internal: true })), [
    'bridges',
    'hairpin',
    'pairs',
    'internal',
  ]);
  assert.deepEqual(sets(addBridge('t', { ...BRIDGE, masquerade: false })), ['bridges', 'hairpin', 'pairs']);
});

test('what is added is what is removed', () => {
  assert.equal(removeBridge('t', BRIDGE), addBridge('t', BRIDGE).replaceAll('add ', 'delete '));
  for (const port of [PORT, { ...PORT, hostIp: '127.0.0.1' }]) {
    const target = ' : 10.1.0.2 . 80';
    assert.equal(removePort('t', port), addPort('t', port).replace('add ', 'delete ').replace(target, ''));
  }
  assert.deepEqual(sets(addPort('t', PORT)), ['ports']);
  assert.deepEqual(sets(addPort('t', { ...PORT, hostIp: '127.0.0.1' })), ['ports_at']);
});

test('the table is replaced as a whole, with every bridge and port in it', () => {
  const text = wholeTable('t', [BRIDGE], [PORT]);
  assert.match(text, /^\nadd table ip t\ndelete table ip t\ntable ip t {/);
  assert.ok(text.endsWith(addBridge('t', BRIDGE) + addPort('t', PORT)));
});
