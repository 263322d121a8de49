import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DROVER } from '../support/api-daemon.ts';
import { BUSYBOX, eventually } from '../support/docker-host.ts';
import { TestCloud } from '../support/test-cloud.ts';

/** The database is healthy when there is a file `go` in `directory`, which every node of a cloud sees. */
const compose = (directory: string): string => `
services:
  web:
    image: bb
    command: sleep 1000
    stop_grace_period: 0s
    depends_on: { db: { condition: service_healthy } }
    deploy: { placement: { constraints: [node.role == manager] } }
  db:
    image: bb
    command: sh -c 'until test -e /release/go; do sleep 0.1; done; touch /tmp/ready; sleep 1000'
    stop_grace_period: 0s
    volumes: ["${directory}:/release:ro"]
    healthcheck: { test: test -e /tmp/ready, interval: 200ms, retries: 1000 }
    deploy: { placement: { constraints: [node.role == worker] } }
`;

test('a service waits for another on another node, and a leader that comes back goes on with the release', async () => {
  await using cloud = await TestCloud.up('--nodes', '2', '--managers', '1', '--memory-root');
  for (const number of [1, 2]) cloud.docker(number, 'import', BUSYBOX, 'bb');
  const file = join(cloud.root, 'compose.yaml');
  const flag = join(cloud.root, 'go');
  writeFileSync(file, compose(cloud.root));
  const { socket } = cloud.node(1);
  const drover = (...argv: string[]): string => {
    const done = spawnSync(DROVER, ['-H', `unix://${socket}`, ...argv], {
      encoding: 'utf8',
      timeout: 40_000,
    });
    assert.equal(done.status, 0, `drover ${argv.join(' ')}: ${done.stderr}`);
    return done.stdout;
  };
  drover('deploy', '--detach', '--resolve-image', 'never', '-f', file, 'shop');
  const services = (): string => cloud.docker(1, 'service', 'ls', '--format', '{{.Name}} {{.Replicas}}');
  await eventually(() => services() === 'shop_db 0/1', 'the database is there, and not healthy');
  await eventually(() => cloud.docker(2, 'ps', '-q') !== '', 'its container is on the worker');
  cloud.ok('kill', 'c', 'node1');
  cloud.ok('start', 'c', 'node1');
  assert.equal(services(), 'shop_db 0/1');
  writeFileSync(flag, '');
  await eventually(
    () => services().includes('shop_web 1/1'),
    'the web runs once the database is healthy',
    40_000,
  );
  const states = (): string => JSON.parse(drover('releases', '--format', 'json', 'shop'))[0].State;
  await eventually(() => states() === 'deployed', 'the release is deployed');
  drover('stack', 'rm', 'shop');
});
