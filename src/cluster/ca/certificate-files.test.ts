import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CertificateFiles } from './certificate-files.ts';
import { readKeyFile, removeKeyFile, writeKeyFile } from './key-file.ts';
import { createSealingKey } from './sealing.ts';

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

test('the managers’ key is kept where only its owner reads it, until the swarm is locked', () => {
  const directory = mkdtempSync(join(tmpdir(), 'key-'));
  try {
    const path = join(directory, 'cluster', 'manager.key');
    assert.equal(readKeyFile(path), undefined);
    writeKeyFile(path, createSealingKey());
    const key = createSealingKey();
    writeKeyFile(path, key);
    assert.deepEqual(readKeyFile(path), key);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    removeKeyFile(path);
    assert.equal(readKeyFile(path), undefined);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
