import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type DaemonOptions, parseCommand } from './daemon-options.ts';

/** An empty configuration file of the test's own, so that the machine's does not matter. */
function withConfig<T>(text: string, work: (flags: string[]) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'drover-options-'));
  try {
    const file = join(directory, 'daemon.json');
    writeFileSync(file, text);
    return work(['--config-file', file]);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function options(argv: string[], config = ''): DaemonOptions {
  const command = withConfig(config, (flags) => parseCommand([...argv, ...flags]));
  assert.ok(command.kind === 'run');
  return command.options;
}

test('defaults', () => {
  assert.deepEqual(options([]), {
    dataRoot: '/var/lib/drover',
    execRoot: '/run/drover',
    pidfile: '/run/drover/drover.pid',
    sockets: ['/var/run/drover.sock'],
    logLevel: 'info',
    bridge: 'drover0',
    bip: undefined,
    defaultAddressPools: [],
    dns: [],
    group: 'docker',
    groupAsked: false,
    runtime: undefined,
    cgroupParent: undefined,
    defaultUlimits: [],
    labels: [],
    registryMirrors: [],
    insecureRegistries: [],
    genericResources: [],
    registryAddress: undefined,
    registryConfig: undefined,
  });
});

test('a cgroup parent is a path below the root', () => {
  assert.equal(options(['--cgroup-parent', '/a/b.slice']).cgroupParent, '/a/b.slice');
  assert.equal(options([], '{"cgroup-parent": "/a"}').cgroupParent, '/a');
  for (const wrong of ['a', '/', '/a/', '/a/../b', '/..'])
    assert.throws(() => options(['--cgroup-parent', wrong]), /not a cgroup's path/, wrong);
});

test('registries', () => {
  const read = options([
    ...['--registry-mirror', 'https://mirror.example', '--insecure-registry', '10.0.0.0/8'],
    ...['--registry-addr', '127.0.0.1:5000'],
  ]);
  assert.deepEqual(
    [read.registryMirrors, read.insecureRegistries, read.registryAddress],
    [['https://mirror.example'], ['10.0.0.0/8'], '127.0.0.1:5000'],
  );
  assert.throws(() => options(['--registry-mirror', 'mirror']), /not a URL/);
});

test('flags', () => {
  const read = options([
    '-H=unix:///a.sock',
    '--host',
    '/b.sock',
    '--exec-root=/x',
    '-D',
    '--bip=10.1.0.1/24',
    '--default-address-pool=base=10.2.0.0/16,size=24',
    '--default-ulimit=nofile=10:20',
    '--default-ulimit=core=0',
    '--label=a=b',
    '--node-generic-resource=SSD=3',
  ]);
  assert.deepEqual(read.sockets, ['/b.sock', '/a.sock'].reverse());
  assert.equal(read.pidfile, '/x/drover.pid');
  assert.equal(read.logLevel, 'debug');
  assert.equal(read.bip, '10.1.0.1/24');
  assert.deepEqual(read.defaultAddressPools, [{ base: '10.2.0.0/16', size: 24 }]);
  assert.deepEqual(read.defaultUlimits, [
    { Name: 'nofile', Soft: 10, Hard: 20 },
    { Name: 'core', Soft: 0, Hard: 0 },
  ]);
  assert.deepEqual(read.genericResources, [{ DiscreteResourceSpec: { Kind: 'SSD', Value: 3 } }]);
});

test('what is wrong is named', () => {
  for (const [flag, message] of [
    ['--colour=red', /--colour/],
    ['extra', /extra/],
    ['-H=tcp://0.0.0.0:2375', /tcp:\/\/0\.0\.0\.0:2375.*not there yet/],
    ['-H=relative.sock', /host relative.sock/],
    [`-H=unix:///${'a'.repeat(120)}`, /107 bytes/],
    ['--log-level=loud', /log-level loud/],
    ['--bip=10.0.0.1', /bip 10.0.0.1/],
    ['--dns=resolver', /dns resolver/],
    ['--bridge=a/b', /bridge a\/b/],
    ['--data-root=here', /data-root here/],
    ['--default-runtime=kata', /default-runtime kata/],
    ['--default-address-pool=10.0.0.0/8', /default-address-pool/],
    ['--label=a', /label a/],
    ['--node-generic-resource=GPU', /node-generic-resource GPU/],
  ] as const) {
    assert.throws(() => options([flag]), message);
  }
});

test('the configuration file', () => {
  const read = options(
    [],
    '{"data-root": "/d", "hosts": ["unix:///h.sock"], "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}}}',
  );
  assert.equal(read.dataRoot, '/d');
  assert.deepEqual(read.sockets, ['/h.sock']);
  assert.deepEqual(read.defaultUlimits, [{ Name: 'nofile', Soft: 1, Hard: 2 }]);
  assert.throws(() => options([], '{"colour": "red", "iptables": false}'), /option: colour, iptables/);
  assert.throws(() => options([], '{"dns": "1.1.1.1"}'), /dns: /);
  assert.throws(() => options([], '{'), /unable to configure the daemon/);
  assert.throws(
    () => options(['--bridge=a'], '{"bridge": "b"}'),
    /bridge: \(from flag: "a", from file: "b"\)/,
  );
  assert.throws(() => parseCommand(['--config-file', '/nonexistent/daemon.json']), /ENOENT/);
});

test('help and version come before everything else', () => {
  assert.deepEqual(parseCommand(['--help']), { kind: 'help' });
  assert.deepEqual(parseCommand(['-v']), { kind: 'version' });
});
