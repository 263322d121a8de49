import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  addAddress,
  attachToNamespace,
  createBridge,
  deleteLink,
  listLinks,
  setLinkUp,
} from '#linux/links.ts';
import { createNetworkNamespace, removeNetworkNamespace } from '#linux/network-namespace.ts';
import { eventually, hostOfFile, RunningCommand } from '../support/docker-host.ts';
import { differs } from './known-differences.ts';

const host = await hostOfFile();

const SLEEP = ['sleep', '1000'];
/** Answers every connection with the container's host name and what it was called from. */
const ANSWER = ['sh', '-c', 'while :; do nc -l -p 80 -e sh -c "hostname; exec netstat -tn"; done'];

/** What a TCP server says before it closes. */
async function ask(port: number, address = '127.0.0.1'): Promise<string> {
  const socket = connect({ port, host: address });
  let text = '';
  socket.on('data', (chunk) => {
    text += String(chunk);
  });
  await once(socket, 'close');
  return text;
}

function closing<T extends { close(): unknown }>(value: T): Disposable & { value: T } {
  return { value, [Symbol.dispose]: () => void value.close() };
}

/** Retries while nothing listens yet. */
async function asked(port: number, address = '127.0.0.1'): Promise<string> {
  let answer = '';
  await eventually(async () => {
    answer = await ask(port, address).catch(() => '');
    return answer !== '';
  }, `an answer from ${address}:${port}`);
  return answer;
}

async function refused(port: number, address = '127.0.0.1'): Promise<boolean> {
  return await ask(port, address).then(
    (text) => text === '',
    () => true,
  );
}

function publicPort(container: string, port: string): number {
  return Number(/:(\d+)$/m.exec(host.ok('port', container, port))?.[1]);
}

const ADDRESS = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';

test('containers on the default bridge have an address, a gateway, a name server, and reach each other', () => {
  const one = host.runDetached(['-h', 'one'], ...SLEEP);
  const address = host.inspect(one, ADDRESS);
  assert.match(host.ok('exec', one, 'ip', '-4', 'addr', 'show', 'eth0'), new RegExp(`inet ${address}/`));
  const gateway = host.inspect(one, '{{.NetworkSettings.Networks.bridge.Gateway}}');
  assert.match(host.ok('exec', one, 'ip', 'route'), new RegExp(`default via ${gateway} dev eth0`));
  assert.match(
    host.ok('exec', one, 'cat', '/etc/hosts'),
    new RegExp(`^127\\.0\\.0\\.1\\s+localhost$[^]*^${address}\\s+one$`, 'm'),
  );
  assert.equal(host.ok('exec', one, 'hostname'), 'one');
  assert.match(host.ok('exec', one, 'cat', '/etc/resolv.conf'), /^nameserver /m);
  host.ok('run', '--rm', 'bb', 'ping', '-c', '1', '-W', '5', address);
  // Names are for user-defined networks.
  assert.notEqual(
    host.docker('run', '--rm', '--dns', '127.0.0.1', 'bb', 'ping', '-c', '1', '-W', '1', 'one').status,
    0,
  );
});

test('a published port answers on the host, from another container and from itself', async () => {
  const id = host.runDetached(['-h', 'web', '-p', '18080:80'], ...ANSWER);
  assert.match(await asked(18080), /^web\n/);
  const gateway = host.inspect(id, '{{.NetworkSettings.Networks.bridge.Gateway}}');
  assert.match(host.ok('run', '--rm', 'bb', 'nc', gateway, '18080'), /^web\n/);
  assert.match(host.ok('exec', id, 'nc', gateway, '18080'), /^web\n/);
  assert.match(host.ok('port', id), /^80\/tcp -> 0\.0\.0\.0:18080$/m);
  host.ok('rm', '-f', id);
  assert.ok(await refused(18080));
});

test('published ports: an address of the host, ephemeral, ranges, several, all', async () => {
  const local = host.runDetached(['-p', '127.0.0.1:18081:80'], ...ANSWER);
  assert.equal(host.ok('port', local), '80/tcp -> 127.0.0.1:18081');
  assert.notEqual(await asked(18081), '');
  const ephemeral = host.runDetached(['-p', '80', '-p', '127.0.0.1::80'], ...ANSWER);
  const port = publicPort(ephemeral, '80');
  assert.ok(port >= 32768, String(port));
  assert.notEqual(await asked(port), '');
  const ranged = host.runDetached(['-p', '18090-18095:80'], ...SLEEP);
  const next = host.runDetached(['-p', '18090-18095:80'], ...SLEEP);
  assert.deepEqual([publicPort(ranged, '80'), publicPort(next, '80')], [18090, 18091]);
  const many = host.runDetached(['-p', '18100-18102:80-82'], ...SLEEP);
  assert.equal(publicPort(many, '82'), 18102);
  const all = host.runDetached(['-P', '--expose', '80', '--expose', '81/udp'], ...SLEEP);
  assert.match(host.ok('port', all), /^80\/tcp -> [\s\S]*^81\/udp -> /m);
});

/** Answers each datagram with where it came from; busybox has no server for UDP. */
const UDP_ECHO = `
  const socket = require('node:dgram').createSocket('udp4');
  socket.on('message', (_, from) => socket.send('from ' + from.address, from.port, from.address));
  socket.bind(53, () => console.log('ready'));
`;

test('UDP is published as well, and answers find their way back', async () => {
  const id = host.runDetached(['-p', '18110:53/udp'], ...SLEEP);
  const namespace = `--net=/proc/${host.inspect(id, '{{.State.Pid}}')}/ns/net`;
  const server = new RunningCommand(spawn('nsenter', [namespace, process.execPath, '-e', UDP_ECHO]));
  try {
    await server.prints(/ready/);
    using socket = closing(createSocket('udp4'));
    const answer = once(socket.value, 'message');
    socket.value.send('ping', 18110, '127.0.0.1');
    assert.match(String((await answer)[0]), /^from \d+/);
  } finally {
    server.process.kill();
    await server.end();
  }
});

test('a port that is taken is refused, by a container or by the host, and the container can be started later', async () => {
  host.runDetached(['--name', 'first', '-p', '18120:80'], ...SLEEP);
  host.fails(
    125,
    /port is already allocated/,
    'run',
    '-d',
    '--name',
    'second',
    '-p',
    '18120:80',
    'bb',
    ...SLEEP,
  );
  assert.equal(host.inspect('second', '{{.State.Status}}'), 'created');
  host.ok('rm', '-f', 'first');
  host.ok('start', 'second');
  using server = closing(createServer());
  server.value.listen(18121, '127.0.0.1');
  await once(server.value, 'listening');
  host.fails(125, /already in use|already allocated/, 'run', '-d', '-p', '18121:80', 'bb', ...SLEEP);
});

test('a published port is reached from outside, and the server sees who called', async () => {
  const outside = join(host.directory, 'outside');
  createNetworkNamespace(outside);
  createBridge({ name: 'dvout' });
  try {
    setLinkUp('dvout');
    addAddress({ link: 'dvout', address: '10.200.77.1/24' });
    attachToNamespace({
      ...{ namespacePath: outside, bridge: 'dvout', hostName: 'dvout0', interfaceName: 'eth0' },
      ...{ mac: '02:00:0a:c8:4d:02', addresses: ['10.200.77.2/24'], gateway: '10.200.77.1' },
    });
    host.runDetached(['-h', 'web', '-p', '18130:80'], ...ANSWER);
    await asked(18130);
    const call = [`--net=${outside}`, 'busybox', 'nc', '10.200.77.1', '18130'];
    let answer = '';
    // Between two calls nothing listens for a moment.
    await eventually(() => {
      answer = spawnSync('nsenter', call, { encoding: 'utf8' }).stdout;
      return answer !== '';
    }, 'an answer to a call from outside');
    assert.match(answer, /^web\n/);
    assert.match(answer, /10\.200\.77\.2:/);
    // And the other way: what a container sends outside comes from the host.
    host.ok('run', '--rm', 'bb', 'ping', '-c', '1', '-W', '5', '10.200.77.2');
  } finally {
    removeNetworkNamespace(outside);
    deleteLink('dvout');
  }
});

test('none has a loopback only, host is the host’s own, container:ID is another’s', () => {
  assert.equal(
    host.ok('run', '--rm', '--network', 'none', 'bb', 'ls', '/sys/class/net').split(/\s+/).includes('eth0'),
    false,
  );
  assert.equal(
    host.ok('run', '--rm', '--network', 'host', 'bb', 'readlink', '/proc/self/ns/net'),
    readlinkSync('/proc/self/ns/net'),
  );
  assert.equal(host.ok('run', '--rm', '--network', 'host', 'bb', 'hostname'), hostname());
  const id = host.runDetached(['-h', 'owner'], ...SLEEP);
  assert.equal(
    host.ok(
      'run',
      '--rm',
      '--network',
      `container:${id}`,
      'bb',
      'sh',
      '-c',
      'hostname; ip -4 -o addr show eth0 | grep -o "inet [0-9.]*"',
    ),
    `owner\ninet ${host.inspect(id, ADDRESS)}`,
  );
  host.fails(
    125,
    /conflicting options|cannot/i,
    'run',
    '--rm',
    '--network',
    `container:${id}`,
    '-p',
    '80:80',
    'bb',
    'true',
  );
  host.fails(125, /nosuch/, 'run', '--rm', '--network', 'container:nosuch', 'bb', 'true');
});

test('user-defined networks: names and aliases are found while their containers run', async () => {
  host.ok('network', 'create', 'front');
  host.runDetached(['--name', 'db', '--network', 'front', '--network-alias', 'store'], ...SLEEP);
  const id = host.runDetached(['--name', 'app', '--network', 'front'], ...SLEEP);
  const finds = (name: string): boolean =>
    host.docker('exec', 'app', 'ping', '-c', '1', '-W', '2', name).status === 0;
  for (const name of ['db', 'store', 'app', host.inspect('db', '{{.Id}}').slice(0, 12)])
    assert.ok(finds(name), name);
  assert.equal(finds('nosuch'), false);
  host.ok('stop', '-t', '0', 'db');
  assert.equal(host.docker('exec', id, 'nslookup', 'db').status, 1);
  host.ok('start', 'db');
  assert.ok(finds('db'));
  host.ok('rename', 'db', 'base');
  assert.ok(finds('base'));
  // The reverse: an address has a name.
  assert.match(host.ok('exec', id, 'nslookup', host.inspect('base', ADDRESS)), /base\.front/);
  host.runDetached(['--name', 'db2', '--network', 'front', '--network-alias', 'store'], ...SLEEP);
  assert.equal(
    host
      .ok('exec', id, 'nslookup', 'store')
      .match(/^Address.*: \d.*$/gm)
      ?.filter((line) => !line.includes('127.0.0.11') && !line.includes(':53')).length,
    2,
  );
});

test('a gateway keeps its MAC address while containers come and go, so that nobody loses it', () => {
  const bridge = `br-${host.ok('network', 'create', 'steady').slice(0, 12)}`;
  const mac = (): string | undefined => listLinks().find(({ name }) => name === bridge)?.mac;
  const first = mac();
  // A bridge without an address of its own takes the lowest of its ports: one of several is lower than any.
  const ids = Array.from({ length: 4 }, () => {
    const id = host.runDetached(['--network', 'steady'], ...SLEEP);
    assert.equal(mac(), first);
    return id;
  });
  host.ok('rm', '-f', ...ids);
  assert.equal(mac(), first);
});

test('networks are kept apart, connected and left while running', async () => {
  host.ok('network', 'create', 'left');
  host.ok('network', 'create', 'right');
  host.runDetached(['--name', 'aa', '--network', 'left'], ...SLEEP);
  host.runDetached(['--name', 'bb', '--network', 'right'], ...SLEEP);
  const finds = (name: string): boolean =>
    host.docker('exec', 'aa', 'ping', '-c', '1', '-W', '1', name).status === 0;
  const address = host.inspect('bb', ADDRESS);
  assert.equal(finds(address), false);
  host.ok('network', 'connect', '--alias', 'bee', 'left', 'bb');
  assert.ok(finds('bb') && finds('bee'));
  assert.equal(host.inspect('bb', '{{len .NetworkSettings.Networks}}'), '2');
  host.ok('network', 'disconnect', 'left', 'bb');
  assert.equal(finds('bb'), false);
  host.fails(1, /is not connected to/, 'network', 'disconnect', 'left', 'bb');
  host.ok('network', 'disconnect', '-f', 'left', 'aa');
  assert.equal(host.ok('exec', 'aa', 'ls', '/sys/class/net').includes('eth0'), false);
});

test('subnets, fixed addresses, hosts, name servers are as asked', () => {
  host.ok(
    'network',
    'create',
    '--subnet',
    '10.77.0.0/24',
    '--gateway',
    '10.77.0.254',
    '--ip-range',
    '10.77.0.128/25',
    '--label',
    'k=v',
    'planned',
  );
  const id = host.runDetached(
    [
      '--network',
      'planned',
      '--add-host',
      'fixed:1.2.3.4',
      '--dns',
      '9.9.9.9',
      '--dns-search',
      'example.org',
    ],
    ...SLEEP,
  );
  assert.match(host.inspect(id, ADDRESS), /^10\.77\.0\.(12[89]|1[3-9]\d|2\d\d)$/);
  assert.equal(host.inspect(id, '{{.NetworkSettings.Networks.planned.Gateway}}'), '10.77.0.254');
  assert.match(host.ok('exec', id, 'cat', '/etc/hosts'), /^1\.2\.3\.4\s+fixed$/m);
  assert.match(host.ok('exec', id, 'cat', '/etc/resolv.conf'), /^search example\.org$/m);
  const fixed = host.runDetached(['--network', 'planned', '--ip', '10.77.0.77'], ...SLEEP);
  assert.equal(host.inspect(fixed, ADDRESS), '10.77.0.77');
  host.fails(
    125,
    /[Aa]ddress already in use/,
    'run',
    '-d',
    '--network',
    'planned',
    '--ip',
    '10.77.0.77',
    'bb',
    ...SLEEP,
  );
  host.fails(1, /overlaps/, 'network', 'create', '--subnet', '10.77.0.0/16', 'over');
  host.fails(1, /invalid|not a valid/i, 'network', 'create', '--subnet', '10.77.0.0/33', 'over');
  assert.equal(
    host.ok(
      'network',
      'inspect',
      '-f',
      '{{(index .IPAM.Config 0).Subnet}} {{.Labels.k}} {{.Driver}} {{.Scope}} {{len .Containers}}',
      'planned',
    ),
    '10.77.0.0/24 v bridge local 2',
  );
});

test('a MAC address is as asked', differs('mac-address'), () => {
  const mac = '02:42:0a:4d:00:99';
  const id = host.runDetached(['--mac-address', mac], ...SLEEP);
  assert.equal(host.ok('exec', id, 'cat', '/sys/class/net/eth0/address'), mac);
});

test('an internal network leads nowhere else', () => {
  host.ok('network', 'create', '--internal', 'inside');
  host.runDetached(['--name', 'peer', '--network', 'inside'], ...SLEEP);
  const id = host.runDetached(['--network', 'inside'], ...SLEEP);
  host.ok('exec', id, 'ping', '-c', '1', '-W', '2', 'peer');
  assert.notEqual(host.docker('exec', id, 'ping', '-c', '1', '-W', '1', '10.200.78.1').status, 0);
});

test('networks are listed, filtered, refused while used, removed, pruned', () => {
  assert.deepEqual(host.ok('network', 'ls', '--format', '{{.Name}} {{.Driver}}').split('\n').sort(), [
    'bridge bridge',
    'host host',
    'none null',
  ]);
  host.ok('network', 'create', '--label', 'a', 'mine');
  host.fails(1, /already exists/, 'network', 'create', 'mine');
  assert.equal(host.ok('network', 'ls', '--filter', 'label=a', '--format', '{{.Name}}'), 'mine');
  assert.equal(
    host.ok('network', 'ls', '--filter', 'name=min', '--filter', 'driver=bridge', '--format', '{{.Name}}'),
    'mine',
  );
  assert.equal(host.ok('network', 'ls', '--filter', 'type=custom', '--format', '{{.Name}}'), 'mine');
  host.runDetached(['--name', 'user', '--network', 'mine'], ...SLEEP);
  host.fails(1, /has active endpoints/, 'network', 'rm', 'mine');
  host.ok('rm', '-f', 'user');
  host.ok('network', 'rm', 'mine');
  host.fails(1, /not found|[Nn]o such network/, 'network', 'rm', 'mine');
  host.fails(1, /pre-defined|cannot be removed/, 'network', 'rm', 'bridge');
  host.fails(1, /nosuch/, 'network', 'create', '-d', 'nosuch', 'x1');
  host.ok('network', 'create', 'unused');
  assert.match(host.ok('network', 'prune', '-f'), /unused/);
});

test('a network that is not there is said so', () => {
  host.fails(125, /network nosuch not found/, 'run', '--rm', '--network', 'nosuch', 'bb', 'true');
});

test('addresses and names come back after a restart', () => {
  host.ok('network', 'create', 'again');
  host.runDetached(['--name', 'one', '--network', 'again'], ...SLEEP);
  host.runDetached(['--name', 'two', '--network', 'again', '-p', '18140:80'], ...SLEEP);
  host.ok('restart', '-t', '0', 'two');
  host.ok('exec', 'one', 'ping', '-c', '1', '-W', '2', 'two');
  assert.equal(publicPort('two', '80'), 18140);
});
