import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ApiDaemon } from '../support/api-daemon.ts';

const ROOTFS = fileURLToPath(new URL('../../.cache/busybox.tar', import.meta.url));
const UPGRADE = 'Connection: Upgrade\r\nUpgrade: tcp\r\n';
let daemon: ApiDaemon;

before(async () => {
  daemon = await ApiDaemon.start({ bridge: 'dvapi1', bip: '10.214.2.1/24' });
  assert.equal(daemon.docker('import', ROOTFS, 'bb').status, 0);
  const run = daemon.docker('run', '-d', '--network', 'none', '--name', 'host', 'bb', 'sleep', '600');
  assert.equal(run.status, 0, run.stderr);
});

after(async () => {
  daemon.docker('rm', '-f', 'host');
  await daemon[Symbol.asyncDispose]();
});

/** Sends the parts one after the other, half-closes, and collects what comes. */
async function exchange(...parts: string[]): Promise<string> {
  const socket = connect({ path: daemon.socket, allowHalfOpen: true });
  let received = '';
  socket.setEncoding('latin1').on('data', (text) => {
    received += String(text);
  });
  for (const part of parts) {
    socket.write(part);
    // apart on purpose: each part is to arrive on its own
    await delay(40);
  }
  socket.end();
  await once(socket, 'close');
  return received;
}

async function execCat(): Promise<string> {
  const body = JSON.stringify({ AttachStdin: true, AttachStdout: true, AttachStderr: true, Cmd: ['cat'] });
  const headers = { 'Content-Type': 'application/json' };
  const answer = await daemon.call('POST', '/containers/host/exec', { headers, body });
  const created: unknown = JSON.parse(answer.body);
  assert.ok(typeof created === 'object' && created !== null && 'Id' in created, answer.body);
  return `POST /exec/${String(created.Id)}/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n`;
}

/** What the frames of an answer's body carry; cat and the kernel cut it up as they like. */
function carried(answer: string): string {
  const body = Buffer.from(answer.slice(answer.indexOf('\r\n\r\n') + 4), 'latin1');
  let text = '';
  for (let at = 0; at < body.length; ) {
    assert.deepEqual([...body.subarray(at, at + 4)], [1, 0, 0, 0]);
    const end = at + 8 + body.readUInt32BE(at + 4);
    text += body.toString('latin1', at + 8, end);
    at = end;
  }
  return text;
}

test('stdin is what follows the body, however the bytes are cut up', async () => {
  for (const [parts, output] of [
    [['Content-Length: 2\r\n\r\n{}early', 'later'], 'earlylater'],
    [['Content-Length: 2\r\n\r\n', '{', '}early', 'later'], 'earlylater'],
    [['Transfer-Encoding: chunked\r\n\r\n', '2\r\n{}\r\n0\r\n\r\nearly'], 'early'],
  ] as const) {
    const [first = '', ...rest] = parts;
    const received = await exchange(`${await execCat()}${UPGRADE}${first}`, ...rest);
    assert.match(received, /^HTTP\/1\.1 101 UPGRADED\r\nContent-Type: .*multiplexed-stream\r\n/);
    assert.equal(carried(received), output);
  }
});

test('a client that takes over without asking for an upgrade is answered 200', async () => {
  const received = await exchange(`${await execCat()}Content-Length: 2\r\n\r\n`, '{}', 'stdin');
  assert.match(received, /^HTTP\/1\.1 200 OK\r\n/);
  assert.equal(carried(received), 'stdin');
});

test('a refusal is an ordinary answer', async () => {
  const received = await exchange(
    `POST /exec/nobody/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n${UPGRADE}Content-Length: 2\r\n\r\n{}`,
  );
  assert.match(received, /^HTTP\/1\.1 404 Not Found\r\n[\s\S]*No such exec instance: nobody/);
});

test('a client that leaves ends its follow; the daemon holds nothing for it', async () => {
  const socket = connect(daemon.socket);
  socket.write('GET /containers/host/logs?follow=1&stdout=1 HTTP/1.1\r\nHost: d\r\n\r\n');
  await once(socket, 'data');
  socket.destroy();
  assert.equal(daemon.docker('stop', '-t', '0', 'host').status, 0);
  assert.equal(daemon.docker('start', 'host').status, 0);
});
