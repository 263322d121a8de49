import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CertificateFiles } from './certificate-files.ts';
import { readKeyFile, removeKeyFile, writeKeyFile } from './key-file.ts';
import { createSealingKey, formatUnlockKey, unsealKey } from './sealing.ts';

test('a set of credentials is replaced whole, and only its owner reads it', () => {
  const directory = mkdtempSync(join(tmpdir(), 'certificates-'));
  try {
    const files = new CertificateFiles(join(directory, 'certificates'));
    assert.equal(files.read(), undefined);
    files.write({ key: 'k1', certificate: 'c1', roots: 'r1' });
    const next = { key: 'k2', certificate: 'c2', roots: 'r2' };
    files.write(next);
    assert.deepEqual(files.read(), next);
    assert.equal(statSync(files.path('key')).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(join(directory, 'certificates')).sort(), ['2', 'current']);
    rmSync(files.path('roots'));
    assert.throws(() => files.read(), /roots\.crt is missing/);
    files.write(next);
    assert.deepEqual(files.read(), next);
    files.remove();
    assert.equal(files.read(), undefined);
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
