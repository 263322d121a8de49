import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { SwarmCli } from './swarm-cli.ts';

const SCRIPT = join(import.meta.dirname, 'docker-for-python.py');

test('docker for Python drives a swarm', async () => {
  await using swarm = await SwarmCli.start('bb');
  const url = `unix://${swarm.cloud.socket(1)}`;
  // Debian's own Python, which has Debian's packages
  const { status, stderr } = spawnSync('/usr/bin/python3', [SCRIPT, url], {
    encoding: 'utf8',
    timeout: 100_000,
  });
  assert.equal(status, 0, stderr);
});
