import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { ApiDaemon, DROVER } from '../support/api-daemon.ts';

const BUSYBOX = join(import.meta.dirname, '..', '..', '.cache', 'busybox.tar');
let daemon: ApiDaemon;

before(async () => {
  daemon = await ApiDaemon.start({ bridge: 'dvk0', bip: '10.215.0.1/24' });
  assert.equal(drover('import', BUSYBOX, 'bb').status, 0);
});

after(async () => {
  await daemon[Symbol.asyncDispose]();
});

beforeEach(() => {
  writeFileSync(file(), SHOP);
  const { status, stdout, stderr } = drover('down', '-f', file(), '-v', '-t', '0', '--remove-orphans');
  assert.deepEqual([status, stdout], [0, ''], stderr);
});

function file(): string {
  return join(daemon.directory, 'compose.yaml');
}

function drover(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(DROVER, ['-H', `unix://${daemon.socket}`, ...args], { encoding: 'utf8', timeout: 60_000 });
}

/** Writes the project's file and brings it up; gives what was printed about each container. */
function up(text: string, ...flags: string[]): string {
  writeFileSync(file(), text);
  const { status, stderr } = drover('up', '-f', file(), '-d', ...flags);
  assert.equal(status, 0, stderr);
  return stderr;
}

const SHOP = `
name: shop
services:
  web:
    image: bb
    command: sh -c "while true; do nc -l -p 80 -e hostname; done"
    deploy: { replicas: 2 }
    stop_signal: KILL
    ports: ["18085-18086:80"]
    depends_on: { db: { condition: service_healthy } }
  db:
    image: bb
    command: sh -c "sleep 0.1; touch /data/ready; exec sleep 1000"
    volumes: ["data:/data"]
    environment: { WHO: "\${WHO:-nobody}" }
    healthcheck: { test: test -e /data/ready, interval: 100ms }
    stop_signal: KILL
volumes: { data: }
`;

test('up makes networks, volumes and containers in order, with the names and labels of Compose', () => {
  const printed = up(SHOP);
  assert.ok(printed.indexOf('shop-db-1  Started') < printed.indexOf('shop-web-1  Started'));
  const names = daemon.docker(
    'ps',
    '--filter',
    'label=com.docker.compose.project=shop',
    '--format',
    '{{.Names}}',
  ).stdout;
  assert.deepEqual(names.trim().split('\n').sort(), ['shop-db-1', 'shop-web-1', 'shop-web-2']);
  const label =
    '{{index .Config.Labels "com.docker.compose.service"}} {{index .Config.Labels "com.docker.compose.container-number"}}';
  assert.equal(daemon.docker('inspect', '-f', label, 'shop-web-2').stdout.trim(), 'web 2');
  assert.match(daemon.docker('network', 'ls', '--format', '{{.Name}}').stdout, /^shop_default$/m);
  assert.match(daemon.docker('volume', 'ls', '-q').stdout, /^shop_data$/m);
  assert.equal(daemon.docker('port', 'shop-web-2', '80').stdout.trim(), '0.0.0.0:18086');
  // One service finds the other by its name.
  assert.equal(daemon.docker('exec', 'shop-web-1', 'nslookup', 'db').status, 0);
  assert.equal(daemon.docker('exec', 'shop-db-1', 'sh', '-c', 'echo $WHO').stdout.trim(), 'nobody');
});

test('a second up changes nothing; a changed service is made anew, and only it', () => {
  up(SHOP);
  const ids = (): string[] =>
    daemon.docker('ps', '-q', '--no-trunc', '--filter', 'name=shop-').stdout.trim().split('\n').sort();
  const first = ids();
  assert.doesNotMatch(up(SHOP), /Created|Recreated|Started/);
  assert.deepEqual(ids(), first);
  const printed = up(SHOP.replace('18085-18086', '18085-18087'));
  assert.match(printed, /shop-web-1 {2}Recreated/);
  assert.match(printed, /shop-db-1 {2}Running/);
  assert.equal(ids().filter((id) => first.includes(id)).length, 1);
});

test('scale, ps and logs', () => {
  up(SHOP, '--scale', 'web=1');
  const listed: { Name: string; State: string }[] = JSON.parse(
    drover('ps', '-f', file(), '--format', 'json').stdout,
  );
  assert.deepEqual(
    listed.map(({ Name, State }) => `${Name} ${State}`),
    ['shop-db-1 running', 'shop-web-1 running'],
  );
  assert.match(
    drover('ps', '-f', file()).stdout,
    /^NAME +IMAGE +SERVICE +STATUS +PORTS\nshop-db-1 +bb +db +Up .*\(healthy\)/,
  );
  up('name: shop\nservices: {talk: {image: bb, command: [echo, hello there]}}', '--remove-orphans');
  daemon.docker('wait', 'shop-talk-1');
  assert.equal(drover('logs', '--file', file()).stdout, 'talk-1 | hello there\n');
  assert.equal(daemon.docker('ps', '-aq').stdout.trim().split('\n').length, 1);
});

test('a dependency that fails says which container, and what depends on it is not started', () => {
  writeFileSync(
    file(),
    SHOP.replace('test -e /data/ready', 'exit 1').replace('interval: 100ms', 'interval: 50ms, retries: 1'),
  );
  const { status, stderr } = drover('up', '-f', file(), '-d');
  assert.equal(status, 1);
  assert.match(stderr, /dependency failed to start: container shop-db-1 is unhealthy/);
  assert.equal(daemon.docker('inspect', '-f', '{{.State.Status}}', 'shop-web-1').stdout.trim(), 'created');
});

test('down removes containers and networks, with -v the volumes', () => {
  up(SHOP);
  assert.equal(drover('down', '-f', file(), '-t', '0').status, 0);
  assert.equal(daemon.docker('ps', '-a', '--format', '{{.Names}} {{.Status}}').stdout, '');
  assert.doesNotMatch(daemon.docker('network', 'ls').stdout, /shop/);
  assert.match(daemon.docker('volume', 'ls', '-q').stdout, /^shop_data$/m);
  assert.equal(drover('down', '-f', file(), '-v').status, 0);
  assert.equal(daemon.docker('volume', 'ls', '-q').stdout, '');
});

test('a file that is made for a cluster runs here too: secrets and configs are its files', () => {
  writeFileSync(join(daemon.directory, 'key'), 'sesame\n');
  up(`
name: shop
services:
  web:
    image: bb
    command: sh -c 'cat /run/secrets/key /etc/banner; sleep 1000'
    secrets: [key]
    configs: [{ source: banner, target: /etc/banner }]
    networks: [front]
    deploy: { mode: replicated, placement: { constraints: [node.role == worker] }, update_config: { order: start-first } }
networks: { front: { driver: overlay } }
secrets: { key: { file: ./key } }
configs: { banner: { file: ./key } }
`);
  assert.equal(
    daemon.docker('exec', 'shop-web-1', 'cat', '/run/secrets/key', '/etc/banner').stdout,
    'sesame\nsesame\n',
  );
  assert.equal(
    daemon.docker('network', 'inspect', '--format', '{{.Driver}}', 'shop_front').stdout.trim(),
    'bridge',
  );
});

test('errors are one line with what to do, and nothing was made', () => {
  writeFileSync(file(), 'name: shop\nservices: {web: {image: nosuch}}');
  const missing = drover('up', '-f', file(), '-d');
  assert.equal(missing.status, 1);
  assert.match(missing.stderr, /^error: service web: no such image: nosuch\nImport or load it first/);
  writeFileSync(file(), 'name: shop\nservices:\n  web:\n    build: .\n');
  assert.match(
    drover('up', '-f', file()).stderr,
    /compose\.yaml:3:3: services\.web: image is missing: .*\nSet image, and build it first/,
  );
  const nobody = spawnSync(DROVER, ['-H', 'unix:///nonexistent/d.sock', 'version'], { encoding: 'utf8' });
  assert.match(nobody.stderr, /Cannot connect to the daemon .* not running\nStart it with: drover daemon/);
});
