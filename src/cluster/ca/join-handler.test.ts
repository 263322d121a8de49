import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Channel, Peer } from '#cluster/transport/transport.ts';
import { DroverError, forbidden, unavailable } from '#model/errors.ts';
import { AttemptLimit } from './attempt-limit.ts';
import { createRequest } from './certificate-request.ts';
import { type Applicant, joinHandler, type Membership, renewalHandler } from './join-handler.ts';
import { CertificateAnswer, credentialsOf, requestJoin } from './join-protocol.ts';
import { createJoinToken } from './join-token.ts';
import { createAuthority, DEFAULT_LIFE_MS } from './root-authority.ts';
import { createRoot } from './root-certificate.ts';

const CLUSTER = 'c'.repeat(25);
const NODE = 'n'.repeat(25);
const NOW = Date.UTC(2030, 0, 1);
const root = await createRoot(CLUSTER, NOW);
const token = createJoinToken(root.certificate);

class SteppedClock {
  now = NOW;
  nowMs(): number {
    return this.now;
  }
  monotonicMs(): number {
    return this.now;
  }
  sleep(): Promise<void> {
    return Promise.resolve();
  }
}

const clock = new SteppedClock();
const authority = createAuthority({ clusterId: CLUSTER, root, lifeMs: DEFAULT_LIFE_MS, clock });

/** One end of a channel on which `messages` came. */
function channelWith(messages: readonly unknown[], remote = '10.0.0.9'): Channel & { sent: unknown[] } {
  const sent: unknown[] = [];
  return {
    sent,
    remote,
    messages: (async function* () {
      yield* messages;
    })(),
    send: async (message) => {
      sent.push(message);
    },
    closed: new AbortController().signal,
    close: () => undefined,
  };
}

function membership(nodeId: string): Membership {
  return { clusterId: CLUSTER, nodeId, role: 'worker', managers: ['10.0.0.1:2377'], managerKey: 'key' };
}

const entered: string[] = [];
async function enter(_applicant: Applicant, { nodeId }: Membership): Promise<void> {
  entered.push(nodeId);
}

test('a token and a request become a certificate, and the key stays where it was', async () => {
  const seen: Applicant[] = [];
  const { key, csr } = await createRequest();
  const server = channelWith([{ token, csr, hostname: 'web', address: ':2377' }]);
  const admit = async (applicant: Applicant): Promise<Membership> => {
    seen.push(applicant);
    return membership(NODE);
  };
  await joinHandler({ authority, admit, enter, limit: new AttemptLimit(clock) })(server, undefined);
  assert.deepEqual(seen, [{ token, hostname: 'web', address: ':2377', remote: '10.0.0.9', canManage: true }]);

  assert.deepEqual(entered.splice(0), [NODE]);

  const client = channelWith(server.sent);
  const answer = await requestJoin(client, { token, csr, hostname: 'web' });
  assert.equal(answer.managerKey, undefined, 'a worker gets no key');
  assert.deepEqual(answer.managers, ['10.0.0.1:2377']);
  const { identity } = credentialsOf(answer, key, NOW);
  assert.deepEqual(identity, { nodeId: NODE, role: 'worker', clusterId: CLUSTER });
  assert.throws(() => credentialsOf({ ...answer, role: 'manager' }, key, NOW), /somebody else/);
  assert.throws(
    () => credentialsOf(answer, key, NOW, { nodeId: 'm'.repeat(25), clusterId: CLUSTER }),
    /somebody else/,
  );
});

test('failed tokens of one address are counted, others are served, and time forgives', async () => {
  const limit = new AttemptLimit(clock, { failures: 2, windowMs: 1000 });
  const { csr } = await createRequest();
  const admit = (applicant: Applicant): Promise<Membership> =>
    applicant.token === token
      ? Promise.resolve(membership(NODE))
      : Promise.reject(forbidden('invalid join token'));
  const join = (text: string, remote: string): Promise<void> =>
    joinHandler({ authority, admit, enter, limit })(
      channelWith([{ token: text, csr, hostname: 'h' }], remote),
      undefined,
    );
  const wrong = createJoinToken(root.certificate);
  for (let i = 0; i < 3; i++) await join(token, 'a');
  for (let i = 0; i < 2; i++) await assert.rejects(join(wrong, 'a'), /invalid join token/);
  await assert.rejects(join(token, 'a'), /too many failed attempts from a/);
  await join(token, 'b');
  clock.now += 1000;
  await join(token, 'a');
});

test('what a manager cannot do now does not count against who asks', async () => {
  const limit = new AttemptLimit(clock, { failures: 1 });
  const { csr } = await createRequest();
  const admit = (): Promise<Membership> => Promise.reject(unavailable('no leader'));
  for (let i = 0; i < 3; i++)
    await assert.rejects(
      joinHandler({ authority, admit, enter, limit })(
        channelWith([{ token, csr, hostname: 'h' }]),
        undefined,
      ),
      /no leader/,
    );
});

test('where no certificate can be made, no node is left behind', async () => {
  const { csr } = await createRequest();
  const admit = async (): Promise<Membership> => membership(NODE);
  const issue = (): Promise<never> => Promise.reject(unavailable('no external CA signed'));
  const join = joinHandler({ authority: { issue }, admit, enter, limit: new AttemptLimit(clock) });
  entered.length = 0;
  await assert.rejects(
    join(channelWith([{ token, csr, hostname: 'h' }]), undefined),
    /no external CA signed/,
  );
  assert.deepEqual(entered, []);
});

test('nobody is admitted by a message of another form, or a request that cannot be signed', async () => {
  const admit = (): Promise<Membership> => assert.fail('admitted');
  const { csr } = await createRequest();
  const messages = [
    null,
    [],
    'x',
    {},
    { token, csr },
    { token, csr, hostname: 'h', more: 1 },
    { token: 'x', csr, hostname: 'h' },
    { token, csr: 'x', hostname: 'h' },
    { token, csr, hostname: 'h'.repeat(300) },
  ];
  for (const message of messages)
    await assert.rejects(
      joinHandler({ authority, admit, enter, limit: new AttemptLimit(clock) })(
        channelWith([message]),
        undefined,
      ),
      (error) => error instanceof DroverError && error.kind === 'invalid',
      JSON.stringify(message),
    );
});

test('a node renews with the role of its record, and nobody else does', async () => {
  const handler = renewalHandler({
    authority,
    membership: async (id) => ({ ...membership(id), role: 'manager' }),
  });
  const { key, csr } = await createRequest();
  const peer: Peer = { nodeId: NODE, role: 'worker' };
  const server = channelWith([{ csr }]);
  await handler(server, peer);
  const answer = CertificateAnswer.parse(server.sent[0]);
  assert.equal(credentialsOf(answer, key, NOW).identity.role, 'manager');
  assert.equal(answer.managerKey, 'key');
  await assert.rejects(handler(channelWith([{ csr }]), undefined), /by the node that has one/);
});

test('the table of failed attempts is bounded', () => {
  const limit = new AttemptLimit(clock, { failures: 1, addresses: 2 });
  for (const address of ['a', 'b', 'c']) limit.begin(address);
  limit.begin('a');
  assert.throws(() => limit.begin('c'), /too many/);
});
