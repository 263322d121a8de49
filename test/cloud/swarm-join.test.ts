import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { joinSwarm } from '#cli/cloud-swarm.ts';

/** The part of Docker's API that makes a swarm, as a daemon answers it that is a member of none. */
class FakeDaemon implements AsyncDisposable {
  readonly calls: { call: string; body: unknown }[] = [];
  readonly #server: Server;
  #state: string;

  private constructor(state: string) {
    this.#state = state;
    this.#server = createServer((request, response) => {
      void this.#answer(request, response);
    });
  }

  static async listen(socket: string, state = 'inactive'): Promise<FakeDaemon> {
    const daemon = new FakeDaemon(state);
    daemon.#server.listen(socket);
    await once(daemon.#server, 'listening');
    return daemon;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const call = `${request.method ?? ''} ${request.url?.replace(/^\/v[\d.]+/, '') ?? ''}`;
    if (request.method === 'POST') this.calls.push({ call, body: JSON.parse(body) });
    if (request.method === 'POST') this.#state = 'active';
    const answers: Record<string, unknown> = {
      'GET /info': { Swarm: { LocalNodeState: this.#state } },
      'GET /swarm': { JoinTokens: { Manager: 'token-m', Worker: 'token-w' } },
      'POST /swarm/init': 'id-of-node',
      'POST /swarm/join': undefined,
    };
    response.writeHead(call in answers ? 200 : 501, { 'Content-Type': 'application/json' });
    response.end(call in answers ? JSON.stringify(answers[call]) : '{"message":"not there"}');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }
}

test('the first node makes the swarm, managers and workers join by their tokens, members stay', async () => {
  await using stack = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), 'swarm-'));
  stack.defer(() => rmSync(directory, { recursive: true }));
  const daemons: FakeDaemon[] = [];
  for (const number of [1, 2, 3, 4])
    daemons.push(
      stack.use(
        await FakeDaemon.listen(join(directory, `${number}.sock`), number === 4 ? 'active' : 'inactive'),
      ),
    );
  const nodes = daemons.map((_, index) => ({
    name: `node${index + 1}`,
    role: index < 2 ? ('manager' as const) : ('worker' as const),
    state: 'running' as const,
    address: `10.0.0.${index + 2}`,
    cutFrom: [],
    socket: join(directory, `${index + 1}.sock`),
  }));
  const cloud = { name: 'c', subnet: '10.0.0.0/24', nodes };
  await joinSwarm(cloud);
  const joining = (address: string, JoinToken: string): object => ({
    ListenAddr: '0.0.0.0:2377',
    AdvertiseAddr: address,
    RemoteAddrs: ['10.0.0.2:2377'],
    JoinToken,
  });
  const calls = [
    [{ call: 'POST /swarm/init', body: { ListenAddr: '0.0.0.0:2377', AdvertiseAddr: '10.0.0.2' } }],
    [{ call: 'POST /swarm/join', body: joining('10.0.0.3', 'token-m') }],
    [{ call: 'POST /swarm/join', body: joining('10.0.0.4', 'token-w') }],
    [],
  ];
  assert.deepEqual(
    daemons.map((daemon) => daemon.calls),
    calls,
  );
  await joinSwarm(cloud);
  assert.deepEqual(
    daemons.map((daemon) => daemon.calls),
    calls,
    'a second time changes nothing',
  );
});
