import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CertificateFiles } from './certificate-files.ts';
import { readKeyFile, removeKeyFile, writeKeyFile } from './key-file.ts';
import { createSealingKey, formatUnlockKey, unsealKey } from './sealing.ts';

const PEM = '-----BEGIN PRIVATE KEY-----';

test('a set of credentials is replaced whole, and only its owner reads it', () => {
  const directory = mkdtempSync(join(tmpdir(), 'certificates-'));
  try {
    const files = new CertificateFiles(join(directory, 'certificates'));
    assert.equal(files.read(undefined), undefined);
    files.write({ key: `${PEM}1`, certificate: 'c1', roots: 'r1' }, undefined);
    const next = { key: `${PEM}2`, certificate: 'c2', roots: 'r2' };
    files.write(next, undefined);
    assert.deepEqual(files.read(undefined), next);
    assert.equal(statSync(files.path('key')).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(join(directory, 'certificates')).sort(), ['2', 'current']);
    rmSync(files.path('roots'));
    assert.throws(() => files.read(undefined), /roots\.crt is missing/);
    files.write(next, undefined);
    assert.deepEqual(files.read(undefined), next);
    files.remove();
    assert.equal(files.read(undefined), undefined);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a manager’s key is sealed with the managers’, and opened with that alone', () => {
  const directory = mkdtempSync(join(tmpdir(), 'certificates-'));
  try {
    const files = new CertificateFiles(join(directory, 'certificates'));
    assert.equal(files.isSealed, false);
    const sealing = createSealingKey();
    const credentials = { key: `${PEM}1`, certificate: 'c1', roots: 'r1' };
    files.write(credentials, sealing);
    assert.equal(files.isSealed, true);
    assert.doesNotMatch(readFileSync(files.path('key'), 'utf8'), /BEGIN/);
    assert.equal(statSync(files.path('key')).mode & 0o777, 0o600);
    assert.deepEqual(files.read(sealing), credentials);
    assert.throws(() => files.read(undefined), { kind: 'forbidden' });
    assert.throws(() => files.read(createSealingKey()), { kind: 'forbidden' });
    files.write(credentials, undefined);
    assert.equal(files.isSealed, false);
    assert.deepEqual(files.read(undefined), credentials);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('the managers’ key is kept where only its owner reads it, and under the unlock key while the swarm is locked', () => {
  const directory = mkdtempSync(join(tmpdir(), 'key-'));
  try {
    const path = join(directory, 'cluster', 'manager.key');
    const [key, first, second] = [createSealingKey(), createSealingKey(), createSealingKey()];
    const text = (): string => readFileSync(path, 'utf8');
    assert.equal(readKeyFile(path), undefined);
    writeKeyFile(path, key, undefined);
    assert.deepEqual(readKeyFile(path), { key });
    assert.equal(statSync(path).mode & 0o777, 0o600);
    for (const unlockKey of [first, second]) {
      writeKeyFile(path, key, unlockKey);
      const kept = readKeyFile(path);
      assert.ok(kept !== undefined && 'sealed' in kept);
      assert.deepEqual(unsealKey(kept.sealed, [unlockKey]), key);
      assert.equal(text().includes(formatUnlockKey(key).slice('SWMKEY-1-'.length)), false);
      assert.equal(statSync(path).mode & 0o777, 0o600);
    }
    const before = text();
    writeKeyFile(path, key, second);
    assert.equal(text(), before, 'what lies there already is not written again');
    writeKeyFile(path, key, undefined);
    assert.deepEqual(readKeyFile(path), { key });
    writeFileSync(path, 'damaged\n');
    assert.throws(() => readKeyFile(path), { kind: 'invalid' });
    removeKeyFile(path);
    assert.equal(readKeyFile(path), undefined);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
