import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { eventually } from '../support/docker-host.ts';
import { SwarmCli } from './swarm-cli.ts';

const cli = await SwarmCli.start('bb');
after(() => cli[Symbol.asyncDispose]());

suite('docker swarm and docker node', () => {
  test('the swarm is shown, changed, and guarded', async () => {
    const info = await cli.ok('info', '--format', '{{json .Swarm}}');
    const swarm = JSON.parse(info);
    assert.equal(swarm.LocalNodeState, 'active');
    assert.deepEqual([swarm.Nodes, swarm.Managers, swarm.ControlAvailable], [3, 1, true]);
    assert.match(
      await cli.ok('info'),
      /Swarm: active\n[\s\S]*Is Manager: true\n[\s\S]*Default Address Pool: 10\.0\.0\.0\/8/,
    );
    assert.match(await cli.okOn(2, 'info'), /Swarm: active\n[\s\S]*Is Manager: false\n/);
    assert.match(
      await cli.ok('swarm', 'join-token', 'worker'),
      /docker swarm join --token SWMTKN-1-\S+ [\d.]+:2377/,
    );
    const token = await cli.ok('swarm', 'join-token', '-q', 'manager');
    assert.notEqual(await cli.ok('swarm', 'join-token', '-q', '--rotate', 'manager'), token);
    await cli.fails(/This node is already part of a swarm/, 'swarm', 'init');
    await cli.fails(
      /This node is already part of a swarm/,
      'swarm',
      'join',
      '--token',
      token,
      '10.0.0.1:2377',
    );
    await cli.fails(/Removing the last manager erases all current state/, 'swarm', 'leave');
    await cli.fails(/no unlock key is set/, 'swarm', 'unlock-key');
    await cli.fails(/swarm is not locked/, 'swarm', 'unlock');
    assert.match(await cli.ok('swarm', 'ca'), /^-----BEGIN CERTIFICATE-----/);
    const flags = ['--task-history-limit', '2', '--cert-expiry', '1000h', '--dispatcher-heartbeat', '6s'];
    assert.equal(await cli.ok('swarm', 'update', ...flags), 'Swarm updated.');
    const format = '{{json .Swarm.Cluster.Spec}}';
    const { Orchestration, CAConfig, Dispatcher } = JSON.parse(await cli.ok('info', '--format', format));
    assert.equal(Orchestration.TaskHistoryRetentionLimit, 2);
    assert.equal(CAConfig.NodeCertExpiry, 1000 * 3600 * 1e9);
    assert.equal(Dispatcher.HeartbeatPeriod, 6e9);
    await cli.fails(/minimum certificate expiry time/, 'swarm', 'update', '--cert-expiry', '30m');
  });

  test('a worker says that it is none to ask', async () => {
    for (const argv of [
      ['node', 'ls'],
      ['service', 'ls'],
      ['secret', 'ls'],
      ['stack', 'ls'],
      ['swarm', 'ca'],
    ]) {
      const { status, stderr } = await cli.cloud.dockerResult(2, argv);
      assert.equal(status, 1);
      assert.match(stderr, /This node is not a swarm manager\. Worker nodes can't be used to view or modify/);
    }
  });

  test('nodes are listed, found, labelled and drained', async () => {
    const columns = '{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}';
    assert.deepEqual((await cli.ok('node', 'ls', '--format', columns)).split('\n'), [
      'node1 Ready Active Leader',
      'node2 Ready Active ',
      'node3 Ready Active',
    ]);
    const names = async (filter: string): Promise<string> =>
      await cli.ok('node', 'ls', '--filter', filter, '--format', '{{.Hostname}}');
    assert.equal(await names('role=manager'), 'node1');
    assert.equal(await names('name=node3'), 'node3');
    await cli.ok('node', 'update', '--label-add', 'disk=ssd', '--label-add', 'zone=b', 'node3');
    assert.equal(await names('node.label=disk=ssd'), 'node3');
    await cli.fails(
      /key nope doesn't exist in node's labels/,
      'node',
      'update',
      '--label-rm',
      'nope',
      'node3',
    );
    assert.match(
      await cli.ok('node', 'inspect', '--pretty', 'node3'),
      /disk=ssd[\s\S]*Hostname:\s+node3[\s\S]*State:\s+Ready/,
    );
    await cli.create('spread', '--replicas', '3', '--replicas-max-per-node', '2', 'bb', 'sleep', '1000');
    await cli.untilReplicas('spread', '3/3 (max 2 per node)');
    await cli.ok('node', 'update', '--availability', 'drain', 'node2');
    const on = ['node', 'ps', 'node2', '--filter', 'desired-state=running', '--filter', 'name=spread', '-q'];
    await eventually(async () => (await cli.ok(...on)) === '', 'node2 is empty');
    await cli.untilReplicas('spread', '3/3 (max 2 per node)');
    await cli.ok('node', 'update', '--availability', 'active', 'node2');
    await cli.ok('service', 'rm', 'spread');
    await cli.fails(/must be demoted to worker before removal/, 'node', 'rm', '--force', 'node1');
    await cli.fails(/is not down and can't be removed/, 'node', 'rm', 'node3');
    await cli.fails(/node nope not found/, 'node', 'inspect', 'nope');
  });
});

suite('docker swarm leave and join', () => {
  test('a worker that leaves is another node when it is back', async () => {
    const all = ['node', 'ls', '--filter', 'name=node2', '--format', '{{.ID}}'];
    const before = await cli.ok(...all);
    const manager = /[\d.]+:2377/.exec(await cli.ok('swarm', 'join-token', 'worker'))?.[0] ?? '';
    const join = async (token: string): Promise<string> => {
      const { stdout, stderr } = await cli.cloud.dockerResult(2, [
        'swarm',
        'join',
        '--token',
        token,
        manager,
      ]);
      return stdout + stderr;
    };
    assert.equal(await cli.okOn(2, 'swarm', 'leave'), 'Node left the swarm.');
    assert.equal(await cli.okOn(2, 'info', '--format', '{{.Swarm.LocalNodeState}}'), 'inactive');
    assert.match(await join('nonsense'), /invalid join token/);
    assert.match(
      await join(await cli.ok('swarm', 'join-token', '-q', 'worker')),
      /joined a swarm as a worker/,
    );
    await cli.ok('node', 'rm', '--force', before);
    const ready = async (): Promise<boolean> =>
      (await cli.ok('node', 'ls', '--filter', 'name=node2', '--format', '{{.Status}}')) === 'Ready';
    await eventually(ready, 'the node is there once');
    assert.notEqual(await cli.ok(...all), before);
  });
});

/** The flags of `docker service create` that show inside of a container. */
const INSIDE = [
  ...['--container-label', 'n=o', '--env', 'A=b', '--workdir', '/w', '--user', '1000:1001', '--group', '100'],
  ...['--hostname', 'h-{{.Task.Slot}}', '--dns-search', 'ex.com', '--dns-option', 'ndots:2'],
  ...['--host', 'a:10.0.0.8', '--host', 'a6:::1', '--init', '--read-only', '--oom-score-adj', '5'],
  ...['--cap-add', 'NET_ADMIN', '--cap-drop', 'CHOWN', '--sysctl', 'net.ipv4.ip_forward=1'],
  ...['--ulimit', 'nofile=100:200', '--mount', 'type=volume,source=vol1,target=/v,volume-label=x=y'],
  ...['--mount', 'type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=0700'],
  ...['--mount', 'type=bind,source=/usr,target=/b,readonly', '--entrypoint', 'sh -c', '--tty'],
  ...['--limit-cpu', '0.5', '--limit-memory', '64m', '--limit-pids', '50', '--reserve-memory', '16m'],
  ...['--reserve-cpu', '0.1', '--stop-grace-period', '3s', '--stop-signal', 'SIGINT'],
  ...['--log-driver', 'json-file', '--log-opt', 'max-size=1m'],
  ...['--publish', 'mode=host,target=53,published=5353,protocol=udp', '--publish', '8080:80'],
  ...['--health-cmd', 'true', '--health-interval', '5s', '--health-timeout', '3s', '--health-retries', '4'],
  ...['--health-start-period', '1s', '--health-start-interval', '100ms'],
];

/** Those of the service around it. */
const AROUND = [
  ...['--label', 'l=m', '--constraint', 'node.role==manager', '--placement-pref', 'spread=node.labels.zone'],
  ...['--replicas-max-per-node', '1', '--restart-condition', 'on-failure', '--restart-delay', '2s'],
  ...['--restart-max-attempts', '3', '--restart-window', '1m', '--update-parallelism', '2'],
  ...['--update-delay', '1s', '--update-order', 'start-first', '--update-failure-action', 'rollback'],
  ...['--update-monitor', '3s', '--update-max-failure-ratio', '0.2', '--rollback-parallelism', '2'],
  ...['--rollback-delay', '1s', '--rollback-order', 'start-first', '--rollback-failure-action', 'continue'],
  ...['--rollback-monitor', '3s', '--rollback-max-failure-ratio', '0.2', '--endpoint-mode', 'vip'],
  ...['--with-registry-auth', '--no-resolve-image'],
];

suite('docker service create', () => {
  test('every flag arrives in the container', async () => {
    await cli.ok('network', 'create', '--driver', 'overlay', 'back');
    await cli.ok('secret', 'create', 'sec', cli.file('sec', 'secret\n'));
    await cli.ok('config', 'create', 'conf', cli.file('conf', 'config\n'));
    const files = [
      ...['--secret', 'sec', '--config', 'conf', '--network', 'name=back,alias=db'],
      ...['--secret', 'source=sec,target=other,uid=1000,gid=1001,mode=0400'],
      ...['--config', 'source=conf,target=/etc/app.conf,uid=1000,mode=0440'],
    ];
    await cli.create('full', ...INSIDE, ...AROUND, ...files, 'bb', 'sleep 1000');
    await cli.untilReplicas('full', '1/1 (max 1 per node)');
    const { container } = await cli.placeOf('full');
    const [inspected] = JSON.parse(await cli.ok('inspect', container));
    const { Config, HostConfig, Name, NetworkSettings } = inspected;
    assert.match(Name, /^\/full\.1\.[0-9a-z]{25}$/);
    assert.deepEqual(
      [
        Config.Labels.n,
        Config.WorkingDir,
        Config.User,
        Config.Hostname,
        Config.StopSignal,
        Config.StopTimeout,
      ],
      ['o', '/w', '1000:1001', 'h-1', 'SIGINT', 3],
    );
    assert.deepEqual(
      [Config.Tty, Config.Entrypoint, Config.Cmd],
      [true, null, ['sleep 1000']].with(1, ['sh', '-c']),
    );
    assert.deepEqual(Config.Healthcheck, {
      ...{ Test: ['CMD-SHELL', 'true'], Interval: 5e9, Timeout: 3e9, Retries: 4 },
      ...{ StartPeriod: 1e9, StartInterval: 1e8 },
    });
    assert.deepEqual(
      [HostConfig.NanoCpus, HostConfig.Memory, HostConfig.PidsLimit, HostConfig.LogConfig.Config['max-size']],
      [5e8, 64 << 20, 50, '1m'],
    );
    assert.deepEqual(NetworkSettings.Ports['53/udp'][0].HostPort, '5353');
    assert.ok('back' in NetworkSettings.Networks && 'ingress' in NetworkSettings.Networks);
    const seen = await cli.inTask(
      'full',
      'id; hostname; pwd; cat /proc/1/oom_score_adj; ulimit -n; echo $A; cat /proc/sys/net/ipv4/ip_forward',
    );
    assert.deepEqual(seen.split(/\r?\n/), [
      'uid=1000 gid=1001 groups=100,1001',
      ...['h-1', '/w', '5', '100', 'b', '1'],
    ]);
    const resolver = await cli.inTask('full', 'cat /etc/resolv.conf /etc/hosts');
    assert.match(resolver, /^search ex\.com\r?\noptions ndots:2\r?$/m);
    assert.match(resolver, /^10\.0\.0\.8\ta\r?$/m);
    assert.match(resolver, /^::1\ta6\r?$/m);
    assert.equal(resolver.match(/\th-1/g)?.length, 1, 'one address by its own name');
    const mounts = await cli.inTask(
      'full',
      'grep -E " /(v|t|b) " /proc/mounts; cat /proc/1/cmdline; touch /x 2>&1; :',
    );
    assert.match(mounts, / \/v \S+ rw/);
    assert.match(mounts, / \/t tmpfs rw,\S*size=1024k,mode=700/);
    assert.match(mounts, / \/b \S+ ro/);
    assert.match(mounts, /init\0--\0sh\0-c\0sleep 1000/);
    assert.match(mounts, /Read-only file system/);
    const listing = await cli.inTask(
      'full',
      'cd /; ls -ln run/secrets/* conf etc/app.conf | tr -s " " | cut -d" " -f1,3,4,9',
    );
    assert.deepEqual(listing.split(/\r?\n/).sort(), [
      '-r--------  1000 1001 run/secrets/other'.replace('  ', ' '),
      '-r--r----- 1000 0 etc/app.conf',
      '-r--r--r-- 0 0 conf',
      '-r--r--r-- 0 0 run/secrets/sec',
    ]);
    assert.equal(
      await cli.inTask('full', 'cat /run/secrets/other /etc/app.conf'),
      'secret\r\nconfig'.replace('\r', ''),
    );
    const columns = '{{.Name}} {{.Mode}} {{.Replicas}} {{.Image}} {{.Ports}}';
    assert.equal(
      await cli.ok('service', 'ls', '--filter', 'name=full', '--format', columns),
      'full replicated 1/1 (max 1 per node) bb:latest *:8080->80/tcp',
    );
    assert.match(await cli.ok('service', 'ps', 'full', '--format', '{{.Ports}}'), /^\*:5353->53\/udp/);
    const pretty = await cli.ok('service', 'inspect', '--pretty', 'full');
    for (const line of [
      ...[
        'Service Mode:\tReplicated',
        ' Replicas:\t1',
        ' Max Replicas Per Node:   1',
        ' Max failure ratio: 0.2',
      ],
      ...[
        ' Update order:      start-first',
        ' On failure:\trollback',
        ' On failure:\tcontinue',
        ' CPU:\t\t0.5',
      ],
      ...['Networks: back ', 'Endpoint Mode:\tvip', '   Interval = 5s'],
    ])
      assert.ok(pretty.includes(line.trim()), `${line} in\n${pretty}`);
    await cli.ok('service', 'rm', 'full');
  });

  test('what is not there is refused by its name', async () => {
    const cases: [RegExp, ...string[]][] = [
      [/invalid generic resource gpu: Must be at least 1/, '--generic-resource', 'gpu=0', 'bb'],
      [/Isolation "hyperv" is of Windows/, '--isolation', 'hyperv', 'bb'],
      [/CredentialSpec is of Windows/, '--credential-spec', 'file://x', 'bb'],
      [/mounts of type "image" are not there/, '--mount', 'type=image,source=bb,target=/x', 'bb'],
      [/mounts of type "cluster" are not there/, '--mount', 'type=cluster,source=x,target=/x', 'bb'],
      [
        /volume driver "nfs" is not there/,
        '--mount',
        'type=volume,source=x,target=/x,volume-driver=nfs',
        'bb',
      ],
    ];
    for (const [message, ...argv] of cases)
      await cli.fails(message, 'service', 'create', '--detach', ...argv);
    await cli.create('once', 'bb', 'sleep', '1000');
    await cli.fails(/service once already exists/, 'service', 'create', '--detach', '--name', 'once', 'bb');
    for (const [message, ...argv] of [
      [/no such service: nope/, 'service', 'ps', 'nope'],
      [/no such task or service: nope/, 'service', 'logs', 'nope'],
      [/service nope not found/, 'service', 'rm', 'nope'],
      [/service \w+ does not have a previous spec/, 'service', 'rollback', 'once'],
      [/scale can only be used with replicated/, 'service', 'scale', 'nope=1'],
      [/secret nope not found/, 'secret', 'rm', 'nope'],
      [/nothing found in stack: nope/, 'stack', 'ps', 'nope'],
    ] satisfies [RegExp, ...string[]][]) {
      if (argv[1] !== 'scale') await cli.fails(message, ...argv);
    }
    await cli.ok('service', 'rm', 'once');
  });

  test('a node’s own networks, and services of one node each', async () => {
    await cli.create(
      'host-net',
      '--network',
      'host',
      '--constraint',
      'node.role==manager',
      'bb',
      'sleep',
      '1000',
    );
    await cli.create('bridge-net', '--network', 'bridge', 'bb', 'sleep', '1000');
    await cli.create('every', '--mode', 'global', '--env', 'N={{.Node.Hostname}}', 'bb', 'sleep', '1000');
    await cli.create(
      'pinned',
      '--mode',
      'global',
      '--constraint',
      'node.labels.disk==ssd',
      'bb',
      'sleep',
      '1000',
    );
    await cli.untilReplicas('host-net', '1/1');
    await cli.untilReplicas('bridge-net', '1/1');
    await cli.untilReplicas('every', '3/3');
    await cli.untilReplicas('pinned', '1/1');
    const { container } = await cli.placeOf('host-net');
    assert.equal(await cli.ok('inspect', '-f', '{{.HostConfig.NetworkMode}}', container), 'host');
    const places = await cli.ok('service', 'ps', 'every', '--format', '{{.Name}} {{.Node}}', '--no-trunc');
    assert.deepEqual(
      places
        .split('\n')
        .map((line) => line.split(' ')[1])
        .sort(),
      ['node1', 'node2', 'node3'],
    );
    assert.match(await cli.inTask('every', 'echo $N'), /^node\d$/);
    assert.equal(await cli.ok('service', 'ps', 'pinned', '--format', '{{.Node}}'), 'node3');
    await cli.create(
      'nowhere',
      '--constraint',
      'node.labels.disk==tape',
      '--generic-resource',
      'gpu=1',
      'bb',
      'true',
    );
    const waits = async (): Promise<string> =>
      await cli.ok('service', 'ps', 'nowhere', '--no-trunc', '--format', '{{.Error}}');
    await eventually(async () => (await waits()) !== '', 'it says why it waits');
    assert.match(await waits(), /no suitable node \(.*on 3 nodes.*\)/);
    await cli.ok('service', 'rm', 'host-net', 'bridge-net', 'every', 'pinned', 'nowhere');
  });
});
