import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { RegistryClient } from '#registry/registry-client.ts';

/** The client itself, because what a daemon waits for is longer than a test should be. */
const STALL_MS = 200;

async function withServer<T>(
  answer: Parameters<typeof createServer>[1],
  work: (client: RegistryClient, stop: AbortController) => Promise<T>,
): Promise<T> {
  const server = createServer(answer);
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const stop = new AbortController();
  using client = new RegistryClient({
    endpoint: {
      url: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
      host: 'stalling',
      isMirror: false,
      insecure: true,
    },
    credentials: {},
    scope: '',
    signal: stop.signal,
    stallMs: STALL_MS,
  });
  try {
    return await work(client, stop);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const request = { method: 'GET', path: '/v2/', what: 'something', once: true } as const;

test('a registry that takes a request and says nothing is given up', async () => {
  await withServer(
    () => undefined,
    async (client) => {
      await assert.rejects(client.send(request), /something: .* sent nothing for 0\.2 s/);
    },
  );
});

test('a registry that stops in the middle of an answer is given up', async () => {
  await withServer(
    (_request, response) => {
      response.writeHead(200, { 'Content-Length': 100 });
      response.write('half');
    },
    async (client) => {
      const response = await client.send(request);
      await assert.rejects(async () => {
        for await (const _chunk of response);
      });
    },
  );
});

test('who does not want the answer any more does not wait for it', async () => {
  await withServer(
    () => undefined,
    async (client, stop) => {
      setTimeout(() => stop.abort(), 20);
      await assert.rejects(client.send(request), /was cancelled/);
    },
  );
});
