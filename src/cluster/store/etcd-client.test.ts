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

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async open(answers: boolean): Promise<Endpoint> {
    const server = createServer((_, response) => {
      endpoint.asked += 1;
      if (answers) response.end('{}');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const endpoint = new Endpoint(server);
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
