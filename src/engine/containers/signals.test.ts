import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSignal } from './signals.ts';

test('signals are numbers or names, with or without SIG', () => {
  const cases: [string, number][] = [
    ['9', 9],
    ['KILL', 9],
    ['sigterm', 15],
    ['SIGHUP', 1],
    ['RTMIN', 34],
    ['SIGRTMIN+3', 37],
    ['RTMAX-2', 62],
  ];
  for (const [text, number] of cases) assert.equal(parseSignal(text), number, text);
});

test('what is no signal is refused by name', () => {
  for (const text of ['', '0', '65', 'NOPE', 'RTMIN-1', 'RTMIN+31', '9x', 'constructor']) {
    assert.throws(() => parseSignal(text), { message: `invalid signal: ${text}`, kind: 'invalid' });
  }
});
