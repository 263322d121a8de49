import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceSpec } from '#model/service.ts';
import { controlOver, oneNodeSwarm } from './control-fixture.ts';

const DATA = Buffer.from('hello').toString('base64');

function using(name: string, references: Partial<ServiceSpec['TaskTemplate']['ContainerSpec']>): ServiceSpec {
  return { Name: name, TaskTemplate: { ContainerSpec: { Image: 'nginx', ...references } } };
}

test('a secret is sealed before the store sees it', async () => {
  const store = await oneNodeSwarm();
  const { secrets } = controlOver(store);
  const id = await secrets.create({ spec: { Name: 'key', Labels: { a: 'b' } }, data: DATA });
  assert.equal(store.view.get('secret', id)?.sealed, `secret/${id}:${DATA}`);
  assert.deepEqual(secrets.inspect('key').record.Spec, { Name: 'key', Labels: { a: 'b' } });
  await assert.rejects(secrets.create({ spec: { Name: 'key' }, data: DATA }), {
    kind: 'conflict',
    message: 'secret key already exists',
  });
});

test('names and sizes are checked', async () => {
  const { secrets, configs } = controlOver(await oneNodeSwarm());
  const large = Buffer.alloc(1024 * 1000 + 1).toString('base64');
  const refused: [Promise<unknown>, RegExp][] = [
    [secrets.create({ spec: { Name: '' }, data: DATA }), /^name must be provided$/],
    [secrets.create({ spec: { Name: 'a b' }, data: DATA }), /^invalid name, only 64 /],
    [secrets.create({ spec: { Name: 'a'.repeat(65) }, data: DATA }), /^invalid name, only 64 /],
    [
      secrets.create({ spec: { Name: 'a' }, data: '' }),
      /^secret data must be larger than 0 and less than 512000/,
    ],
    [secrets.create({ spec: { Name: 'a' }, data: '***' }), /^illegal base64 data/],
    [configs.create({ Name: 'a', Data: large }), /^config data must be larger than 0 and less than 1024000/],
  ];
  for (const [attempt, message] of refused) await assert.rejects(attempt, { kind: 'invalid', message });
});

test('only labels change, and only of what was read', async () => {
  const { secrets, configs } = controlOver(await oneNodeSwarm());
  await secrets.create({ spec: { Name: 'key' }, data: DATA });
  await configs.create({ Name: 'conf', Data: DATA });
  const version = secrets.inspect('key').revision;
  const only = { kind: 'invalid', message: 'only updates to Labels are allowed' };
  await assert.rejects(secrets.update('key', { version, spec: { Name: 'other' } }), only);
  const data = Buffer.from('other').toString('base64');
  await assert.rejects(secrets.update('key', { version, spec: { Name: 'key' }, data }), only);
  await assert.rejects(secrets.update('key', { version: version + 1, spec: { Name: 'key' } }), {
    message: 'update out of sequence',
  });
  await secrets.update('key', { version, spec: { Name: 'key', Labels: { a: 'b' } }, data: DATA });
  assert.deepEqual(secrets.inspect('key').record.Spec.Labels, { a: 'b' });
  const other = { Name: 'conf', Data: Buffer.from('other').toString('base64') };
  const current = configs.inspect('conf').revision;
  await assert.rejects(configs.update('conf', { version: current, spec: other }), only);
  await configs.update('conf', { version: current, spec: { Name: 'conf', Data: '', Labels: { c: 'd' } } });
  assert.deepEqual(configs.inspect('conf').record.Spec, { Name: 'conf', Data: DATA, Labels: { c: 'd' } });
});

test('what services use is not removed, and they are named', async () => {
  const { secrets, configs, services } = controlOver(await oneNodeSwarm());
  const SecretID = await secrets.create({ spec: { Name: 'key' }, data: DATA });
  const ConfigID = await configs.create({ Name: 'conf', Data: DATA });
  const File = { Name: 'x', UID: '0', GID: '0', Mode: 0o444 };
  await services.create({ spec: using('b', { Secrets: [{ SecretID, SecretName: 'key', File }] }) });
  await assert.rejects(secrets.remove('key'), {
    kind: 'invalid',
    message: "secret 'key' is in use by the following service: b",
  });
  const both = {
    Secrets: [{ SecretID, SecretName: 'key', File }],
    Configs: [{ ConfigID, ConfigName: 'conf', File }],
  };
  await services.create({ spec: using('a', both) });
  await assert.rejects(secrets.remove('key'), /in use by the following services: a, b$/);
  await assert.rejects(configs.remove('conf'), /^DroverError: config 'conf' is in use by .* a$/);
  await services.remove('a');
  await services.remove('b');
  await secrets.remove('key');
  await configs.remove(ConfigID);
  assert.deepEqual([...secrets.list({}), ...configs.list({})], []);
  await assert.rejects(secrets.remove('key'), { kind: 'not-found', message: 'secret key not found' });
});

test('they are listed by name, whole or in part, and label', async () => {
  const { secrets } = controlOver(await oneNodeSwarm());
  await secrets.create({ spec: { Name: 'key', Labels: { a: 'b' } }, data: DATA });
  await secrets.create({ spec: { Name: 'keyring' }, data: DATA });
  const names = (filters: Record<string, string[]>): string[] =>
    secrets.list(filters).map(({ record }) => record.Spec.Name);
  assert.deepEqual(names({ name: ['key'] }), ['key', 'keyring']);
  assert.deepEqual(names({ names: ['key'] }), ['key']);
  assert.deepEqual(names({ label: ['a'] }), ['key']);
});
