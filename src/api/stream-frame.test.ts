import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frame, streamMediaType } from './stream-frame.ts';

test('a frame is the stream, the length, the data', () => {
  assert.deepEqual([...frame('stdout', Buffer.from('hi\n'))], [1, 0, 0, 0, 0, 0, 0, 3, 104, 105, 10]);
  assert.deepEqual([...frame('stderr', Buffer.alloc(0))], [2, 0, 0, 0, 0, 0, 0, 0]);
  assert.equal(frame('stderr', Buffer.alloc(70_000)).readUInt32BE(4), 70_000);
});

test('the media type says whether there are frames, from 1.42 on', () => {
  assert.equal(streamMediaType({ tty: false, version: 1042 }), 'application/vnd.docker.multiplexed-stream');
  assert.equal(streamMediaType({ tty: false, version: 1041 }), 'application/vnd.docker.raw-stream');
  assert.equal(streamMediaType({ tty: true, version: 1051 }), 'application/vnd.docker.raw-stream');
});
