import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Write } from '#cluster/state/tables.ts';
import type { AttachmentRecord } from '#model/attachment.ts';
import { AttachmentReaper } from './attachment-reaper.ts';
import { network, node, Scene, START_MS, said } from './scene.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

function attachment(ID: string, o: Partial<AttachmentRecord> = {}): Write {
  const put = {
    ...{ ID, CreatedAt: new Date(START_MS).toISOString(), UpdatedAt: '', nodeId: 'a', networkId: 'net' },
    ...{ containerId: 'c', names: ['c'], address: '10.1.0.2/24', ...o },
  };
  return { table: 'attachment', put };
}

test('an attachment stays as long as its node answers for it', () => {
  const scene = new Scene(network('net'), node('a'), attachment('one'));
  const reaper = new AttachmentReaper({ fencedInMs: () => 0 });
  assert.deepEqual(scene.decides(reaper, 'one'), { writes: [] });
});

test('what a lost node had is free after as long as its tasks keep theirs', () => {
  const since = new Date(START_MS).toISOString();
  const scene = new Scene(network('net'), node('a', { state: 'down', since }), attachment('one'));
  const reaper = new AttachmentReaper({ fencedInMs: () => 0 });
  assert.equal(scene.decides(reaper, 'one').againAtMs, START_MS + DAY_MS);
  scene.nowMs += DAY_MS;
  assert.deepEqual(said(scene.decides(reaper, 'one')), ['one goes']);
});

test('what a removed node had is free when what it ran is surely over', () => {
  const scene = new Scene(network('net'), node('a'), attachment('one'));
  let leftMs = 7000;
  const reaper = new AttachmentReaper({ fencedInMs: () => leftMs });
  const [removed] = scene.happens({ table: 'node', delete: 'a' });
  assert.ok(removed !== undefined);
  assert.deepEqual([...reaper.keysOf(removed, scene.view)], ['one']);
  assert.equal(scene.decides(reaper, 'one').againAtMs, scene.nowMs + 7000);
  leftMs = 0;
  assert.deepEqual(said(scene.decides(reaper, 'one')), ['one goes']);
});

test('what never got an address, or has no network any more, goes', () => {
  const scene = new Scene(network('net'), node('a'), attachment('late', { address: '' }));
  scene.happens(attachment('lost', { networkId: 'gone' }));
  const reaper = new AttachmentReaper({ fencedInMs: () => 0 });
  assert.equal(scene.decides(reaper, 'late').againAtMs, START_MS + 60_000);
  scene.nowMs += 60_000;
  assert.deepEqual(said(scene.decides(reaper, 'late')), ['late goes']);
  assert.deepEqual(said(scene.decides(reaper, 'lost')), ['lost goes']);
});
