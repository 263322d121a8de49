import assert from 'node:assert/strict';
import { test } from 'node:test';
import { taskLogLine } from './task-logs.ts';

const RECORD = {
  stream: 'stdout' as const,
  timeNs: 1_767_225_600_000_000_005n,
  data: Buffer.from('a b\n'),
  nodeId: 'n',
  serviceId: 's',
  taskId: 't',
};

test('a line says when and where it was written, if that is asked for', () => {
  const line = (timestamps: boolean, details: boolean): string =>
    String(taskLogLine(RECORD, { timestamps, details }));
  const time = '2026-01-01T00:00:00.000000005Z';
  const place = 'com.docker.swarm.node.id=n,com.docker.swarm.service.id=s,com.docker.swarm.task.id=t';
  assert.equal(line(false, false), 'a b\n');
  assert.equal(line(true, false), `${time} a b\n`);
  assert.equal(line(false, true), `${place} a b\n`);
  assert.equal(line(true, true), `${time} ${place} a b\n`);
});
