import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DockerHost, eventually } from '../support/docker-host.ts';

const host = await DockerHost.open();
after(async () => {
  host.docker('swarm', 'leave', '--force');
  await host[Symbol.asyncDispose]();
});

/** Makes a service that clients ask no registry about. */
function create(name: string, ...rest: string[]): void {
  host.ok('service', 'create', '--detach', '--quiet', '--no-resolve-image', '--name', name, ...rest);
}

function json(...argv: string[]): unknown {
  return JSON.parse(host.ok(...argv));
}

test('without a swarm there is nothing to ask', () => {
  const nowhere =
    /This node is not a swarm manager\. Use "docker swarm init" or "docker swarm join" to connect this node to swarm/;
  for (const kind of ['node', 'service', 'secret', 'config', 'stack']) host.fails(1, nowhere, kind, 'ls');
  host.fails(1, /This node is not part of a swarm/, 'swarm', 'leave');
  assert.equal(host.ok('info', '--format', '{{.Swarm.LocalNodeState}}'), 'inactive');
  const init = ['swarm', 'init', '--advertise-addr', '127.0.0.1'];
  host.fails(1, /Datapath port number is not in valid range/, ...init, '--data-path-port', '80');
});

test('a swarm of one node', () => {
  const made = host.ok('swarm', 'init', '--advertise-addr', '127.0.0.1');
  assert.match(made, /^Swarm initialized: current node \([0-9a-z]{25}\) is now a manager\.\n/);
  assert.match(made, /docker swarm join --token SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25} 127\.0\.0\.1:2377/);
  host.fails(1, /This node is already part of a swarm/, 'swarm', 'init');
  host.fails(1, /Removing the last manager erases all current state of the swarm/, 'swarm', 'leave');
  host.fails(1, /no unlock key is set/, 'swarm', 'unlock-key');
  host.fails(1, /cannot rotate because autolock is not turned on/, 'swarm', 'unlock-key', '--rotate');
  host.fails(1, /minimum certificate expiry time is/, 'swarm', 'update', '--cert-expiry', '30m');
  host.ok('swarm', 'update', '--task-history-limit', '3', '--dispatcher-heartbeat', '7s');
  assert.deepEqual(json('info', '--format', '{{json .Swarm.Cluster.Spec}}'), {
    ...{ Name: 'default', Labels: {}, Orchestration: { TaskHistoryRetentionLimit: 3 } },
    Raft: {
      ...{ SnapshotInterval: 10_000, KeepOldSnapshots: 0, LogEntriesForSlowFollowers: 500 },
      ...{ ElectionTick: 10, HeartbeatTick: 1 },
    },
    ...{ Dispatcher: { HeartbeatPeriod: 7e9 }, CAConfig: { NodeCertExpiry: 7_776_000e9 }, TaskDefaults: {} },
    EncryptionConfig: { AutoLockManagers: false },
  });
  const spec = { Labels: {}, Role: 'manager', Availability: 'active' };
  assert.deepEqual(json('node', 'inspect', 'self', '--format', '{{json .Spec}}'), spec);
  const self = host.ok('node', 'ls', '-q');
  host.fails(1, /attempting to demote the last manager of the swarm/, 'node', 'demote', self);
  host.fails(1, /key a doesn't exist in node's labels/, 'node', 'update', '--label-rm', 'a', self);
  host.fails(1, /invalid Availability: "odd"/, 'node', 'update', '--availability', 'odd', self);
  host.fails(1, /Invalid role filter: 'odd'/, 'node', 'ls', '--filter', 'role=odd');
});

test('a service as inspect shows it', async () => {
  create('web', '--label', 'a=b', 'bb', 'sleep', '1000');
  const updates = {
    ...{ Parallelism: 1, FailureAction: 'pause', Monitor: 5e9, MaxFailureRatio: 0, Order: 'stop-first' },
  };
  assert.deepEqual(json('service', 'inspect', 'web', '--format', '{{json .Spec}}'), {
    Name: 'web',
    Labels: { a: 'b' },
    TaskTemplate: {
      ContainerSpec: {
        ...{ Image: 'bb:latest', Args: ['sleep', '1000'], Init: false, StopGracePeriod: 1e10 },
        ...{ DNSConfig: {}, Isolation: 'default' },
      },
      Resources: { Limits: {}, Reservations: {} },
      RestartPolicy: { Condition: 'any', Delay: 5e9, MaxAttempts: 0 },
      ...{ Placement: {}, ForceUpdate: 0, Runtime: 'container' },
    },
    Mode: { Replicated: { Replicas: 1 } },
    ...{ UpdateConfig: updates, RollbackConfig: updates, EndpointSpec: { Mode: 'vip' } },
  });
  const columns = '{{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}|{{.Ports}}';
  const row = (): string => host.ok('service', 'ls', '--format', columns);
  await eventually(() => row() === 'web replicated 1/1 bb:latest|', 'it runs');
  const task = '{{.Name}} {{.DesiredState}} {{.Error}}';
  assert.equal(host.ok('service', 'ps', 'web', '--format', task), 'web.1 Running');
  host.fails(
    1,
    /name conflicts with an existing object: service web already exists/,
    'service',
    'create',
    '--detach',
    '--no-resolve-image',
    '--name',
    'web',
    'bb',
  );
  host.fails(1, /service \w+ does not have a previous spec/, 'service', 'rollback', '--detach', 'web');
  host.fails(1, /secret not found: nope/, 'service', 'update', '--secret-add', 'nope', 'web');
  host.ok('service', 'rm', 'web');
});

test('what cannot be, in the same words', () => {
  const cases: [RegExp, ...string[]][] = [
    [/name must be valid as a DNS name component/, '--name', 'a b', 'bb'],
    [/name must be 63 characters or fewer/, '--name', 'a'.repeat(64), 'bb'],
    [/ContainerSpec: image reference must be provided/, ''],
    [/ContainerSpec: "BUSY" is not a valid repository\/tag/, 'BUSY'],
    [/invalid cpu value 0.0001: Must be at least 0.001/, '--limit-cpu', '0.0001', 'bb'],
    [/invalid memory value 1048576: Must be at least 4MiB/, '--reserve-memory', '1m', 'bb'],
    [/constraint expected one operator from ==, !=/, '--constraint', 'foo', 'bb'],
    [/duplicate published ports provided/, '-p', '80:80', '-p', '80:81', 'bb'],
    [
      /EndpointSpec: port published with ingress mode can't be used with dnsrr mode/,
      '-p',
      '80:80',
      '--endpoint-mode',
      'dnsrr',
      'bb',
    ],
    [/daemon: invalid resolution mode: "foo"/, '--endpoint-mode', 'foo', 'bb'],
    [/daemon: invalid RestartCondition: "foo"/, '--restart-condition', 'foo', 'bb'],
    [/TaskSpec: restart-delay cannot be negative/, '--restart-delay', '-1s', 'bb'],
    [/daemon: unrecognized update order foo/, '--update-order', 'foo', 'bb'],
    [/daemon: unrecognized update failure action foo/, '--update-failure-action', 'foo', 'bb'],
    [
      /update-maxfailureratio cannot be less than 0 or bigger than 1/,
      '--update-max-failure-ratio',
      '2',
      'bb',
    ],
    [/TaskSpec: update-monitor cannot be negative/, '--update-monitor', '-1s', 'bb'],
    [
      /Interval in HealthConfig cannot be less than 1ms/,
      '--health-cmd',
      'x',
      '--health-interval',
      '1ns',
      'bb',
    ],
    [/daemon: invalid MountType: "foo"/, '--mount', 'type=foo,target=/x', 'bb'],
    [
      /duplicate mount point: \/x/,
      '--mount',
      'type=tmpfs,target=/x',
      '--mount',
      'type=tmpfs,target=/x',
      'bb',
    ],
    [/network nope not found/, '--network', 'nope', 'bb'],
    [/secret not found: nope/, '--secret', 'nope', 'bb'],
    [/config not found: nope/, '--config', 'nope', 'bb'],
  ];
  const base = ['service', 'create', '--detach', '--no-resolve-image'];
  for (const [message, ...argv] of cases) host.fails(1, message, ...base, ...argv);
  assert.equal(host.ok('service', 'ls', '-q'), '');
});

test('secrets and configs', () => {
  const file = join(host.directory, 'content');
  writeFileSync(file, 'hello');
  host.ok('secret', 'create', '--label', 'a=b', 'key', file);
  host.ok('config', 'create', 'conf', file);
  const secret = json('secret', 'inspect', 'key', '--format', '{{json .Spec}}');
  assert.deepEqual(secret, { Name: 'key', Labels: { a: 'b' } });
  const config = json('config', 'inspect', 'conf', '--format', '{{json .Spec}}');
  assert.deepEqual(config, { Name: 'conf', Labels: {}, Data: 'aGVsbG8=' });
  host.fails(1, /secret key already exists/, 'secret', 'create', 'key', file);
  host.fails(1, /config conf already exists/, 'config', 'create', 'conf', file);
  host.fails(
    1,
    /invalid name, only 64 \[a-zA-Z0-9-_\.\] characters allowed/,
    'config',
    'create',
    'a b',
    file,
  );
  create('user', '--secret', 'key', '--config', 'conf', 'bb', 'sleep', '1000');
  host.fails(1, /secret 'key' is in use by the following service: user/, 'secret', 'rm', 'key');
  host.fails(1, /config 'conf' is in use by the following service: user/, 'config', 'rm', 'conf');
  host.ok('service', 'rm', 'user');
  host.ok('secret', 'rm', 'key');
  host.ok('config', 'rm', 'conf');
  for (const kind of ['service', 'secret', 'config', 'node', 'network'])
    host.fails(1, new RegExp(`${kind} nope not found`), kind, 'rm', 'nope');
});

test('a job counts as Docker’s CLI waits for it', () => {
  const flags = [
    '--mode',
    'replicated-job',
    '--replicas',
    '3',
    '--max-concurrent',
    '2',
    '--no-resolve-image',
  ];
  assert.match(host.ok('service', 'create', '--name', 'job', ...flags, 'bb', 'true'), /job complete$/);
  assert.match(host.ok('service', 'scale', 'job=2'), /job complete$/);
  const iteration = '{{.JobStatus.JobIteration.Index}}';
  assert.equal(host.ok('service', 'inspect', 'job', '--format', iteration), '1');
  const replicas = host.ok('service', 'ls', '--filter', 'name=job', '--format', '{{.Replicas}}');
  assert.match(replicas, /^0\/2 \(2\/2 completed\)$/);
  host.ok('service', 'rm', 'job');
});
