import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatNanoseconds, logLine } from './log-line.ts';

const record = { timeNs: 1_767_323_045_012_345_678n, data: Buffer.from('hi\n') };

test('times keep nine digits', () => {
  assert.equal(formatNanoseconds(record.timeNs), '2026-01-02T03:04:05.012345678Z');
  assert.equal(formatNanoseconds(1_000_000_007n), '1970-01-01T00:00:01.000000007Z');
});

test('a line with and without its time', () => {
  assert.equal(String(logLine(record, { timestamps: false, details: false })), 'hi\n');
  assert.equal(
    String(logLine(record, { timestamps: true, details: false })),
    '2026-01-02T03:04:05.012345678Z hi\n',
  );
  assert.equal(
    String(logLine(record, { timestamps: true, details: true })),
    '2026-01-02T03:04:05.012345678Z  hi\n',
  );
});
