import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import {
  anotherNode,
  attached,
  attachingManager,
  containerId,
} from '#cluster/attachments/attachment-fixture.ts';
import {
  ATTACHMENTS_METHOD,
  AttachmentQuestions,
  attachmentsHandler,
} from '#cluster/attachments/attachment-protocol.ts';
import { firstMessage } from '#cluster/ca/join-protocol.ts';
import { TlsTransport } from '#cluster/transport/tls-transport.ts';
import { systemClock } from '#control/clock.ts';
import { kindOf } from '#model/errors.ts';
import { idFor, TestAuthority } from '../support/cluster-certificates.ts';

const authority = await TestAuthority.create();
const parts = new AsyncDisposableStack();
after(() => parts.disposeAsync());
const never = new AbortController().signal;

async function transportOf(name: string, role: 'worker' | 'manager'): Promise<TlsTransport> {
  const credentials = await authority.credentials(name, role);
  const report = (): undefined => undefined;
  return parts.use(new TlsTransport({ clock: systemClock, report, credentials, isAllowed: () => true }));
}

const manager = await transportOf('manager', 'manager');
const liar = await transportOf('liar', 'worker');
const honest = await transportOf('honest', 'worker');
const { store, control } = await attachingManager();
await store.write(anotherNode(idFor('liar')), anotherNode(idFor('honest')));
manager.serve(
  ATTACHMENTS_METHOD,
  attachmentsHandler(() => control.attachments, systemClock),
);
const address = `127.0.0.1:${await manager.listen('127.0.0.1', 0)}`;
const questions = new AttachmentQuestions({ transport: honest, managers: () => [address] });

/** What the liar is answered; the kind of the error where it is one. */
async function said(question: unknown): Promise<unknown> {
  const channel = await liar.open(address, ATTACHMENTS_METHOD, never);
  try {
    await channel.send(question);
    return await firstMessage(channel);
  } catch (error) {
    return kindOf(error);
  } finally {
    channel.close();
  }
}

const attach = (name: string, o: object = {}): object => ({
  ...{ kind: 'attach', network: 'net', containerId: containerId(name), names: [name], ...o },
});

test('what is no question, or too much of one, is refused and leaves nothing', async () => {
  const questionable: unknown[] = [
    'attach',
    { kind: 'grant' },
    attach('x', { containerId: '../../x' }),
    attach('x', { names: [] }),
    attach('x', { names: Array.from({ length: 65 }, () => 'x') }),
    attach('x', { names: ['x'.repeat(256)] }),
    attach('x', { names: ['\u001b[2Jx'] }),
    attach('x', { names: ['two words'] }),
    attach('x', { address: '10.0.1.9/8' }),
    attach('x', { address: '::1' }),
    { kind: 'release', ids: Array.from({ length: 201 }, () => 'x') },
    { kind: 'find', network: '' },
  ];
  for (const question of questionable)
    assert.equal(await said(question), 'invalid', JSON.stringify(question));
  assert.deepEqual(attached(store), []);
});

test('a worker speaks for itself only', async () => {
  const mine = { network: 'net', containerId: containerId('mine'), names: ['mine'] };
  const { id } = await questions.attach(mine, never);
  await said(attach('mine', { nodeId: idFor('honest'), names: ['taken'] }));
  await said({ kind: 'release', ids: [id], nodeId: idFor('honest') });
  assert.deepEqual(attached(store), [`10.0.1.2 mine@${idFor('honest')}`, `10.0.1.3 taken@${idFor('liar')}`]);
  assert.deepEqual(await said({ kind: 'find', network: 'closed' }), {
    refusal: { kind: 'forbidden', message: 'network closed not manually attachable' },
  });
});

test('a flood takes half of a network at most, and nobody else waits for it', async () => {
  const flood = Array.from({ length: 1000 }, (_, i) => said(attach(`flood${i}`)).catch(kindOf));
  const other = { network: 'net', containerId: containerId('other'), names: ['other'] };
  const place = await questions.attach(other, never);
  assert.match(place.address, /^10\.0\.1\./);
  const answers = await Promise.all(flood);
  assert.ok(answers.includes('unavailable'), 'more is asked than is answered');
  const taken = attached(store).filter((each) => each.endsWith(idFor('liar')));
  assert.ok(taken.length <= 127, `the liar has ${taken.length} places`);
  // what it may write is counted over a while, so that it cannot go on and on
  assert.equal(await said({ kind: 'release', ids: ['x'] }), 'unavailable');
  await questions.release([place.id], never);
});
