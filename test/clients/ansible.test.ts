import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { SwarmCli } from '../cluster/swarm-cli.ts';

const PLAYBOOK = join(import.meta.dirname, 'swarm.yml');

test('Ansible makes what it is told to, and nothing a second time', async () => {
  await using swarm = await SwarmCli.start('bb');
  const DOCKER_HOST = `unix://${swarm.cloud.socket(1)}`;
  const { status, stdout, stderr } = spawnSync(
    '/usr/bin/ansible-playbook',
    ['--inventory', 'localhost,', '--connection', 'local', PLAYBOOK],
    {
      encoding: 'utf8',
      timeout: 200_000,
      env: {
        ...process.env,
        DOCKER_HOST,
        ANSIBLE_NOCOLOR: '1',
        ANSIBLE_LOCAL_TEMP: join(swarm.cloud.root, 'ansible'),
        ANSIBLE_REMOTE_TEMP: join(swarm.cloud.root, 'ansible'),
      },
    },
  );
  assert.equal(status, 0, `${stdout}${stderr}`);
});
