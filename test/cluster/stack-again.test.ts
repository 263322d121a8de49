import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ApiDaemon } from '../support/api-daemon.ts';
import { BUSYBOX, eventually } from '../support/docker-host.ts';

/** It takes its time to end, as what has connections to close does. */
const STACK = `
services:
  web:
    image: bb
    command: ["sh", "-c", "trap 'sleep 1; exit 0' TERM; cat /run/secrets/key; sleep 1000 & wait"]
    networks: [front]
    secrets: [key]
networks: { front: { driver: overlay } }
secrets: { key: { file: ./content } }
`;

test('a stack is removed and deployed again in one go, and its containers end in their own time', async () => {
  await using daemon = await ApiDaemon.start();
  const ok = (...argv: string[]): string => {
    const { status, stdout, stderr } = daemon.docker(...argv);
    assert.equal(status, 0, `docker ${argv.join(' ')}: ${stderr}`);
    return stdout.trimEnd();
  };
  ok('import', BUSYBOX, 'bb');
  ok('swarm', 'init', '--advertise-addr', '127.0.0.1');
  const file = join(daemon.directory, 'stack.yaml');
  writeFileSync(file, STACK);
  writeFileSync(join(daemon.directory, 'content'), 'hello\n');
  const deploy = ['stack', 'deploy', '--detach=true', '--resolve-image', 'never', '-c', file, 'shop'];
  const runs = (): boolean => ok('service', 'ls', '--format', '{{.Replicas}}') === '1/1';
  const names = (): string =>
    ok('network', 'ls', '--filter', 'name=shop', '--format', '{{.Name}} {{.Scope}}');
  ok(...deploy);
  await eventually(async () => runs(), 'the task runs');
  await eventually(async () => ok('service', 'logs', '--raw', 'shop_web') === 'hello', 'the secret is read');
  assert.equal(names(), 'shop_front swarm');
  const first = ok('ps', '-q', '--no-trunc');
  assert.match(ok('network', 'inspect', 'shop_front', '--format', '{{json .Containers}}'), new RegExp(first));
  ok('stack', 'rm', 'shop');
  assert.equal(names(), '');
  // this waits until the network of before is gone
  ok(...deploy);
  await eventually(async () => runs(), 'the next task runs');
  assert.equal(names(), 'shop_front swarm');
  ok('stack', 'rm', 'shop');
  await eventually(async () => ok('ps', '-aq') === '', 'no container is left');
  ok('swarm', 'leave', '--force');
});
