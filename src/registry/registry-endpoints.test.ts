import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressClass, mayRedirect } from './address-class.ts';
import { credentialsFor, parseRegistryAuth } from './credentials.ts';
import { type RegistrySettings, registryEndpoints } from './registry-endpoints.ts';

const SETTINGS: RegistrySettings = { mirrors: [], insecure: [], certificateDirectories: [] };
const urls = (host: string, settings: Partial<RegistrySettings> = {}, pull = true): string[] =>
  registryEndpoints(host, { ...SETTINGS, ...settings }, { pull }).map(({ url }) => url);

test('where a registry is looked for', () => {
  assert.deepEqual(urls('docker.io'), ['https://registry-1.docker.io']);
  assert.deepEqual(urls('docker.io', { mirrors: ['https://m.example'] }), [
    'https://m.example',
    'https://registry-1.docker.io',
  ]);
  assert.deepEqual(urls('docker.io', { mirrors: ['https://m.example'] }, false), [
    'https://registry-1.docker.io',
  ]);
  assert.deepEqual(urls('r.example:5000'), ['https://r.example:5000']);
  assert.deepEqual(urls('localhost:5000'), ['https://localhost:5000', 'http://localhost:5000']);
  assert.deepEqual(urls('127.0.0.9'), ['https://127.0.0.9', 'http://127.0.0.9']);
  assert.deepEqual(urls('r.example:5000', { insecure: ['r.example:5000'] }).length, 2);
  assert.deepEqual(urls('10.1.2.3:80', { insecure: ['10.0.0.0/8'] }).length, 2);
  assert.deepEqual(urls('11.1.2.3:80', { insecure: ['10.0.0.0/8'] }).length, 1);
});

test('addresses are classed, and redirects stay in theirs', () => {
  for (const [address, expected] of [
    ['127.0.0.1', 'loopback'],
    ['::1', 'loopback'],
    ['::ffff:10.0.0.1', 'private'],
    ['192.168.1.1', 'private'],
    ['169.254.169.254', 'link-local'],
    ['fd00::1', 'private'],
    ['93.184.216.34', 'public'],
    ['2606:2800::1', 'public'],
  ] as const)
    assert.equal(addressClass(address), expected, address);
  assert.equal(mayRedirect('public', 'private'), false);
  assert.equal(mayRedirect('public', 'loopback'), false);
  assert.equal(mayRedirect('loopback', 'link-local'), false);
  assert.equal(mayRedirect('private', 'private'), true);
  assert.equal(mayRedirect('loopback', 'public'), true);
});

test('credentials are found by host, whatever form they are kept under', () => {
  const table = {
    'https://index.docker.io/v1/': { username: 'hub' },
    'r.example:5000': { username: 'bare' },
    'https://other.example/v2/': { username: 'url' },
  };
  assert.equal(credentialsFor('docker.io', table).username, 'hub');
  assert.equal(credentialsFor('r.example:5000', table).username, 'bare');
  assert.equal(credentialsFor('other.example', table).username, 'url');
  assert.deepEqual(credentialsFor('r.example', table), {});
  assert.throws(() => parseRegistryAuth('!'), /X-Registry-Auth/);
  assert.deepEqual(parseRegistryAuth(Buffer.from('null').toString('base64url')), {});
});
