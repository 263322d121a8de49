import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { test } from 'node:test';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { createRequest } from '#cluster/ca/certificate-request.ts';
import { SIGNATURE, signingKeys } from '#cluster/ca/ecdsa-key.ts';
import { loadX509 } from '#cluster/ca/x509-library.ts';
import { TlsTransport } from '#cluster/transport/tls-transport.ts';
import { type Channel, JOIN_METHOD } from '#cluster/transport/transport.ts';
import type { TransportLimits } from '#cluster/transport/transport-limits.ts';
import { systemClock } from '#control/clock.ts';
import { DroverError, type ErrorKind } from '#model/errors.ts';
import { idFor, TestAuthority } from '../support/cluster-certificates.ts';

const authority = await TestAuthority.create();
const foreign = await TestAuthority.create();
const managerCredentials = await authority.credentials('manager', 'manager');
const workerCredentials = await authority.credentials('worker', 'worker');
const never = new AbortController().signal;
const ROOTS = authority.root.certificate;

interface Target extends AsyncDisposable {
  readonly port: number;
  readonly address: string;
  readonly removed: Set<string>;
  readonly reported: unknown[];
  readonly transport: TlsTransport;
  /** Channels that `hold` has now, which never reads, and those that it ever had. */
  readonly held: Set<Channel>;
  readonly calls: { count: number };
  /** A node with good credentials is still served. */
  stillServes(): Promise<void>;
}

/** A manager that serves `echo`, `hold` and joining. */
async function target(limits: Partial<TransportLimits> = {}): Promise<Target> {
  const parts = new AsyncDisposableStack();
  const removed = new Set<string>();
  const reported: unknown[] = [];
  const held = new Set<Channel>();
  const calls = { count: 0 };
  const report = (error: unknown): unknown => reported.push(error);
  const common = { clock: systemClock, report, limits: { pingIntervalMs: 50 } };
  const transport = parts.use(
    new TlsTransport({
      ...common,
      credentials: managerCredentials,
      isAllowed: (id) => !removed.has(id),
      limits: { ...common.limits, missedPings: 1000, ...limits },
    }),
  );
  const worker = parts.use(
    new TlsTransport({ ...common, credentials: workerCredentials, isAllowed: () => true }),
  );
  const echo = async (channel: Channel): Promise<void> => {
    for await (const message of channel.messages) await channel.send(message);
  };
  transport.serve('echo', echo);
  transport.serve(JOIN_METHOD, async (channel, peer) => {
    await channel.send({ peer: peer?.nodeId ?? 'nobody' });
    await echo(channel);
  });
  transport.serve('hold', async (channel) => {
    calls.count++;
    held.add(channel);
    if (!channel.closed.aborted) await once(channel.closed, 'abort');
    held.delete(channel);
  });
  const port = await transport.listen('127.0.0.1', 0);
  const address = `127.0.0.1:${port}`;
  return {
    ...{ port, address, removed, reported, transport, held, calls },
    stillServes: async () => {
      const channel = await worker.open(address, 'echo', never);
      await channel.send('here');
      for await (const message of channel.messages) {
        assert.equal(message, 'here');
        break;
      }
      channel.close();
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** A client that keeps to no rule. */
async function attack(
  { port }: Target,
  options: ConnectionOptions = {},
): Promise<{ session: ClientHttp2Session } & Disposable> {
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    ca: ROOTS,
    ALPNProtocols: ['h2'],
    ...OPEN,
    ...options,
  });
  socket.on('error', () => socket.destroy());
  await once(socket, 'secureConnect');
  const session = connectHttp2('https://node', { createConnection: () => socket, maxSessionMemory: 100 });
  session.on('error', () => socket.destroy());
  return { session, [Symbol.dispose]: () => session.destroy() };
}

const OPEN: ConnectionOptions = { checkServerIdentity: () => undefined };
const AS_WORKER: ConnectionOptions = { key: workerCredentials.key, cert: workerCredentials.certificate };

function call(
  session: ClientHttp2Session,
  method: string,
  headers: Record<string, string> = {},
): ClientHttp2Stream {
  const stream = session.request(
    { ':method': 'POST', ':path': `/${method}`, ...headers },
    { endStream: false },
  );
  stream.on('error', () => undefined);
  return stream;
}

/** What is answered on a stream until the other side ends it, or `isEnough`; and its status. */
async function answer(
  stream: ClientHttp2Stream,
  isEnough: (text: string) => boolean = () => false,
): Promise<{ status: number | undefined; text: string }> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let text = '';
  let status: number | undefined;
  stream.on('response', (headers) => {
    status = headers[':status'];
  });
  stream.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    if (isEnough(text)) resolve();
  });
  stream.on('end', resolve);
  stream.on('close', resolve);
  await promise;
  return { status, text };
}

/** The answer to a call with a message, with these credentials. */
async function tried(server: Target, options: ConnectionOptions, method: string): Promise<string> {
  using client = await attack(server, options);
  const stream = call(client.session, method);
  stream.write('."hello"\n');
  return (await answer(stream, (text) => text.includes('hello'))).text;
}

async function closed(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on('error', () => socket.destroy());
  socket.on('close', () => resolve());
  socket.resume();
  await promise;
}

function isOfKind(kind: ErrorKind, message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof DroverError && error.kind === kind && message.test(error.message);
}

test('who has no certificate may join and see the CA, and nothing else', async () => {
  await using server = await target();
  assert.match(await tried(server, {}, 'echo'), /^!.*"forbidden"/);
  assert.match(await tried(server, {}, 'nothing'), /^!.*"forbidden"/);
  assert.match(await tried(server, {}, JOIN_METHOD), /^\.\{"peer":"nobody"\}\n\."hello"\n/);
  using client = await attack(server);
  const roots = client.session.request({ ':path': '/root-certificates' });
  assert.equal((await answer(roots)).text, ROOTS);
  await server.stillServes();
});

test('certificates that are expired, foreign, or of another cluster are refused, for joining too', async () => {
  await using server = await target();
  const expired = await authority.credentials('worker', 'worker', { ageMs: 2 * 3600 * 1000 });
  const stolen = await foreign.credentials('manager', 'manager');
  const other = await authority.credentials('manager', 'manager', { clusterId: idFor('elsewhere') });
  for (const [credentials, why] of [
    [expired, /expired/i],
    [stolen, /refused/],
    [other, /another cluster/],
  ] as const)
    for (const method of ['echo', JOIN_METHOD]) {
      const options = { key: credentials.key, cert: credentials.certificate };
      const text = await tried(server, options, method);
      assert.match(text, /^!.*"forbidden"/);
      assert.match(text, why);
    }
  await server.stillServes();
});

test('a certificate of the CA whose subject is not exactly a node’s is refused', async () => {
  await using server = await target();
  const node = idFor('evil');
  const cluster = authority.clusterId;
  const subjects = [
    [{ O: [cluster] }, { OU: ['swarm-worker'] }, { OU: ['swarm-manager'] }, { CN: [node] }],
    [{ O: [cluster] }, { OU: ['swarm-manager'] }, { CN: [node] }, { CN: [idFor('manager')] }],
    [{ O: [cluster] }, { OU: ['swarm-manager\nCN=x'] }, { CN: [node] }],
    [{ O: [cluster] }, { OU: ['swarm-manager'] }, { CN: [`${node}\nOU=swarm-manager`] }],
    [{ O: [cluster] }, { OU: ['swarm-manager'] }, { CN: [node] }, { C: ['DE'] }],
    [{ O: [cluster] }, { OU: ['__proto__'] }, { CN: [node] }],
    [{ O: [cluster] }, { CN: [node] }],
  ];
  for (const subject of subjects) {
    const text = await tried(server, await signed(subject), 'echo');
    assert.match(text, /^!.*"forbidden".*not a node's/, JSON.stringify(subject));
  }
  assert.match(
    await tried(server, await signed([{ O: [cluster] }, { OU: ['swarm-worker'] }, { CN: [node] }]), 'echo'),
    /^\."hello"/,
  );
});

test('a certificate that is for servers only is no client’s', async () => {
  await using server = await target();
  const subject = [{ O: [authority.clusterId] }, { OU: ['swarm-worker'] }, { CN: [idFor('evil')] }];
  assert.match(await tried(server, await signed(subject, '1.3.6.1.5.5.7.3.1'), 'echo'), /^!.*"forbidden"/);
});

async function signed(
  subject: Record<string, string[]>[],
  usage = '1.3.6.1.5.5.7.3.2',
): Promise<ConnectionOptions> {
  const x509 = await loadX509();
  const { key } = await createRequest();
  const issuer = new x509.X509Certificate(ROOTS);
  const certificate = await x509.X509CertificateGenerator.create({
    subject,
    issuer: issuer.subjectName,
    publicKey: signingKeys(key).publicKey,
    signingKey: signingKeys(authority.root.key).privateKey,
    signingAlgorithm: SIGNATURE,
    notBefore: new Date(Date.now() - 1000),
    notAfter: new Date(Date.now() + 3600_000),
    extensions: [new x509.ExtendedKeyUsageExtension([usage])],
  });
  return { key, cert: certificate.toString('pem') };
}

test('a node that is removed loses its channels, and opens no more', async () => {
  await using server = await target();
  await using node = new TlsTransport({
    credentials: await authority.credentials('gone', 'worker'),
    isAllowed: () => true,
    clock: systemClock,
    limits: { pingIntervalMs: 50 },
    report: () => undefined,
  });
  const channel = await node.open(server.address, 'hold', never);
  server.removed.add(idFor('gone'));
  await once(channel.closed, 'abort');
  await assert.rejects(
    async () => {
      for await (const _ of channel.messages);
    },
    isOfKind('unavailable', /broke/),
  );
  await assert.rejects(
    node.open(server.address, 'echo', never),
    isOfKind('forbidden', /not of this cluster any more/),
  );
  await server.stillServes();
});

test('a manager that is not of the cluster is not believed', async () => {
  await using parts = new AsyncDisposableStack();
  const common = { isAllowed: () => true, clock: systemClock, report: () => undefined };
  const node = parts.use(new TlsTransport({ ...common, credentials: workerCredentials }));
  for (const [credentials, why] of [
    [await foreign.credentials('manager', 'manager'), /not of this cluster/],
    [await authority.credentials('manager', 'manager', { clusterId: idFor('elsewhere') }), /another cluster/],
    [await authority.credentials('manager', 'manager', { ageMs: 2 * 3600 * 1000 }), /expired/i],
    [await authority.credentials('rogue', 'worker'), /not a manager/],
  ] as const) {
    const impostor = parts.use(new TlsTransport({ ...common, credentials }));
    impostor.serve('echo', () => assert.fail('called'));
    const port = await impostor.listen('127.0.0.1', 0);
    await assert.rejects(node.open(`127.0.0.1:${port}`, 'echo', never), isOfKind('forbidden', why));
  }
});

test('messages over the limit end their channel, not the connection', async () => {
  await using server = await target();
  using client = await attack(server, AS_WORKER);
  const stream = call(client.session, 'echo');
  stream.write(`."${'x'.repeat(17 * 1024 * 1024)}`);
  assert.match((await answer(stream)).text, /^!.*"invalid".*over the limit/);
  using stranger = await attack(server);
  const join = call(stranger.session, JOIN_METHOD);
  join.write(`."${'x'.repeat(65 * 1024)}`);
  assert.match((await answer(join)).text, /\n!.*"invalid".*over the limit of 65536/);
  const next = call(client.session, 'echo');
  next.write('.1\n');
  assert.match((await answer(next, (text) => text.includes('\n'))).text, /^\.1\n/);
  assert.deepEqual(server.reported, []);
});

test('lines that are no messages end their channel', async () => {
  await using server = await target();
  using client = await attack(server, AS_WORKER);
  for (const garbage of [
    '\n',
    '.\n',
    '.{"a":}\n',
    'x\n',
    '!{"kind":"forbidden","message":"x"}\n',
    '\0\xff\n',
    '.1 2\n',
  ]) {
    const stream = call(client.session, 'echo');
    stream.write(Buffer.from(garbage, 'latin1'));
    assert.match((await answer(stream)).text, /^!.*"invalid"/, JSON.stringify(garbage));
  }
  // deep nesting is JSON all the same
  const deep = call(client.session, 'echo');
  deep.write(`.${'['.repeat(100_000)}${']'.repeat(100_000)}\n`);
  assert.match((await answer(deep, (text) => text.includes('\n'))).text, /^[!.]/);
  await server.stillServes();
});

test('bytes that are no TLS, no HTTP/2 or an older TLS disturb nobody', async () => {
  await using server = await target({ openTimeoutMs: 200 });
  const plain = connectTcp({ host: '127.0.0.1', port: server.port });
  plain.write(Buffer.alloc(100_000, 'GET / HTTP/1.1\r\n'));
  await closed(plain);
  const silent = connectTcp({ host: '127.0.0.1', port: server.port });
  await closed(silent);
  const old = connectTls({ host: '127.0.0.1', port: server.port, ca: ROOTS, maxVersion: 'TLSv1.2', ...OPEN });
  await assert.rejects(once(old, 'secureConnect'));
  const noHttp2 = connectTls({ host: '127.0.0.1', port: server.port, ca: ROOTS, ...OPEN });
  await closed(noHttp2);
  const garbage = connectTls({
    ...{ host: '127.0.0.1', port: server.port, ca: ROOTS, ALPNProtocols: ['h2'] },
    ...OPEN,
    ...AS_WORKER,
  });
  garbage.write(Buffer.alloc(100_000, 7));
  await closed(garbage);
  await server.stillServes();
});

test('headers without end are refused', async () => {
  await using server = await target();
  using client = await attack(server, AS_WORKER);
  // the limits count from when the client has heard of them
  await once(client.session, 'remoteSettings');
  await new Promise((resolve) => client.session.ping(resolve));
  const huge = call(client.session, 'echo', { filler: 'x'.repeat(30_000) });
  assert.notEqual((await answer(huge)).status, 200);
  using second = await attack(server, AS_WORKER);
  await once(second.session, 'remoteSettings');
  const many = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`filler-${i}`, 'x']));
  assert.notEqual((await answer(call(second.session, 'echo', many))).status, 200);
  for (const method of ['', '../echo', 'echo/', '__proto__', 'constructor', 'e'.repeat(2000)]) {
    using third = await attack(server, AS_WORKER);
    const stream = call(third.session, method);
    stream.end();
    assert.match((await answer(stream)).text, /^!.*"not-found"/, method);
  }
  await server.stillServes();
});

test('a peer has so many channels at once, and so many connections', async () => {
  await using server = await target({ channelsOfSession: 10, sessionsOfPeer: 3 });
  using client = await attack(server, AS_WORKER);
  await once(client.session, 'remoteSettings');
  const streams = Array.from({ length: 50 }, () => call(client.session, 'hold'));
  await Promise.all(streams.slice(0, 10).map((stream) => once(stream, 'response')));
  await server.stillServes();
  assert.equal(server.held.size, 10);
  assert.equal(server.calls.count, 10);
  // two more and the one of stillServes: the fourth pushes the first one out
  const closed = once(client.session, 'close');
  using _second = await attack(server, AS_WORKER);
  using _third = await attack(server, AS_WORKER);
  await closed;
  await server.stillServes();
});

test('strangers have so many connections, and not for long', async () => {
  await using server = await target({ strangersOfAddress: 3, strangerTicks: 4 });
  const first = await Promise.all([attack(server), attack(server), attack(server)]);
  using fourth = await attack(server);
  await server.stillServes();
  for (const { session } of [fourth, ...first]) if (!session.destroyed) await once(session, 'close');
});

test('what one peer leaves unread or unfinished is bounded over all of its channels', async () => {
  await using server = await target({ bytesOfPeer: 512 * 1024 });
  using client = await attack(server, AS_WORKER);
  const streams = Array.from({ length: 8 }, () => {
    const stream = call(client.session, 'echo');
    stream.write(`."${'x'.repeat(200 * 1024)}`);
    return stream;
  });
  const refused = await Promise.any(streams.map(async (stream) => (await answer(stream)).text));
  assert.match(refused, /^!.*"unavailable".*too many messages/);
});

test('calls that are reset at once, by the thousand, leave nothing', async () => {
  await using server = await target();
  for (let round = 0; round < 3; round++) {
    using client = await attack(server, AS_WORKER);
    for (let i = 0; i < 1000 && !client.session.destroyed && !client.session.closed; i++) {
      const stream = call(client.session, i % 3 === 0 ? 'nothing' : 'hold');
      stream.write('.1\n');
      stream.close(8);
      if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await server.stillServes();
  }
  for (const channel of server.held) if (!channel.closed.aborted) await once(channel.closed, 'abort');
  assert.deepEqual(server.reported, []);
});

test('what a handler leaves unread is not held against its peer', async () => {
  await using server = await target({ bytesOfPeer: 300 * 1024 });
  await using node = new TlsTransport({
    credentials: workerCredentials,
    isAllowed: () => true,
    clock: systemClock,
    report: () => undefined,
  });
  server.transport.serve('ignore', async (channel) => {
    if (!channel.closed.aborted) await once(channel.closed, 'abort');
  });
  for (let i = 0; i < 10; i++) {
    const channel = await node.open(server.address, 'ignore', never);
    await channel.send('x'.repeat(100 * 1024));
    channel.close();
    await server.stillServes();
  }
  const big = await node.open(server.address, 'echo', never);
  await big.send('x'.repeat(200 * 1024));
  for await (const _ of big.messages) break;
  big.close();
});

test('a peer that says nothing is cut off', async () => {
  await using server = await target({ missedPings: 3 });
  using client = await attack(server, AS_WORKER);
  const stream = call(client.session, 'hold');
  await once(stream, 'response');
  if (!client.session.destroyed) await once(client.session, 'close');
  await server.stillServes();
});

test('a reader that never reads holds no more than its own window', async () => {
  await using server = await target();
  await using node = new TlsTransport({
    credentials: workerCredentials,
    isAllowed: () => true,
    clock: systemClock,
    limits: { pingIntervalMs: 50 },
    report: () => undefined,
  });
  const channel = await node.open(server.address, 'hold', never);
  let sent = 0;
  const sending = (async () => {
    for (; sent < 1000; sent++) await channel.send('x'.repeat(64 * 1024));
  })();
  for (let i = 0; i < 20; i++) await server.stillServes();
  assert.ok(sent < 100, `${sent} messages of 64 KiB are somewhere`);
  channel.close();
  await assert.rejects(sending, isOfKind('unavailable', /over/));
});

test('a caller that never waits breaks its own channel', async () => {
  await using server = await target();
  await using node = new TlsTransport({
    credentials: workerCredentials,
    isAllowed: () => true,
    clock: systemClock,
    limits: { pingIntervalMs: 50 },
    report: () => undefined,
  });
  const channel = await node.open(server.address, 'hold', never);
  const text = 'x'.repeat(8 * 1024 * 1024);
  const results = await Promise.allSettled(Array.from({ length: 20 }, () => channel.send(text)));
  assert.ok(results.every(({ status }) => status === 'rejected'));
  await server.stillServes();
});
