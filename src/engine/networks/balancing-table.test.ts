import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Balances,
  balancingChanges,
  balancingDifferences,
  readBalances,
  wholeBalancing,
} from './balancing-table.ts';
import { VIRTUAL_IPS } from './virtual-ips.ts';

const balances = (o: Record<string, string[]>): Balances => new Map(Object.entries(o));
const changes = (old: Balances, wanted: Balances): string[] =>
  balancingChanges(VIRTUAL_IPS, old, wanted).trim().split('\n').filter(Boolean);

test('a key with destinations is in both sets; one without is only to be refused', () => {
  assert.deepEqual(
    changes(balances({}), balances({ '10.0.0.2': ['10.0.0.3', '10.0.0.4'], '10.0.0.9': [] })),
    [
      'add element ip drover_services keys { 10.0.0.2 }',
      'add chain ip drover_services to_10_0_0_2',
      'flush chain ip drover_services to_10_0_0_2',
      'add rule ip drover_services to_10_0_0_2  dnat ip to numgen random mod 2 map { 0 : 10.0.0.3, 1 : 10.0.0.4 }',
      'add element ip drover_services balanced { 10.0.0.2 : goto to_10_0_0_2 }',
      'add element ip drover_services keys { 10.0.0.9 }',
    ],
  );
});

test('what does not change is not touched; what has no destination left is refused', () => {
  const old = balances({ '10.0.0.2': ['10.0.0.3'], '10.0.0.9': ['10.0.0.5'] });
  assert.deepEqual(changes(old, old), []);
  assert.deepEqual(changes(old, balances({ '10.0.0.2': ['10.0.0.3'], '10.0.0.9': [] })), [
    'delete element ip drover_services balanced { 10.0.0.9 }',
    'flush chain ip drover_services to_10_0_0_9',
    'delete chain ip drover_services to_10_0_0_9',
  ]);
  assert.equal(
    changes(old, balances({ '10.0.0.2': ['10.0.0.3'] })).at(-1),
    'delete element ip drover_services keys { 10.0.0.9 }',
  );
});

test('a table that others changed is made anew as a whole', () => {
  const text = wholeBalancing(VIRTUAL_IPS, balances({ '10.0.0.2': ['10.0.0.3'] }));
  assert.match(text, /^add table ip drover_services\ndelete table ip drover_services\n/);
  assert.equal(readBalances(VIRTUAL_IPS, { nftables: [] }), undefined);
  assert.deepEqual(balancingDifferences(undefined, balances({}), String), [
    'the table is missing, or its rules were changed',
  ]);
});

test('differences are sentences', () => {
  const wanted = balances({ '10.0.0.2': ['10.0.0.3'], '10.0.0.9': [] });
  const actual = balances({ '10.0.0.2': [], '10.0.0.8': [], '10.0.0.9': [] });
  assert.deepEqual(
    balancingDifferences(actual, wanted, (key) => `virtual IP ${key}`),
    ['virtual IP 10.0.0.2 leads to nothing, not to 10.0.0.3', 'virtual IP 10.0.0.8 should not be there'],
  );
});
