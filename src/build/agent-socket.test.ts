import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempDisposableSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { agentSocket } from './agent-socket.ts';

test('what is said to a step’s socket reaches the agent, and what it answers comes back', async () => {
  using directory = mkdtempDisposableSync(join(tmpdir(), 'drover-agent-'));
  const agent = join(directory.path, 'agent');
  const path = join(directory.path, 'step');
  await using server = createServer((socket) => socket.pipe(socket)).listen(agent);
  await once(server, 'listening');
  {
    using _forwarded = await agentSocket(() => connect(agent), path, { mode: 0o640, uid: 0, gid: 0 });
    assert.equal(statSync(path).mode & 0o777, 0o640);
    const said = connect(path).end('hello').setEncoding('utf8');
    assert.equal((await said.toArray()).join(''), 'hello');
    const open = connect(path);
    open.on('error', () => undefined).write('more');
    await once(open, 'data');
  }
  assert.equal(existsSync(path), false);
});

test('an agent that is gone ends the connection', async () => {
  using directory = mkdtempDisposableSync(join(tmpdir(), 'drover-agent-'));
  const path = join(directory.path, 'step');
  using _forwarded = await agentSocket(() => connect(join(directory.path, 'none')), path, {
    mode: 0o600,
    uid: 0,
    gid: 0,
  });
  const said = connect(path);
  said.on('error', () => undefined);
  await once(said, 'close');
});
