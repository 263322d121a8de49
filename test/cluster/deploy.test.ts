import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ApiDaemon, DROVER } from '../support/api-daemon.ts';
import { BUSYBOX, eventually, type Result } from '../support/docker-host.ts';

const DEPLOY_LIMIT_MS = 40_000;

/** A database, a job that has to be done after it runs, and a site that needs both. */
function stackFile(o: { greeting?: string; command?: string } = {}): string {
  return `
services:
  site:
    image: bb
    command: ${o.command ?? "sh -c 'cat /run/secrets/key /data/schema; sleep 1000'"}
    environment: { GREETING: ${o.greeting ?? 'hello'} }
    stop_grace_period: 0s
    secrets: [key]
    volumes: [data:/data:ro]
    depends_on:
      schema: { condition: service_completed_successfully }
    deploy: { replicas: 2, update_config: { monitor: 500ms, parallelism: 0 } }
  schema:
    image: bb
    command: sh -c 'cat /data/ready && echo made > /data/schema'
    volumes: [data:/data]
    depends_on: { db: { condition: service_healthy } }
  db:
    image: bb
    command: sh -c 'sleep 1; echo ready > /data/ready; sleep 1000'
    stop_grace_period: 0s
    healthcheck: { test: test -e /data/ready, interval: 200ms, retries: 100 }
    volumes: [data:/data]
secrets: { key: { file: ./key } }
volumes: { data: {} }
`;
}

/** A node on its own that is a swarm, and a directory with a Compose file. */
class OneNodeSwarm implements AsyncDisposable {
  readonly daemon: ApiDaemon;

  static async start(): Promise<OneNodeSwarm> {
    const swarm = new OneNodeSwarm(await ApiDaemon.start());
    swarm.docker('import', BUSYBOX, 'bb');
    swarm.docker('swarm', 'init', '--advertise-addr', '127.0.0.1');
    swarm.write('key', 'sesame\n');
    swarm.write('compose.yaml', stackFile());
    return swarm;
  }

  private constructor(daemon: ApiDaemon) {
    this.daemon = daemon;
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.daemon.directory, name), text);
  }

  docker(...argv: string[]): string {
    const { status, stdout, stderr } = this.daemon.docker(...argv);
    assert.equal(status, 0, `docker ${argv.join(' ')}: ${stderr}`);
    return stdout.trimEnd();
  }

  drover(...argv: string[]): Result {
    return spawnSync(DROVER, ['-H', `unix://${this.daemon.socket}`, ...argv], {
      cwd: this.daemon.directory,
      encoding: 'utf8',
      timeout: DEPLOY_LIMIT_MS,
    });
  }

  /** What one prints that must succeed. */
  ok(...argv: string[]): string {
    const { status, stdout, stderr } = this.drover(...argv);
    assert.equal(status, 0, `drover ${argv.join(' ')}: ${stdout}${stderr}`);
    return stdout + stderr;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.daemon.docker('swarm', 'leave', '--force');
    await this.daemon[Symbol.asyncDispose]();
  }
}

test('a stack is deployed in the order of its dependencies, changed, rolled back, and removed', async () => {
  await using swarm = await OneNodeSwarm.start();
  const first = swarm.ok('deploy', 'shop');
  assert.match(first, /Stack shop: release 1 is deployed/);
  // the site reads what the job has written, which needs the database
  await eventually(
    () => swarm.docker('service', 'logs', '--raw', 'shop_site').includes('sesame\nmade'),
    'the site has read its secret and the schema',
  );
  assert.equal(swarm.docker('stack', 'ls', '--format', '{{.Name}} {{.Services}}'), 'shop 3');
  assert.equal(swarm.docker('stack', 'services', '-q', 'shop').split('\n').length, 3);
  assert.match(swarm.docker('secret', 'ls', '--format', '{{.Name}}'), /^shop_key_[0-9a-f]{8}$/);

  assert.match(swarm.ok('plan', 'shop'), /the cluster is as it is to be, release 1/);
  assert.match(swarm.ok('deploy', 'shop'), /release 1 is what is asked for already/);

  swarm.write('compose.yaml', stackFile({ greeting: 'good morning' }));
  const plan = swarm.ok('plan', 'shop');
  assert.match(plan, /~ service shop_site/);
  assert.match(plan, /Env\[GREETING\] +hello → good morning/);
  assert.match(plan, /restarts 2 tasks \(shop_site\.1 on \S+, shop_site\.2 on \S+\), start-first/);
  assert.match(swarm.ok('deploy', 'shop'), /release 2 is deployed/);

  // another secret is another name, and rolls what uses it
  swarm.write('key', 'open\n');
  assert.match(swarm.ok('deploy', 'shop'), /release 3 is deployed/);
  assert.equal(swarm.docker('secret', 'ls', '-q').split('\n').length, 2);

  swarm.write('compose.yaml', stackFile({ command: 'sh -c "exit 3"' }));
  const broken = swarm.drover('deploy', 'shop');
  assert.equal(broken.status, 1, broken.stderr);
  assert.match(
    broken.stderr,
    /error: release 4 of shop failed: service shop_site: update rolled back due to/,
  );

  assert.match(swarm.ok('rollback', '--dry-run', 'shop', '2'), /Secrets\[key\]/);
  assert.match(
    swarm.ok('rollback', 'shop', '2'),
    /release 5, which is release 2 again[\s\S]*release 5 is deployed/,
  );
  const releases = swarm.ok('releases', 'shop').trim().split('\n').slice(1);
  assert.deepEqual(
    releases.map(
      (line) =>
        line
          .replace(/ {2,}/g, ' ')
          .replace(/\d{4}-\S+ \S+ /, '')
          .split(':')[0],
    ),
    [
      '5 deployed 3 as release 2',
      '4 failed 3 service shop_site',
      '3 deployed 3',
      '2 deployed 3',
      '1 deployed 3',
    ],
  );

  swarm.ok('stack', 'rm', 'shop');
  assert.equal(swarm.docker('service', 'ls', '-q') + swarm.docker('secret', 'ls', '-q'), '');
  await eventually(() => swarm.docker('ps', '-aq') === '', 'no container is left');
});

test('drift is shown and taken back; a plan is done exactly, or refused when the world has moved', async () => {
  await using swarm = await OneNodeSwarm.start();
  swarm.write('compose.yaml', 'services: { web: { image: bb, command: sleep 1000, stop_grace_period: 0s } }');
  swarm.ok('plan', '--out', 'shop.plan', 'shop');
  assert.equal(statSync(join(swarm.daemon.directory, 'shop.plan')).mode & 0o777, 0o600);
  assert.match(swarm.ok('deploy', '--plan', 'shop.plan'), /release 1 is deployed/);
  const again = swarm.drover('deploy', '--plan', 'shop.plan');
  assert.equal(again.status, 1);
  assert.match(
    again.stderr,
    /the cluster has moved since the plan was made: release 1 was made, service shop_web/,
  );
  swarm.docker('service', 'scale', '--detach', 'shop_web=3');
  await eventually(
    () => swarm.docker('service', 'ls', '--format', '{{.Replicas}}') === '3/3',
    'three tasks run',
  );
  for (const flags of [['--drift'], []]) {
    const drift = swarm.ok('plan', ...flags, 'shop');
    assert.match(drift, /Replicas +3 → 1 +\(changed in the cluster since release 1\)/);
    assert.match(drift, /ends 2 tasks/);
  }
  assert.match(swarm.ok('deploy', 'shop'), /what differs from it is brought back/);
  // what is too many is still being ended when the release is deployed
  await eventually(
    () => swarm.docker('service', 'ls', '--format', '{{.Replicas}}') === '1/1',
    'one task is left',
  );
});
