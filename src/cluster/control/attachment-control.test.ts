import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  anotherNode,
  attached,
  attachingManager,
  containerId,
} from '#cluster/attachments/attachment-fixture.ts';
import type { AttachmentRequest } from './attachment-control.ts';
import { controlOver, oneNodeSwarm } from './control-fixture.ts';

const request = (name: string, o: Partial<AttachmentRequest> = {}): AttachmentRequest => ({
  ...{ network: 'net', containerId: containerId(name), names: [name] },
  ...o,
});

test('each container gets an address of its own, and keeps it when it is asked for again', async () => {
  const { store, control } = await attachingManager();
  await store.write(anotherNode('a'), anotherNode('b'));
  const one = await control.attachments.attach('a', request('one'));
  await control.attachments.attach('b', request('one'));
  await control.attachments.attach('b', request('two', { address: '10.0.1.9' }));
  assert.deepEqual(attached(store), ['10.0.1.2 one@a', '10.0.1.3 one@b', '10.0.1.9 two@b']);
  const renamed = await control.attachments.attach('a', request('one', { names: ['other', 'alias'] }));
  assert.deepEqual([renamed.ID, renamed.address], [one.ID, one.address]);
  assert.deepEqual(attached(store)[0], '10.0.1.2 other@a');
  const again = await control.attachments.attach('a', request('one', { address: '10.0.1.2' }));
  assert.equal(again.ID, one.ID);
});

test('an address that cannot be given leaves nothing behind', async () => {
  const { store, control } = await attachingManager();
  await store.write(anotherNode('a'));
  await control.attachments.attach('a', request('one', { address: '10.0.1.9' }));
  const refusals: [address: string, message: RegExp, kind: string][] = [
    ['10.0.1.9', /^Could not attach to network net: Address already in use: 10\.0\.1\.9/, 'conflict'],
    ['10.0.1.1', /Address already in use/, 'conflict'],
    ['10.0.1.255', /Address already in use/, 'conflict'],
    ['10.0.2.9', /no configured subnet or ip-range contain the IP address 10\.0\.2\.9$/, 'invalid'],
  ];
  for (const [address, message, kind] of refusals)
    await assert.rejects(control.attachments.attach('a', request('two', { address })), { message, kind });
  assert.deepEqual(attached(store), ['10.0.1.9 one@a']);
});

test('networks that nobody attaches to by hand are refused in Docker’s words', async () => {
  const { store, control } = await attachingManager();
  await store.write(anotherNode('a'));
  await control.networks.create({ Name: 'secret', Attachable: true, Options: { encrypted: '' } });
  const refusals: [network: string, message: string, kind: string][] = [
    [
      'closed',
      'Could not attach to network closed: rpc error: code = PermissionDenied desc = network closed not manually attachable',
      'forbidden',
    ],
    [
      'no',
      'Could not attach to network no: rpc error: code = NotFound desc = network no not found',
      'not-found',
    ],
    [
      'secret',
      'Could not attach to network secret: network secret is encrypted, which this node cannot do: it does not say that it can',
      'not-implemented',
    ],
  ];
  for (const [network, message, kind] of refusals)
    await assert.rejects(control.attachments.attach('a', request('x', { network })), { message, kind });
  await assert.rejects(control.attachments.attach('nobody', request('x')), { kind: 'forbidden' });
});

test('what was given back can be given again, and only its node gives it back', async () => {
  const { store, control } = await attachingManager();
  await store.write(anotherNode('a'), anotherNode('b'));
  const { ID } = await control.attachments.attach('a', request('one', { address: '10.0.1.9' }));
  await control.attachments.release('b', [ID]);
  assert.equal(attached(store).length, 1);
  await control.attachments.release('a', [ID, 'unknown']);
  await control.attachments.attach('b', request('two', { address: '10.0.1.9' }));
  assert.deepEqual(attached(store), ['10.0.1.9 two@b']);
});

test('no node gets more than half of a network, or a thousand places', async () => {
  const { store, control } = await attachingManager();
  await store.write(anotherNode('a'), anotherNode('b'));
  const pool = { Config: [{ Subnet: '10.9.0.0/29' }] };
  await control.networks.create({ Name: 'small', Attachable: true, IPAM: pool });
  for (const name of ['1', '2', '3'])
    await control.attachments.attach('a', request(name, { network: 'small' }));
  const fourth = control.attachments.attach('a', request('4', { network: 'small' }));
  await assert.rejects(fourth, {
    kind: 'forbidden',
    message: /half of the addresses of network small at most: 3/,
  });
  await control.attachments.attach('b', request('4', { network: 'small' }));
  const wide = { Config: [{ Subnet: '10.16.0.0/16' }] };
  const { ID: networkId } = await control.networks.create({ Name: 'wide', Attachable: true, IPAM: wide });
  const times = { CreatedAt: '', UpdatedAt: '' };
  for (let i = 0; i < 997; i++) {
    const put = { ...times, ID: `x${i}`, nodeId: 'a', networkId, names: ['x'], address: '' };
    await store.commit({
      checks: [],
      puts: [
        { key: `attachment/x${i}`, value: JSON.stringify({ ...put, containerId: containerId(`x${i}`) }) },
      ],
      deletes: [],
    });
  }
  await assert.rejects(control.attachments.attach('a', request('more')), { message: /a node has 1000/ });
  await control.attachments.attach('b', request('more'));
});

test('a network with a container on it stays', async () => {
  const { store, control } = await attachingManager();
  await store.write(anotherNode('a'));
  const { ID } = await control.attachments.attach('a', request('one'));
  const network = control.networks.inspect('net');
  assert.equal(control.networks.isUnused(network), false);
  const message = `network ${network.ID} is in use by task ${ID}`;
  await assert.rejects(control.networks.remove('net'), { kind: 'invalid', message });
  await control.attachments.release('a', [ID]);
  assert.equal(control.networks.isUnused(network), true);
  await control.networks.remove('net');
});

test('where nobody gives addresses, a request ends, and leaves nothing behind', async () => {
  const store = await oneNodeSwarm();
  const control = controlOver(store, {
    clock: { nowMs: () => 0, monotonicMs: () => 0, sleep: async () => undefined },
  });
  await store.write(anotherNode('a'));
  await control.networks.create({ Name: 'net', Attachable: true });
  await assert.rejects(control.attachments.attach('a', request('one')), { kind: 'unavailable' });
  assert.deepEqual(attached(store), []);
});
