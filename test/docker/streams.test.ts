import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { eventually, hostOfFile } from '../support/docker-host.ts';

const host = await hostOfFile();

test('standard input reaches the container, and its end does too', () => {
  const { status, stdout } = host.input('one\ntwo\n', 'run', '--rm', '-i', 'bb', 'sh', '-c', 'cat; echo end');
  assert.deepEqual([status, stdout], [0, 'one\ntwo\nend\n']);
  // Without -i nothing is read.
  assert.equal(host.input('ignored', 'run', '--rm', 'bb', 'cat').stdout, '');
});

test('twenty megabytes come through in both directions as they were', () => {
  const bytes = Buffer.alloc(20 << 20);
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE((at * 2654435761) >>> 0, at);
  const { status, stdout } = host.input(
    bytes,
    'run',
    '--rm',
    '-i',
    'bb',
    'sh',
    '-c',
    // Lines of a usual length: dockerd writes each into its log as JSON.
    `sha256sum >&2; yes ${'x'.repeat(127)} | head -c 20971520`,
  );
  assert.equal(status, 0);
  assert.equal(stdout.length, 20 << 20);
  const { stderr } = host.input(bytes, 'run', '--rm', '-i', 'bb', 'sh', '-c', 'sha256sum >&2');
  assert.equal(stderr.split(' ')[0], createHash('sha256').update(bytes).digest('hex'));
});

test('a container that ends before it has read its input loses none of its output', () => {
  const { status, stdout } = host.input(
    Buffer.alloc(8 << 20, 'x'),
    'run',
    '--rm',
    '-i',
    'bb',
    'sh',
    '-c',
    'exec <&-; seq 1 20000; exit 6',
  );
  assert.equal(status, 6);
  assert.equal(stdout.trim().split('\n').length, 20_000);
});

test('a terminal: one stream, carriage returns, its size, an end by Ctrl-D', async () => {
  assert.match(
    (await host.tty('', 'run', '--rm', '-t', 'bb', 'sh', '-c', 'echo out; echo err >&2; tty')).shown,
    /^out\nerr\n\/dev\/pts\/0\n/,
  );
  const typed = await host.tty('echo typed $((6*7))\nexit 5\n', 'run', '--rm', '-it', 'bb', 'sh');
  assert.match(typed.shown, /typed 42\n/);
  assert.equal(typed.status, 5);
  host.fails(1, /not a TTY/, 'run', '--rm', '-it', 'bb', 'true');
});

test('resize sets the size of the terminal, of a container and of an exec', async () => {
  const id = host.runDetached(['-t'], 'sh', '-c', 'trap "stty size" WINCH; while :; do sleep 0.05; done');
  assert.equal((await host.call('POST', `/v1.41/containers/${id}/resize?h=33&w=77`)).status, 200);
  await eventually(() => host.ok('logs', id).includes('33 77'), 'the size is told');
  assert.notEqual((await host.call('POST', `/v1.41/containers/${id}/resize?h=many&w=77`)).status, 200);
});

test('attach sees what comes from then on; logs has it all', async () => {
  const id = host.ok(
    'create',
    '-i',
    'bb',
    'sh',
    '-c',
    'echo before; while read line; do echo "got $line"; echo "err $line" >&2; done; echo end',
  );
  host.ok('start', id);
  await eventually(() => host.ok('logs', id) === 'before', 'it runs');
  const attached = host.start('attach', id);
  const watching = host.start('attach', '--no-stdin', id);
  await new Promise((resolve) => setTimeout(resolve, 300));
  attached.process.stdin.write('a\n');
  await attached.prints(/got a/);
  await watching.prints(/got a/);
  attached.process.stdin.end('b\n');
  assert.equal(await attached.end(), 0);
  assert.equal(await watching.end(), 0);
  assert.equal(attached.stdout, 'got a\ngot b\nend\n');
  assert.equal(attached.stderr, 'err a\nerr b\n');
  assert.equal(watching.stdout, attached.stdout);
  assert.equal(host.docker('logs', id).stdout, 'before\ngot a\ngot b\nend\n');
});

test('signals to an attached CLI go to the container', async () => {
  const attached = host.start(
    'run',
    '--name',
    'sig',
    'bb',
    'sh',
    '-c',
    'trap "echo int; exit 8" INT; echo ready; while :; do sleep 0.05; done',
  );
  await attached.prints(/ready/);
  assert.equal(await attached.interrupt(), 8);
  assert.equal(attached.stdout, 'ready\nint\n');
});

test('the detach keys leave the container running', async () => {
  const command = host.startTty('run', '-it', '--name', 'left', 'bb', 'sh', '-c', 'echo here; sleep 1000');
  await command.prints(/here/);
  command.process.stdin.write('\x10\x11');
  assert.equal(await command.end(), 0);
  assert.equal(host.inspect('left', '{{.State.Status}}'), 'running');
});

test('an attached connection is upgraded; frames say which stream; logs come first when asked for', async () => {
  const id = host.ok('create', '-i', 'bb', 'sh', '-c', 'echo out; echo err >&2; cat; exit 2');
  const socket = await upgrade(`/v1.41/containers/${id}/attach?stream=1&stdin=1&stdout=1&stderr=1`, 101);
  host.ok('start', id);
  socket.end('in');
  const frames = parseFrames(await readAll(socket));
  assert.equal(join(frames, 1), 'out\nin');
  assert.equal(join(frames, 2), 'err\n');
  assert.equal(host.ok('wait', id), '2');
  // An older client asks without the upgrade's headers, and gets the stream all the same.
  const logs = await upgrade(`/v1.41/containers/${id}/attach?logs=1&stdout=1`, 200);
  assert.equal(join(parseFrames(await readAll(logs)), 1), 'out\nin');
  const refused = await host.call('POST', '/v1.41/containers/nosuch/attach?stream=1');
  assert.equal(refused.status, 404);
});

test('the stream of a terminal is raw', async () => {
  const id = host.ok('create', '-t', 'bb', 'echo', 'plain');
  const socket = await upgrade(`/v1.41/containers/${id}/attach?stream=1&stdout=1`, 101);
  host.ok('start', id);
  assert.equal((await readAll(socket)).toString(), 'plain\r\n');
});

const TALK = [
  'sh',
  '-c',
  'for i in 1 2 3 4 5; do echo line $i; sleep 0.02; echo oops $i >&2; sleep 0.02; done',
];

test('logs: all, the last, one stream, time stamps', () => {
  const id = host.runDetached([], ...TALK);
  host.ok('wait', id);
  const { stdout, stderr } = host.docker('logs', id);
  assert.equal(stdout, 'line 1\nline 2\nline 3\nline 4\nline 5\n');
  assert.equal(stderr, 'oops 1\noops 2\noops 3\noops 4\noops 5\n');
  const tail = host.docker('logs', '-n', '3', id);
  assert.deepEqual([tail.stdout, tail.stderr], ['line 5\n', 'oops 4\noops 5\n']);
  assert.equal(host.docker('logs', '-n', '0', id).stdout, '');
  const stamped = host.docker('logs', '-t', id).stdout.trim().split('\n');
  for (const line of stamped) assert.match(line, /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line \d$/);
  assert.deepEqual([...stamped].sort(), stamped);
});

test('logs since and until cut by time, absolute or relative', () => {
  const id = host.runDetached([], ...TALK);
  host.ok('wait', id);
  const stamps = host
    .docker('logs', '-t', id)
    .stdout.trim()
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '');
  const [, , third = ''] = stamps;
  assert.equal(host.docker('logs', '--since', third, id).stdout, 'line 3\nline 4\nline 5\n');
  assert.match(host.docker('logs', '--until', third, id).stdout, /^line 1\nline 2\n(line 3\n)?$/);
  assert.equal(host.docker('logs', '--since', '1h', id).stdout.split('\n').length, 6);
  assert.equal(host.docker('logs', '--until', '1h', id).stdout, '');
  assert.equal(host.docker('logs', '--since', '2099-01-01', id).stdout, '');
  host.fails(1, /invalid|parsing|failed/i, 'logs', '--since', 'yesterday', id);
});

test('logs -f follows to the end, over a restart as well', async () => {
  const id = host.runDetached(
    ['--name', 'chatty'],
    'sh',
    '-c',
    'i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo $i; sleep 0.02; done',
  );
  const following = host.start('logs', '-f', id);
  assert.equal(await following.end(), 0);
  assert.equal(following.stdout.trim().split('\n').length, 30);
  const last = host.start('logs', '-f', '-n', '1', id);
  assert.equal(await last.end(), 0);
  assert.equal(last.stdout, '30\n');
});

test('lines that are long, unfinished or not text are kept as they are', () => {
  const id = host.runDetached(
    [],
    'sh',
    '-c',
    'head -c 100000 /dev/zero | tr "\\0" x; echo; printf "no end"; printf "\\303\\050\\377" >&2',
  );
  host.ok('wait', id);
  const done = host.docker('logs', id);
  assert.equal(done.stdout, `${'x'.repeat(100_000)}\nno end`);
  assert.equal(host.ok('logs', '-n', '1', host.runDetached(['-t'], 'sh', '-c', 'echo a; echo b')), 'b');
});

/** Sends an attach as the CLI does when `status` is 101, as older clients did when it is 200; the connection after the head. */
async function upgrade(path: string, status: 101 | 200): Promise<Socket> {
  const call = request({
    socketPath: host.socket,
    method: 'POST',
    path,
    agent: false,
    headers: status === 101 ? { Connection: 'Upgrade', Upgrade: 'tcp' } : {},
  });
  call.end();
  if (status === 101) {
    const [response, socket, head]: [{ statusCode?: number }, Socket, Buffer] = (await once(
      call,
      'upgrade',
    )) as never;
    assert.equal(response.statusCode, 101);
    if (head.length > 0) socket.unshift(head);
    return socket;
  }
  const [response] = await once(call, 'response');
  assert.equal(response.statusCode, 200);
  return response;
}

async function readAll(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

interface Frame {
  stream: number;
  text: string;
}

/** ContainerAttach's stream format: one byte of stream, three of padding, four of length, then the bytes. */
function parseFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at + 4);
    frames.push({ stream: bytes[at] ?? 0, text: bytes.toString('utf8', at + 8, at + 8 + length) });
    at += 8 + length;
  }
  return frames;
}

function join(frames: readonly Frame[], stream: number): string {
  return frames
    .filter((each) => each.stream === stream)
    .map(({ text }) => text)
    .join('');
}

test('without a log driver nothing is kept, but what is attached sees it all', async () => {
  const { stdout } = host.docker('run', '--name', 'unlogged', '--log-driver', 'none', 'bb', 'echo', 'seen');
  assert.equal(stdout, 'seen\n');
  host.fails(1, /does not support reading/, 'logs', 'unlogged');
  const id = host.runDetached(
    ['-i', '--log-driver', 'none'],
    ...['sh', '-c', 'while read line; do echo "got $line"; done'],
  );
  const attached = host.start('attach', id);
  attached.process.stdin.write('something\n');
  await attached.prints(/got something/);
  host.ok('rm', '-f', id);
  await attached.end();
});
