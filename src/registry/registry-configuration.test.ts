import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseListenAddress } from './registry.ts';
import { parseHtpasswd } from './registry-access.ts';
import {
  matchesPattern,
  type RegistryConfiguration,
  readRegistryConfiguration,
} from './registry-configuration.ts';

const directory = mkdtempSync(join(tmpdir(), 'drover-registry-'));
after(() => rmSync(directory, { recursive: true }));

function read(text: string): RegistryConfiguration {
  const file = join(directory, 'registry.yaml');
  writeFileSync(file, text);
  return readRegistryConfiguration(file);
}

test('a configuration: defaults, sizes, and what is not known by name', () => {
  assert.deepEqual(readRegistryConfiguration(undefined).auth.method, 'none');
  const some = read('quotas: [{repositories: "team/*", bytes: 10GiB}]\nimmutableTags: ["**:v*"]');
  assert.deepEqual(some.quotas, [{ repositories: 'team/*', bytes: 10 * 1024 ** 3 }]);
  assert.throws(() => read('quota: []'), /quota/);
  assert.throws(() => read('auth: {method: htpasswd}'), /auth.htpasswd names no file/);
  assert.throws(() => read('quotas: [{repositories: a, bytes: many}]'), /many is no size/);
  assert.throws(() => read('webhooks: [{url: "file:///x"}]'), /webhooks/);
  assert.throws(() => readRegistryConfiguration('/nope'), /cannot read/);
});

test('patterns', () => {
  assert.ok(matchesPattern('team/app', 'team/*'));
  assert.ok(!matchesPattern('team/app/x', 'team/*'));
  assert.ok(matchesPattern('team/app/x', 'team/**'));
  assert.ok(matchesPattern('anything/at/all', '**'));
  assert.ok(!matchesPattern('teamXapp', 'team.app'));
});

test('htpasswd files and addresses', () => {
  const hash = '$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC';
  assert.deepEqual([...parseHtpasswd(`# x\n\nme:${hash}\n`, 'f').keys()], ['me']);
  assert.throws(() => parseHtpasswd('me:{SHA}x', 'f'), /f, line 1: only bcrypt/);
  assert.deepEqual(parseListenAddress(':5000'), { host: undefined, port: 5000 });
  assert.deepEqual(parseListenAddress('[::1]:80'), { host: '::1', port: 80 });
  assert.throws(() => parseListenAddress('5000'), /no address/);
});
