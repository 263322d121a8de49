import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { FIRST_NODE } from '#cluster/control/control-fixture.ts';
import type { TaskRecord } from '#model/task.ts';
import { ServedSwarm } from './served-swarm.ts';

const served = await ServedSwarm.start();
after(() => served[Symbol.asyncDispose]());
// a test that fails is not to make the next ones fail
afterEach(async () => {
  for (const { record } of served.swarm.control().services.list({}))
    await served.swarm.control().services.remove(record.ID);
});

async function inspect(kind: string, name: string, format: string): Promise<unknown> {
  return JSON.parse(await served.ok(kind, 'inspect', name, '--format', `{{json ${format}}}`));
}

test('info, nodes and tokens tell of the swarm', async () => {
  const format = '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}} {{.Swarm.Nodes}} {{.Swarm.Managers}}';
  assert.equal(await served.ok('info', '--format', format), 'active true 1 1');
  const columns = '{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}} {{.Self}}';
  assert.equal(await served.ok('node', 'ls', '--format', columns), 'one Ready Active Leader true');
  assert.equal(await served.ok('swarm', 'join-token', '-q', 'worker'), 'worker');
  await served.ok('swarm', 'join-token', '--rotate', 'worker');
  assert.match(await served.ok('swarm', 'join-token', '-q', 'worker'), /^token-/);
  await served.ok('swarm', 'update', '--task-history-limit', '2');
  const limit = '{{.Swarm.Cluster.Spec.Orchestration.TaskHistoryRetentionLimit}}';
  assert.equal(await served.ok('info', '--format', limit), '2');
  assert.match(await served.fails('swarm', 'init'), /This node is already part of a swarm/);
});

test('a node is labelled, drained, and not demoted when it is the last manager', async () => {
  await served.ok('node', 'update', '--label-add', 'zone=a', '--availability', 'drain', 'one');
  const spec = await inspect('node', 'self', '.Spec');
  assert.deepEqual(spec, { Labels: { zone: 'a' }, Role: 'manager', Availability: 'drain' });
  assert.match(await served.ok('node', 'inspect', '--pretty', 'self'), /Hostname:\s+one/);
  assert.deepEqual(await inspect('node', 'self', '.Status'), { State: 'ready', Addr: '10.0.0.1' });
  assert.equal(await served.ok('node', 'ls', '-q', '--filter', 'node.label=zone=a'), FIRST_NODE.ID);
  assert.match(await served.fails('node', 'demote', 'one'), /attempting to demote the last manager/);
  assert.match(
    await served.fails('node', 'rm', '--force', 'one'),
    /must be demoted to worker before removal/,
  );
  await served.ok('node', 'update', '--availability', 'active', 'one');
});

test('secrets and configs are made, listed, shown without what is secret, and removed', async () => {
  const file = join(served.directory, 'content');
  writeFileSync(file, 'hello\n');
  await served.ok('secret', 'create', '--label', 'a=b', 'key', file);
  await served.ok('config', 'create', 'conf', file);
  assert.equal(await served.ok('secret', 'ls', '--format', '{{.Name}}', '--filter', 'label=a'), 'key');
  assert.deepEqual(await inspect('secret', 'key', '.Spec'), { Name: 'key', Labels: { a: 'b' } });
  assert.deepEqual(await inspect('config', 'conf', '.Spec'), {
    Name: 'conf',
    Labels: {},
    Data: Buffer.from('hello\n').toString('base64'),
  });
  assert.match(await served.fails('secret', 'create', 'key', file), /secret key already exists/);
  assert.match(await served.fails('config', 'create', 'a b', file), /invalid name, only 64/);
  await served.ok('service', 'create', '-d', '--name', 'user', '--secret', 'key', '--config', 'conf', 'bb');
  assert.match(
    await served.fails('secret', 'rm', 'key'),
    /secret 'key' is in use by the following service: user/,
  );
  assert.deepEqual(
    await inspect('service', 'user', '(index .Spec.TaskTemplate.ContainerSpec.Secrets 0).File'),
    {
      Name: 'key',
      UID: '0',
      GID: '0',
      Mode: 0o444,
    },
  );
  await served.ok('service', 'rm', 'user');
  await served.ok('secret', 'rm', 'key');
  await served.ok('config', 'rm', 'conf');
});

test('overlay networks stand beside those of the host', async () => {
  const labels = ['--label', 'a=b', '--attachable', '--opt', 'encrypted', '--subnet', '10.77.0.0/24'];
  const id = await served.ok('network', 'create', '-d', 'overlay', ...labels, 'back');
  const columns = '{{.Name}} {{.Driver}} {{.Scope}}';
  assert.deepEqual((await served.ok('network', 'ls', '--format', columns)).split('\n').sort(), [
    'back overlay swarm',
    'bridge bridge local',
    'host host local',
    'ingress overlay swarm',
    'none null local',
  ]);
  assert.equal(
    await served.ok('network', 'ls', '-q', '--no-trunc', '--filter', 'scope=swarm', '--filter', 'label=a'),
    id,
  );
  const network = '{{.Id}} {{.Attachable}} {{.Ingress}} {{(index .IPAM.Config 0).Gateway}}';
  assert.equal(
    await served.ok('network', 'inspect', 'back', '--format', network),
    `${id} true false 10.77.0.1`,
  );
  assert.match(
    await served.fails('network', 'create', '-d', 'overlay', 'back'),
    /network with name back already exists/,
  );
  assert.match(await served.fails('network', 'create', 'back'), /network with name back already exists/);
  assert.match(
    await served.fails('network', 'create', '-d', 'overlay', '--ingress', 'more'),
    /is already present/,
  );
  await served.ok('service', 'create', '-d', '--name', 'on', '--network', 'name=back,alias=db', 'bb');
  assert.deepEqual(await inspect('service', 'on', '.Spec.TaskTemplate.Networks'), [
    { Target: id, Aliases: ['db'] },
  ]);
  assert.match(await served.fails('network', 'rm', 'back'), /network .* is in use by service/);
  await served.ok('service', 'rm', 'on');
  assert.equal(await served.ok('network', 'prune', '-f'), 'Deleted Networks:\nback');
  await served.ok('service', 'create', '-d', '--name', 'near', '--network', 'host', 'bb');
  assert.deepEqual(await inspect('service', 'near', '.Spec.TaskTemplate.Networks'), [{ Target: 'host' }]);
  await served.ok('service', 'rm', 'near');
  const local = await served.ok('network', 'create', 'local');
  served.swarm.localNetworks.set(local, 'local');
  const template = { ContainerSpec: { Image: 'bb' }, Networks: [{ Target: local }] };
  const { status, body } = await served.call('POST', '/services/create', { TaskTemplate: template });
  assert.equal(status, 403);
  assert.match(Object(body).message, /^network local cannot be used with services/);
  await served.ok('network', 'rm', 'local');
});

/** Everything that `docker service create` has a flag for and the cluster takes. */
const FLAGS = [
  ...['--replicas', '2', '--label', 'l=m', '--container-label', 'n=o', '--env', 'A=b', '--workdir', '/w'],
  ...['--publish', '8080:80', '--publish', 'mode=host,target=53,published=5353,protocol=udp'],
  ...['--constraint', 'node.role==worker', '--placement-pref', 'spread=node.labels.zone'],
  ...['--replicas-max-per-node', '1', '--limit-cpu', '1.5', '--limit-memory', '64m', '--limit-pids', '50'],
  ...['--reserve-memory', '16m', '--generic-resource', 'gpu=2'],
  ...['--restart-condition', 'on-failure', '--restart-delay', '2s', '--restart-max-attempts', '3'],
  ...[
    '--restart-window',
    '1m',
    '--update-parallelism',
    '2',
    '--update-delay',
    '1s',
    '--update-order',
    'start-first',
  ],
  ...['--update-failure-action', 'rollback', '--rollback-monitor', '10s', '--health-cmd', 'true'],
  ...[
    '--health-interval',
    '5s',
    '--mount',
    'type=volume,source=v,target=/v,readonly',
    '--mount',
    'type=tmpfs,target=/t',
  ],
  ...[
    '--stop-grace-period',
    '3s',
    '--stop-signal',
    'SIGINT',
    '--user',
    '1000',
    '--group',
    '100',
    '--hostname',
    'h',
  ],
  ...['--dns', '10.0.0.9', '--host', 'a:10.0.0.8', '--init', '--read-only', '--cap-add', 'NET_ADMIN'],
  ...[
    '--sysctl',
    'net.ipv4.ip_forward=1',
    '--ulimit',
    'nofile=10:20',
    '--log-driver',
    'json-file',
    '--oom-score-adj',
    '5',
  ],
];

test('a service is kept as it was asked for', async () => {
  await served.ok('service', 'create', '-d', '--name', 'full', ...FLAGS, 'bb', 'sleep', '1000');
  const [wire] = JSON.parse(await served.ok('service', 'inspect', 'full'));
  assert.match(wire.ID, /^[0-9a-z]{25}$/);
  assert.deepEqual(Object.keys(wire), ['ID', 'Version', 'CreatedAt', 'UpdatedAt', 'Spec', 'Endpoint']);
  assert.deepEqual(wire.Endpoint, { Spec: {} });
  assert.deepEqual(wire.Spec, {
    Name: 'full',
    Labels: { l: 'm' },
    TaskTemplate: {
      ContainerSpec: {
        Image: 'bb:latest',
        Labels: { n: 'o' },
        Args: ['sleep', '1000'],
        Hostname: 'h',
        Env: ['A=b'],
        Dir: '/w',
        User: '1000',
        Groups: ['100'],
        StopSignal: 'SIGINT',
        ReadOnly: true,
        Init: true,
        Isolation: 'default',
        Mounts: [
          { Type: 'volume', Source: 'v', Target: '/v', ReadOnly: true },
          { Type: 'tmpfs', Target: '/t' },
        ],
        StopGracePeriod: 3_000_000_000,
        Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 5_000_000_000 },
        Hosts: ['10.0.0.8 a'],
        DNSConfig: { Nameservers: ['10.0.0.9'] },
        OomScoreAdj: 5,
        Sysctls: { 'net.ipv4.ip_forward': '1' },
        CapabilityAdd: ['CAP_NET_ADMIN'],
        Ulimits: [{ Name: 'nofile', Hard: 20, Soft: 10 }],
      },
      Resources: {
        Limits: { NanoCPUs: 1_500_000_000, MemoryBytes: 67_108_864, Pids: 50 },
        Reservations: {
          MemoryBytes: 16_777_216,
          GenericResources: [{ DiscreteResourceSpec: { Kind: 'gpu', Value: 2 } }],
        },
      },
      RestartPolicy: {
        Condition: 'on-failure',
        Delay: 2_000_000_000,
        MaxAttempts: 3,
        Window: 60_000_000_000,
      },
      Placement: {
        Constraints: ['node.role==worker'],
        Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }],
        MaxReplicas: 1,
      },
      LogDriver: { Name: 'json-file' },
      ForceUpdate: 0,
      Runtime: 'container',
    },
    Mode: { Replicated: { Replicas: 2 } },
    UpdateConfig: {
      Parallelism: 2,
      Delay: 1_000_000_000,
      FailureAction: 'rollback',
      Monitor: 5_000_000_000,
      MaxFailureRatio: 0,
      Order: 'start-first',
    },
    RollbackConfig: {
      Parallelism: 1,
      FailureAction: 'pause',
      Monitor: 10_000_000_000,
      MaxFailureRatio: 0,
      Order: 'stop-first',
    },
    EndpointSpec: {
      Mode: 'vip',
      Ports: [
        { Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' },
        { Protocol: 'udp', TargetPort: 53, PublishedPort: 5353, PublishMode: 'host' },
      ],
    },
  });
  assert.match(await served.ok('service', 'inspect', '--pretty', 'full'), /Endpoint Mode:\s+vip/);
  await served.ok('service', 'rm', 'full');
});

test('a service is made, listed, scaled, changed, rolled back and removed', async () => {
  const id = await served.ok('service', 'create', '-d', '--name', 'web', '-p', '8080:80', 'nginx:1');
  const line = '{{.ID}} {{.Mode}} {{.Replicas}} {{.Image}}';
  assert.equal(
    await served.ok('service', 'ls', '--format', line),
    `${id.slice(0, 12)} replicated 0/1 nginx:1`,
  );
  assert.match(
    await served.fails('service', 'create', '-d', '--name', 'web', 'bb'),
    /service web already exists/,
  );
  assert.match(
    await served.fails('service', 'create', '-d', '-p', '8080:80', 'bb'),
    /port '8080' is already in use by/,
  );
  const revision = (): number | undefined => served.swarm.store.view.get('service', id)?.revision;
  await served.ok('service', 'scale', '-d', 'web=3');
  await served.ok('service', 'update', '-d', '--label-add', 'a=b', 'web');
  assert.equal(revision(), 1);
  await served.ok('service', 'update', '-d', '--image', 'nginx:2', 'web');
  assert.equal(revision(), 2);
  await served.ok('service', 'update', '-d', '--force', 'web');
  assert.equal(revision(), 3);
  await served.ok('service', 'update', '-d', '--publish-add', '8443:443', 'web');
  assert.equal(revision(), 4);
  await served.ok('service', 'rollback', '-d', 'web');
  assert.equal(revision(), 3);
  const [{ UpdateStatus }] = JSON.parse(await served.ok('service', 'inspect', 'web'));
  assert.equal(UpdateStatus.State, 'rollback_started');
  assert.deepEqual(Object.keys(UpdateStatus).sort(), ['Message', 'StartedAt', 'State']);
  assert.equal(await served.ok('service', 'ls', '--format', '{{.Replicas}}'), '0/3');
  await served.ok('service', 'rm', 'web');
  assert.match(await served.fails('service', 'inspect', 'web'), /no such service: web/);
  assert.equal(await served.ok('service', 'ls', '-q'), '');
});

test('jobs and global services', async () => {
  await served.ok(
    'service',
    'create',
    '-d',
    '--name',
    'job',
    '--mode',
    'replicated-job',
    '--replicas',
    '3',
    '--max-concurrent',
    '2',
    'bb',
  );
  await served.ok('service', 'create', '-d', '--name', 'every', '--mode', 'global', 'bb');
  assert.deepEqual(
    (await served.ok('service', 'ls', '--format', '{{.Name}} {{.Mode}} {{.Replicas}}')).split('\n'),
    ['every global 0/0', 'job replicated job 0/2 (0/3 completed)'],
  );
  assert.match(
    await served.fails('service', 'scale', '-d', 'every=2'),
    /scale can only be used with replicated/,
  );
  await served.ok('service', 'rm', 'job', 'every');
});

test('tasks are listed, inspected, and their lines carry where they are from', async () => {
  const id = await served.ok('service', 'create', '-d', '--name', 'tasks', 'bb');
  const ingress = served.swarm.control().networks.inspect('ingress');
  const task: TaskRecord = {
    ID: 'task1'.padEnd(25, '0'),
    CreatedAt: '2026-01-01T00:00:00.000Z',
    UpdatedAt: '2026-01-01T00:00:00.000Z',
    ServiceID: id,
    Slot: 1,
    attempt: 1,
    NodeID: FIRST_NODE.ID,
    DesiredState: 'running',
    Status: {
      Timestamp: '2026-01-01T00:00:00.000Z',
      State: 'running',
      Message: 'started',
      startedAt: '2026-01-01T00:00:00.000Z',
      ContainerStatus: { ContainerID: 'c', PID: 1, ExitCode: 0 },
    },
    revision: 1,
    networks: [{ networkId: ingress.ID, address: '10.0.0.5/24', aliases: [] }],
  };
  const waiting: TaskRecord = {
    ...task,
    ID: 'task2'.padEnd(25, '0'),
    Slot: 2,
    NodeID: '',
    Status: { Timestamp: '2026-01-01T00:00:00.000Z', State: 'pending', Message: 'pending task scheduling' },
    waiting: { reason: 'no suitable node (insufficient resources on 1 node)', since: '2026-01-01T00:00:00Z' },
    networks: [],
  };
  await served.swarm.store.write({ table: 'task', put: task }, { table: 'task', put: waiting });
  const columns = '{{.Name}}|{{.Image}}|{{.Node}}|{{.DesiredState}}|{{.Error}}';
  assert.deepEqual(
    (await served.ok('service', 'ps', 'tasks', '--no-trunc', '--format', columns)).split('\n'),
    [
      'tasks.1|bb:latest|one|Running|',
      'tasks.2|bb:latest||Running|"no suitable node (insufficient resources on 1 node)"',
    ],
  );
  assert.equal(await served.ok('node', 'ps', 'self', '--format', '{{.Name}}'), 'tasks.1');
  assert.equal(await served.ok('service', 'ls', '--format', '{{.Replicas}}'), '1/1');
  const { body } = await served.call('GET', `/tasks/${task.ID}`);
  assert.deepEqual(body, {
    ID: task.ID,
    Version: { Index: served.swarm.store.view.revisionOf('task', task.ID) },
    CreatedAt: '2026-01-01T00:00:00.000Z',
    UpdatedAt: '2026-01-01T00:00:00.000Z',
    Name: 'tasks.1',
    Labels: {},
    Spec: {
      ContainerSpec: { Image: 'bb:latest', Init: false, Isolation: 'default', DNSConfig: {} },
      Resources: { Limits: {}, Reservations: {} },
      Placement: {},
      ForceUpdate: 0,
      Runtime: 'container',
    },
    ServiceID: id,
    Slot: 1,
    NodeID: FIRST_NODE.ID,
    Status: {
      Timestamp: '2026-01-01T00:00:00.000Z',
      State: 'running',
      Message: 'started',
      ContainerStatus: { ContainerID: 'c', PID: 1, ExitCode: 0 },
      PortStatus: {},
    },
    DesiredState: 'running',
    NetworksAttachments: [
      {
        Network: {
          ID: ingress.ID,
          Version: { Index: served.swarm.store.view.revisionOf('network', ingress.ID) },
          CreatedAt: ingress.CreatedAt,
          UpdatedAt: ingress.UpdatedAt,
          Spec: {
            Name: 'ingress',
            Labels: {},
            DriverConfiguration: { Name: 'overlay', Options: {} },
            Ingress: true,
            IPAMOptions: { Driver: { Name: 'default' } },
            Scope: 'swarm',
          },
          DriverState: {
            Name: 'overlay',
            Options: { 'com.docker.network.driver.overlay.vxlanid_list': '4096' },
          },
          IPAMOptions: {
            Driver: { Name: 'default' },
            Configs: [{ Subnet: '10.0.0.0/24', Gateway: '10.0.0.1' }],
          },
        },
        Addresses: ['10.0.0.5/24'],
      },
    ],
  });
  const line = { nodeId: FIRST_NODE.ID, serviceId: id, taskId: task.ID, timeNs: 1_767_225_600_000_000_005n };
  served.swarm.written.push(
    { ...line, stream: 'stdout', data: Buffer.from('out and more\n') },
    { ...line, stream: 'stderr', data: Buffer.from('err\n') },
  );
  const logs = await served.docker(['service', 'logs', '--no-trunc', '--timestamps', 'tasks']);
  assert.equal(logs.stdout, `2026-01-01T00:00:00.000000005Z tasks.1.${task.ID}@one    | out and more\n`);
  assert.match(logs.stderr, /\| err\n$/);
  assert.equal((await served.docker(['service', 'logs', '--raw', task.ID])).stdout, 'out and more\n');
  await served.ok('service', 'rm', 'tasks');
});

const STACK = `
services:
  web:
    image: nginx:1
    ports: ["8080:80"]
    networks: [front]
    secrets: [key]
    configs: [{ source: conf, target: /etc/conf }]
    deploy: { replicas: 2, update_config: { order: start-first }, placement: { constraints: ["node.role==manager"] } }
  worker:
    image: bb
    networks: [front]
    deploy: { mode: global }
networks: { front: { driver: overlay, attachable: true } }
secrets: { key: { file: ./content } }
configs: { conf: { file: ./content } }
`;

test('a stack is deployed, deployed again without a change, listed and removed', async () => {
  writeFileSync(join(served.directory, 'content'), 'hello\n');
  const file = join(served.directory, 'stack.yaml');
  writeFileSync(file, STACK);
  const deploy = ['stack', 'deploy', '--detach=true', '--resolve-image', 'never', '-c', file, 'shop'];
  await served.ok(...deploy);
  const { services } = served.swarm.control();
  const revisions = (): number[] =>
    ['shop_web', 'shop_worker'].map((name) => services.inspect(name).record.revision);
  assert.deepEqual(revisions(), [1, 1]);
  await served.ok(...deploy);
  assert.deepEqual(revisions(), [1, 1]);
  writeFileSync(file, STACK.replace('nginx:1', 'nginx:2'));
  await served.ok(...deploy);
  assert.deepEqual(revisions(), [2, 1]);
  assert.equal(await served.ok('stack', 'ls', '--format', '{{.Name}} {{.Services}}'), 'shop 2');
  assert.deepEqual(
    (await served.ok('stack', 'services', 'shop', '--format', '{{.Name}} {{.Mode}} {{.Replicas}}')).split(
      '\n',
    ),
    ['shop_web replicated 0/2', 'shop_worker global 0/0'],
  );
  assert.match((await served.docker(['stack', 'ps', 'shop'])).stderr, /nothing found in stack: shop/);
  await served.ok('stack', 'rm', 'shop');
  assert.equal(await served.ok('stack', 'ls', '-q').catch(() => ''), '');
  for (const kind of ['service', 'secret', 'config']) assert.equal(await served.ok(kind, 'ls', '-q'), '');
  assert.equal(await served.ok('network', 'ls', '-q', '--filter', 'name=shop'), '');
});

test('what happens in the cluster is told with the scope of the swarm', async () => {
  const since = String(Date.now() / 1000);
  await served.ok('service', 'create', '-d', '--name', 'told', 'bb');
  await served.ok('service', 'scale', '-d', 'told=2');
  await served.ok('service', 'rm', 'told');
  const until = String(Date.now() / 1000 + 0.001);
  const format = '{{.Scope}} {{.Type}} {{.Action}} {{json .Actor.Attributes}}';
  const filters = ['--filter', 'type=service', '--filter', 'service=told'];
  const events = await served.ok(
    'events',
    '--since',
    since,
    '--until',
    until,
    ...filters,
    '--format',
    format,
  );
  assert.deepEqual(events.split('\n'), [
    'swarm service create {"name":"told"}',
    'swarm service update {"name":"told","replicas.new":"2","replicas.old":"1"}',
    'swarm service remove {"name":"told"}',
  ]);
});

test('what a body must not say is refused by name', async () => {
  const container = { Image: 'bb' };
  const cases: [object, number, RegExp][] = [
    [{}, 400, /^mismatched Runtime and \*Spec fields$/],
    [{ TaskTemplate: { PluginSpec: { Name: 'p' } } }, 501, /^services of plugins are not there/],
    [{ TaskTemplate: { ContainerSpec: container, Runtime: 'odd' } }, 400, /^unsupported runtime$/],
    [
      { TaskTemplate: { ContainerSpec: { ...container, Isolation: 'hyperv' } } },
      501,
      /^Isolation "hyperv" is of Windows/,
    ],
    [
      { TaskTemplate: { ContainerSpec: { ...container, Privileges: { CredentialSpec: { File: 'x' } } } } },
      501,
      /^Privileges\.CredentialSpec is of Windows/,
    ],
    [
      { TaskTemplate: { ContainerSpec: { ...container, Mounts: [{ Type: 'cluster', Target: '/x' }] } } },
      501,
      /^mounts of type "cluster" are not there/,
    ],
    [
      { TaskTemplate: { ContainerSpec: container, RestartPolicy: { Condition: 'odd' } } },
      400,
      /invalid RestartCondition: "odd"/,
    ],
    [
      { TaskTemplate: { ContainerSpec: container }, Mode: { Replicated: { Replicas: -1 } } },
      400,
      /Mode\.Replicated\.Replicas: is negative/,
    ],
    [
      { TaskTemplate: { ContainerSpec: container }, EndpointSpec: { Mode: 'odd' } },
      400,
      /invalid resolution mode: "odd"/,
    ],
  ];
  for (const [spec, status, message] of cases) {
    const answer = await served.call('POST', '/services/create', { Name: 'x', ...spec });
    assert.equal(answer.status, status, JSON.stringify(answer.body));
    assert.match(Object(answer.body).message, message);
  }
});

test('nulls are what is not given; a service without a name gets one; HealthCheck is Healthcheck', async () => {
  const answer = await served.call('POST', '/services/create', {
    Name: null,
    Labels: null,
    Mode: null,
    UpdateConfig: null,
    EndpointSpec: { Mode: null, Ports: null },
    TaskTemplate: {
      ContainerSpec: { Image: 'bb', Env: null, Mounts: null, HealthCheck: { Test: ['NONE'] }, Secrets: null },
      Resources: { Limits: null },
      Placement: { Constraints: null, Preferences: null },
      Networks: null,
    },
  });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  const { record } = served.swarm.control().services.inspect(Object(answer.body).ID);
  assert.match(record.Spec.Name, /^[a-z]+_[a-z]+$/);
  assert.deepEqual(record.Spec.TaskTemplate.ContainerSpec.Healthcheck, { Test: ['NONE'] });
  await served.ok('service', 'rm', record.ID);
});
