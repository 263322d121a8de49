import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProcessTable, psArguments } from './process-table.ts';

test('the container’s processes are picked out of the table, the last column with its spaces', () => {
  const text = [
    'UID          PID    PPID  C STIME TTY          TIME CMD',
    'root           1       0  0 00:00 ?        00:00:01 /sbin/init',
    'root          42       1  0 00:00 ?        00:00:00 sh -c sleep  10',
    '',
  ].join('\n');
  assert.deepEqual(parseProcessTable(text, new Set([42])), {
    Titles: ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'],
    Processes: [['root', '42', '1', '0', '00:00', '?', '00:00:00', 'sh -c sleep 10']],
  });
  assert.throws(() => parseProcessTable('CMD\nx\n', new Set([1])), /Couldn't find PID field/);
});

test('arguments are words', () => {
  assert.deepEqual(psArguments(' '), ['-ef']);
  assert.deepEqual(psArguments('-o pid,comm'), ['-o', 'pid,comm']);
  assert.throws(() => psArguments('--help'), { kind: 'invalid' });
});
