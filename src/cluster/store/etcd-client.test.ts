import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { EtcdClient } from './etcd-client.ts';

/** Something in etcd's place that answers, or does not. */
class Endpoint implements AsyncDisposable {
  readonly #server: Server;
  readonly url: string;
  asked = 0;
  answers: boolean;

  private constructor(server: Server, answers: boolean) {
    this.#server = server;
    this.answers = answers;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async open(answers: boolean): Promise<Endpoint> {
    const server = createServer((request, response) => {
      endpoint.asked += 1;
      if (!endpoint.answers) return;
      if (request.url === '/v3/watch') response.write('{"result":{"created":true}}\n');
      else response.end('{}');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const endpoint = new Endpoint(server, answers);
    return endpoint;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** Asks, and goes away when the first endpoint has the question. */
async function askBriefly(client: EtcdClient, first: Endpoint): Promise<void> {
  const gone = new AbortController();
  const before = first.asked;
  const asking = client.call('lease/keepalive', {}, { repeatable: true, signal: gone.signal, again: true });
  while (first.asked === before) await new Promise((resolve) => setTimeout(resolve, 5));
  gone.abort();
  await assert.rejects(asking, { kind: 'unavailable' });
}

test('an endpoint that a caller did not wait for is asked once more before another one is', async () => {
  await using silent = await Endpoint.open(false);
  await using other = await Endpoint.open(true);
  using client = new EtcdClient({ endpoints: [silent.url, other.url] });
  await askBriefly(client, silent);
  await askBriefly(client, silent);
  assert.equal(silent.asked, 2);
  await client.call('kv/range', {}, { repeatable: true });
  assert.deepEqual([silent.asked, other.asked], [2, 1]);
});

test('a client turns back to its first endpoint when that serves again, with the streams that another one served', async () => {
  await using own = await Endpoint.open(false);
  await using other = await Endpoint.open(true);
  using client = new EtcdClient({ endpoints: [own.url, other.url], timeoutMs: 50 });
  const range = () => client.call('kv/range', {}, { repeatable: true });
  await assert.rejects(range(), { kind: 'unavailable' });
  await range();
  const signal = AbortSignal.timeout(10_000);
  const stream = client.stream('watch', {}, { repeatable: true, signal });
  assert.deepEqual((await stream.next()).value, { created: true });
  const asked = other.asked;
  own.answers = true;
  await assert.rejects(stream.next(), { kind: 'unavailable' });
  assert.equal(signal.aborted, false);
  const before = own.asked;
  await range();
  const again = client.stream('watch', {}, { repeatable: true, signal });
  assert.deepEqual((await again.next()).value, { created: true });
  assert.deepEqual([own.asked - before, other.asked], [2, asked]);
});
