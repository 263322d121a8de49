import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';
import { AttemptLimit } from '#cluster/ca/attempt-limit.ts';
import { type CheckedCredentials, checkCredentials } from '#cluster/ca/certificate-files.ts';
import { createRequest } from '#cluster/ca/certificate-request.ts';
import {
  type CertificateAuthority,
  joinHandler,
  type Membership,
  renewalHandler,
} from '#cluster/ca/join-handler.ts';
import { credentialsOf, RENEW_METHOD, requestJoin, requestRenewal } from '#cluster/ca/join-protocol.ts';
import { createJoinToken, parseJoinToken, roleOfToken } from '#cluster/ca/join-token.ts';
import { createAuthority, DEFAULT_LIFE_MS } from '#cluster/ca/root-authority.ts';
import { createRoot } from '#cluster/ca/root-certificate.ts';
import { goingRoot, rotateRoot } from '#cluster/ca/root-rotation.ts';
import { openJoinChannel } from '#cluster/transport/join-connection.ts';
import { TlsTransport } from '#cluster/transport/tls-transport.ts';
import { type Channel, JOIN_METHOD } from '#cluster/transport/transport.ts';
import { systemClock } from '#control/clock.ts';
import { DroverError, type ErrorKind, forbidden } from '#model/errors.ts';
import type { NodeRole } from '#model/node.ts';
import { idFor } from '../support/cluster-certificates.ts';

const CLUSTER = idFor('cluster');
const never = new AbortController().signal;
const root = await createRoot(CLUSTER, Date.now());

class Cluster implements AsyncDisposable {
  readonly tokens = { Worker: createJoinToken(root.certificate), Manager: createJoinToken(root.certificate) };
  readonly roles = new Map<string, NodeRole>([[idFor('first'), 'manager']]);
  readonly #parts = new AsyncDisposableStack();
  authority: CertificateAuthority = createAuthority({
    ...{ clusterId: CLUSTER, root, lifeMs: DEFAULT_LIFE_MS },
    clock: systemClock,
  });
  address = '';

  /** A manager with this CA. */
  async start(): Promise<TlsTransport> {
    const first = this.node(await this.credentials(idFor('first'), 'manager'));
    const authority: CertificateAuthority = {
      issue: (...request) => this.authority.issue(...request),
    };
    first.serve(
      JOIN_METHOD,
      joinHandler({
        authority,
        limit: new AttemptLimit(systemClock),
        admit: async ({ token, hostname }) => {
          const role = roleOfToken(token, this.tokens);
          if (role === undefined) throw forbidden('invalid join token');
          return this.#membership(idFor(hostname), role);
        },
        enter: async (_applicant, { nodeId, role }) => void this.roles.set(nodeId, role),
      }),
    );
    first.serve(RENEW_METHOD, renewalHandler({ authority, membership: async (id) => this.#membership(id) }));
    first.serve('who', async (channel, peer) => {
      await channel.send(peer);
      for await (const _ of channel.messages);
    });
    this.address = `127.0.0.1:${await first.listen('127.0.0.1', 0)}`;
    return first;
  }

  node(credentials: CheckedCredentials): TlsTransport {
    return this.#parts.use(
      new TlsTransport({
        credentials,
        clock: systemClock,
        report: (error) => assert.fail(String(error)),
        isAllowed: (id, role) => this.roles.get(id) === 'manager' || this.roles.get(id) === role,
        limits: { pingIntervalMs: 50, missedPings: 20 },
      }),
    );
  }

  async credentials(nodeId: string, role: NodeRole): Promise<CheckedCredentials> {
    const { key, csr } = await createRequest();
    return checkCredentials({ key, ...(await this.authority.issue(csr, nodeId, role)) }, Date.now());
  }

  async join(hostname: string, token: string, address = this.address): Promise<CheckedCredentials> {
    const { key, csr } = await createRequest();
    const { caDigest } = parseJoinToken(token);
    const channel = await openJoinChannel({ address, caDigest, clock: systemClock, signal: never });
    return credentialsOf(await requestJoin(channel, { token, csr, hostname }), key, Date.now());
  }

  async renew(node: TlsTransport, own: CheckedCredentials): Promise<CheckedCredentials> {
    const { key, csr } = await createRequest();
    const channel = await node.open(this.address, RENEW_METHOD, never);
    return credentialsOf(await requestRenewal(channel, { csr }), key, Date.now(), own.identity);
  }

  #membership(nodeId: string, role: NodeRole | undefined = this.roles.get(nodeId)): Membership {
    if (role === undefined) throw forbidden('no such node');
    return { clusterId: CLUSTER, nodeId, role, managers: [this.address] };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#parts.disposeAsync();
  }
}

async function whoAmI(node: TlsTransport, cluster: Cluster): Promise<unknown> {
  const channel = await node.open(cluster.address, 'who', never);
  const who = await first(channel);
  channel.close();
  return who;
}

async function first(channel: Channel): Promise<unknown> {
  for await (const message of channel.messages) return message;
  return undefined;
}

function isOfKind(kind: ErrorKind, message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof DroverError && error.kind === kind && message.test(error.message);
}

test('a node joins by a token, in the role of the token, and is known from then on', async () => {
  await using cluster = new Cluster();
  await cluster.start();
  for (const [name, token, role] of [
    ['web', cluster.tokens.Worker, 'worker'],
    ['second', cluster.tokens.Manager, 'manager'],
  ] as const) {
    const credentials = await cluster.join(name, token);
    assert.deepEqual(await whoAmI(cluster.node(credentials), cluster), { nodeId: idFor(name), role });
  }
});

test('a token of nobody is refused, and who fails too often waits', async () => {
  await using cluster = new Cluster();
  await cluster.start();
  const wrong = createJoinToken(root.certificate);
  for (let i = 0; i < 10; i++)
    await assert.rejects(cluster.join('web', wrong), isOfKind('forbidden', /invalid join token/));
  await assert.rejects(
    cluster.join('web', cluster.tokens.Worker),
    isOfKind('unavailable', /too many failed attempts from 127\.0\.0\.1/),
  );
});

test('a manager whose CA is not the token’s is told nothing', async () => {
  await using cluster = new Cluster();
  await cluster.start();
  const other = await createRoot(CLUSTER, Date.now());
  await assert.rejects(
    cluster.join('web', createJoinToken(other.certificate)),
    isOfKind('forbidden', /not the one of the join token/),
  );
  // who shows the right CA, and has no certificate of it
  const impostor = await impostorWith(other, root.certificate);
  await using transport = cluster.node(impostor);
  transport.serve(JOIN_METHOD, () => assert.fail('was asked to let somebody join'));
  const address = `127.0.0.1:${await transport.listen('127.0.0.1', 0)}`;
  await assert.rejects(
    cluster.join('web', cluster.tokens.Worker, address),
    isOfKind('forbidden', /not of this cluster/),
  );
  // and who has one, of a worker
  await using worker = cluster.node(await cluster.credentials(idFor('web'), 'worker'));
  worker.serve(JOIN_METHOD, () => assert.fail('was asked to let somebody join'));
  const place = `127.0.0.1:${await worker.listen('127.0.0.1', 0)}`;
  await assert.rejects(
    cluster.join('api', cluster.tokens.Worker, place),
    isOfKind('forbidden', /no manager/),
  );
  await assert.rejects(
    cluster.join('web', cluster.tokens.Worker, '127.0.0.1:1'),
    isOfKind('unavailable', /cannot connect/),
  );
});

async function impostorWith(own: typeof root, shown: string): Promise<CheckedCredentials> {
  const authority = createAuthority({
    ...{ clusterId: CLUSTER, root: own, lifeMs: DEFAULT_LIFE_MS },
    clock: systemClock,
  });
  const { key, csr } = await createRequest();
  const { certificate, roots } = await authority.issue(csr, idFor('first'), 'manager');
  return checkCredentials({ key, certificate, roots: roots + shown }, Date.now());
}

test('a node renews without losing a channel, and with the role of its record', async () => {
  await using cluster = new Cluster();
  await cluster.start();
  const own = await cluster.join('web', cluster.tokens.Worker);
  const node = cluster.node(own);
  const lasting = await node.open(cluster.address, 'who', never);
  assert.deepEqual(await first(lasting), { nodeId: idFor('web'), role: 'worker' });

  cluster.roles.set(idFor('web'), 'manager');
  const promoted = await cluster.renew(node, own);
  node.replaceCredentials(promoted);
  assert.equal(promoted.identity.role, 'manager');
  assert.deepEqual(await whoAmI(node, cluster), { nodeId: idFor('web'), role: 'manager' });
  assert.equal(lasting.closed.aborted, false);

  // a manager that is none any more is a worker at once, and may still ask for the certificate that says so
  cluster.roles.set(idFor('web'), 'worker');
  const demoted = await retried(() => cluster.renew(node, promoted));
  assert.equal(demoted.identity.role, 'worker');
  assert.deepEqual(await retried(() => whoAmI(node, cluster)), { nodeId: idFor('web'), role: 'worker' });
});

/** A connection whose node has another role now is closed within a look; the next one is good. */
async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (;;)
    try {
      return await work();
    } catch (error) {
      if (!isOfKind('unavailable', /./)(error)) throw error;
    }
}

test('a root is replaced while nodes run: old and new are served, then only the new', async () => {
  await using cluster = new Cluster();
  const manager = await cluster.start();
  const own = await cluster.join('web', cluster.tokens.Worker);
  const web = cluster.node(own);
  const api = cluster.node(await cluster.join('api', cluster.tokens.Worker));

  const taking = await createRoot(CLUSTER, Date.now());
  const rotation = await rotateRoot(goingRoot(root), CLUSTER, Date.now(), taking);
  cluster.authority = createAuthority({
    clusterId: CLUSTER,
    root: taking,
    previous: { certificate: root.certificate, crossSigned: rotation.crossSignedRootCertificate },
    lifeMs: DEFAULT_LIFE_MS,
    clock: systemClock,
  });
  manager.replaceCredentials(await cluster.credentials(idFor('first'), 'manager'));
  // a node that knows the old root alone, with an old certificate, and one with a token of either root
  const next = await cluster.renew(web, own);
  assert.equal(next.leaf.checkIssued(new X509Certificate(rotation.root.certificate)), true);
  web.replaceCredentials(next);
  assert.deepEqual(await whoAmI(web, cluster), { nodeId: idFor('web'), role: 'worker' });
  await whoAmI(api, cluster);
  await cluster.join('old', cluster.tokens.Worker);
  cluster.tokens.Worker = createJoinToken(rotation.root.certificate);
  await cluster.join('new', cluster.tokens.Worker);

  cluster.authority = createAuthority({
    ...{ clusterId: CLUSTER, root: taking, lifeMs: DEFAULT_LIFE_MS },
    clock: systemClock,
  });
  const left = await api.open(cluster.address, 'who', never);
  manager.replaceCredentials(await cluster.credentials(idFor('first'), 'manager'));
  if (!left.closed.aborted) await once(left.closed, 'abort');
  await assert.rejects(whoAmI(api, cluster), isOfKind('forbidden', /./));
  assert.deepEqual(await whoAmI(web, cluster), { nodeId: idFor('web'), role: 'worker' });
});
