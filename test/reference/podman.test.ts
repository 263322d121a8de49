import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ApiDaemon } from '../support/api-daemon.ts';
import { BUSYBOX } from '../support/docker-host.ts';
import { RegistryProcess } from '../support/registry-process.ts';

function run(program: string, ...args: string[]): string {
  const done = spawnSync(program, args, { encoding: 'utf8', timeout: 110_000 });
  assert.equal(done.status, 0, `${program} ${args.join(' ')}: ${done.stderr}`);
  return done.stdout.trim();
}

test('podman pulls what we pushed and pushes what we pull', async () => {
  const work = mkdtempSync(join(tmpdir(), 'drover-podman-'));
  await using registry = await RegistryProcess.start();
  await using daemon = await ApiDaemon.start();
  const docker = (...args: string[]): string => run('docker', '-H', `unix://${daemon.socket}`, ...args);
  const storage = ['--root', join(work, 'root'), '--runroot', join(work, 'run'), '--storage-driver', 'vfs'];
  const podman = (...args: string[]): string => run('podman', ...storage, ...args);
  const name = `${registry.host}/app:1`;
  docker('import', BUSYBOX, name);
  docker('push', name);
  podman('pull', '-q', '--tls-verify=false', name);
  assert.equal(
    `sha256:${podman('image', 'inspect', '-f', '{{.Id}}', name)}`,
    docker('image', 'inspect', '-f', '{{.Id}}', name),
  );
  podman('tag', name, `${registry.host}/back:1`);
  podman('push', '-q', '--tls-verify=false', `${registry.host}/back:1`);
  docker('pull', `${registry.host}/back:1`);
  assert.equal(docker('run', '--rm', `${registry.host}/back:1`, 'echo', 'ran'), 'ran');
  podman('rmi', '--all', '--force');
  rmSync(work, { recursive: true, force: true });
});

test('a layer of a gigabyte, there and back', async () => {
  const work = mkdtempSync(join(tmpdir(), 'drover-gigabyte-'));
  await using registry = await RegistryProcess.start();
  await using daemon = await ApiDaemon.start();
  const docker = (...args: string[]): string => run('docker', '-H', `unix://${daemon.socket}`, ...args);
  run(
    'sh',
    '-c',
    `head -c 1073741824 /dev/urandom > ${work}/large && tar -C ${work} -cf ${work}/layer.tar large && rm ${work}/large`,
  );
  const name = `${registry.host}/large:1`;
  docker('import', join(work, 'layer.tar'), name);
  const directory = (): string => docker('image', 'inspect', '-f', '{{.GraphDriver.Data.UpperDir}}', name);
  const before = await digest(join(directory(), 'large'));
  docker('push', name);
  docker('rmi', name);
  docker('pull', name);
  assert.equal(await digest(join(directory(), 'large')), before);
  rmSync(work, { recursive: true, force: true });
});

async function digest(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}
