import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { remoteAddress, resolveAddresses } from './advertised-address.ts';

const isOwn = (): boolean => false;
const asked = { listenAddress: '', advertiseAddress: '', dataPathAddress: '' };

test('what is asked for is taken, with Swarm’s port where none is said', async () => {
  assert.deepEqual(await resolveAddresses({ ...asked, advertiseAddress: '10.0.0.7' }, { isOwn }), {
    listenAddress: '0.0.0.0:2377',
    advertiseAddress: '10.0.0.7:2377',
    dataPathAddress: '10.0.0.7',
  });
  assert.deepEqual(
    await resolveAddresses(
      { listenAddress: '10.0.0.7:4000', advertiseAddress: '', dataPathAddress: '10.1.0.7' },
      { isOwn },
    ),
    { listenAddress: '10.0.0.7:4000', advertiseAddress: '10.0.0.7:4000', dataPathAddress: '10.1.0.7' },
  );
});

test('an interface stands for its address', async () => {
  const { advertiseAddress } = await resolveAddresses({ ...asked, advertiseAddress: 'lo:3000' }, { isOwn });
  assert.equal(advertiseAddress, '127.0.0.1:3000');
  await assert.rejects(resolveAddresses({ ...asked, advertiseAddress: 'nosuch0' }, { isOwn }), {
    kind: 'invalid',
    message: 'interface nosuch0 has no IPv4 address, or is not there',
  });
});

test('a node that joins advertises the address that it has towards the manager', async () => {
  const server = createServer((socket) => socket.end());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const towards = `127.0.0.1:${address.port}`;
  assert.equal((await resolveAddresses(asked, { towards, isOwn })).advertiseAddress, '127.0.0.1:2377');
  server.close();
  await once(server, 'close');
  await assert.rejects(resolveAddresses(asked, { towards, isOwn }), { kind: 'unavailable' });
});

test('containers’ bridges are not where other machines are', async () => {
  const all = new Set(Object.keys(networkInterfaces()));
  await assert.rejects(resolveAddresses(asked, { isOwn: (name) => all.has(name) }), {
    kind: 'invalid',
    message: "could not find the system's IP address",
  });
});

test('a manager’s address may leave out the port', () => {
  assert.equal(remoteAddress('10.0.0.1'), '10.0.0.1:2377');
  assert.equal(remoteAddress('10.0.0.1:2400'), '10.0.0.1:2400');
  assert.equal(remoteAddress('fd00::1'), '[fd00::1]:2377');
  assert.throws(() => remoteAddress('10.0.0.1:port'), { kind: 'invalid' });
});
