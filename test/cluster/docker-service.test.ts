import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, suite, test } from 'node:test';
import { eventually, RunningCommand } from '../support/docker-host.ts';
import { SwarmCli } from './swarm-cli.ts';

const cli = await SwarmCli.start('bb');
after(() => cli[Symbol.asyncDispose]());

suite('docker service update, scale and rollback', () => {
  test('what an update adds, another one takes away', async () => {
    await cli.create(
      'flags',
      '--replicas',
      '1',
      '--stop-grace-period',
      '1s',
      '--init',
      'bb',
      'sleep',
      '1000',
    );
    const before = JSON.parse(
      await cli.ok('service', 'inspect', 'flags', '--format', '{{json .Spec.TaskTemplate}}'),
    );
    await cli.ok('network', 'create', '-d', 'overlay', 'more');
    await cli.ok('secret', 'create', 'added', cli.file('added', 'x'));
    await cli.ok('config', 'create', 'added', cli.file('added', 'x'));
    const pairs: [add: string, value: string, remove: string, key: string][] = [
      ['--env-add', 'A=B', '--env-rm', 'A'],
      ['--label-add', 'a=b', '--label-rm', 'a'],
      ['--container-label-add', 'c=d', '--container-label-rm', 'c'],
      ['--constraint-add', 'node.role==manager', '--constraint-rm', 'node.role==manager'],
      ['--placement-pref-add', 'spread=node.labels.z', '--placement-pref-rm', 'spread=node.labels.z'],
      ['--mount-add', 'type=tmpfs,target=/x', '--mount-rm', '/x'],
      ['--host-add', 'q:1.2.3.4', '--host-rm', 'q:1.2.3.4'],
      ['--dns-add', '1.1.1.1', '--dns-rm', '1.1.1.1'],
      ['--dns-search-add', 'x.y', '--dns-search-rm', 'x.y'],
      ['--dns-option-add', 'ndots:1', '--dns-option-rm', 'ndots:1'],
      ['--publish-add', '8099:80', '--publish-rm', '8099:80'],
      ['--group-add', '5', '--group-rm', '5'],
      ['--sysctl-add', 'net.ipv4.ip_forward=1', '--sysctl-rm', 'net.ipv4.ip_forward'],
      ['--ulimit-add', 'nofile=100', '--ulimit-rm', 'nofile'],
      ['--generic-resource-add', 'gpu=1', '--generic-resource-rm', 'gpu'],
      ['--network-add', 'more', '--network-rm', 'more'],
      ['--secret-add', 'added', '--secret-rm', 'added'],
      ['--config-add', 'added', '--config-rm', 'added'],
    ];
    await cli.ok('service', 'update', '-d', '--quiet', ...pairs.flatMap((pair) => pair.slice(0, 2)), 'flags');
    const during = await cli.ok('service', 'inspect', 'flags', '--format', '{{json .Spec}}');
    for (const word of ['"A=B"', '"a":"b"', '"c":"d"', '1.2.3.4 q', '"1.1.1.1"', '8099', 'gpu', '"added"'])
      assert.ok(during.includes(word), `${word} in ${during}`);
    await cli.ok(
      'service',
      'update',
      '-d',
      '--quiet',
      ...pairs.flatMap(([, , remove, key]) => [remove, key]),
      'flags',
    );
    const after = await cli.ok('service', 'inspect', 'flags', '--format', '{{json .Spec.TaskTemplate}}');
    const { Placement, ...rest } = JSON.parse(after);
    const { Placement: _placement, ...wanted } = before;
    assert.deepEqual([rest, Placement.Constraints ?? []], [wanted, []]);
    const plain = [
      '--args',
      'sleep 2000',
      '--hostname',
      'n',
      '--user',
      '1',
      '--workdir',
      '/',
      '--tty',
      '--read-only',
    ];
    const limits = [
      '--limit-memory',
      '32m',
      '--limit-cpu',
      '1',
      '--limit-pids',
      '9',
      '--reserve-memory',
      '8m',
    ];
    await cli.ok(
      'service',
      'update',
      '-d',
      '--quiet',
      ...plain,
      ...limits,
      '--init',
      '--stop-signal',
      'INT',
      'flags',
    );
    await cli.untilReplicas('flags', '1/1');
    await cli.ok('service', 'rm', 'flags');
    await cli.ok('secret', 'rm', 'added');
    await cli.ok('config', 'rm', 'added');
    await cli.ok('network', 'rm', 'more');
  });

  test('an update is waited for, and undone', async () => {
    const soon = ['--update-monitor', '500ms', '--rollback-monitor', '500ms', '--stop-grace-period', '1s'];
    await cli.create('roll', '--replicas', '2', ...soon, '--env', 'V=1', '--init', 'bb', 'sleep', '1000');
    await cli.untilReplicas('roll', '2/2');
    assert.match(await cli.ok('service', 'update', '--env-add', 'V=2', 'roll'), /Service roll converged/);
    assert.equal(await cli.inTask('roll', 'echo $V'), '2');
    assert.equal(await cli.updateState('roll'), 'completed');
    assert.match(
      await cli.ok('service', 'rollback', 'roll'),
      /rollback: manually requested rollback\n[\s\S]*converged/,
    );
    assert.equal(await cli.inTask('roll', 'echo $V'), '1');
    assert.match(await cli.ok('service', 'scale', 'roll=3'), /roll scaled to 3\n[\s\S]*converged/);
    await cli.ok('service', 'update', '--force', 'roll');
    const past = ['--filter', 'name=roll.1', '--format', '{{.DesiredState}}'];
    const history = async (): Promise<string[]> =>
      (await cli.ok('service', 'ps', 'roll', ...past)).split('\n').sort();
    assert.deepEqual(await history(), ['Running', 'Shutdown', 'Shutdown', 'Shutdown']);
    await cli.ok('swarm', 'update', '--task-history-limit', '2');
    await cli.ok('service', 'update', '--force', 'roll');
    await eventually(async () => (await history()).length <= 3, 'the history is as short as asked for');
    await cli.ok('swarm', 'update', '--task-history-limit', '5');
    await cli.ok('service', 'rm', 'roll');
  });

  test('one that fails stops, or goes back by itself', async () => {
    const soon = ['--update-monitor', '2s', '--restart-delay', '200ms', '--stop-grace-period', '1s'];
    await cli.create('halts', ...soon, '--init', 'bb', 'sleep', '1000');
    await cli.create(
      'returns',
      ...soon,
      '--update-failure-action',
      'rollback',
      '--rollback-monitor',
      '500ms',
      'bb',
      'sleep',
      '1000',
    );
    await cli.untilReplicas('halts', '1/1');
    await cli.untilReplicas('returns', '1/1');
    await Promise.all(
      ['halts', 'returns'].map((name) => cli.ok('service', 'update', '-d', '--args', 'false', name)),
    );
    await eventually(async () => (await cli.updateState('halts')) === 'paused', 'it is paused');
    assert.match(
      await cli.ok('service', 'inspect', '--pretty', 'halts'),
      /State:\s+paused[\s\S]*due to failure or early termination/,
    );
    await eventually(
      async () => (await cli.updateState('returns')) === 'rollback_completed',
      'it has gone back',
    );
    await cli.untilReplicas('returns', '1/1');
    await cli.ok('service', 'rm', 'halts', 'returns');
  });

  test('a new task counts when it is healthy, and one that is not is replaced', async () => {
    const health = ['--health-cmd', 'test -e /ready', '--health-interval', '300ms', '--health-retries', '2'];
    const waiting = ['--health-start-period', '60s', '--health-start-interval', '200ms'];
    await cli.create('gated', ...health, ...waiting, '--init', 'bb', 'sleep', '1000');
    const label = 'label=com.docker.swarm.service.name=gated';
    const starting = async (): Promise<[number, string]> => {
      const node = await cli.ok('service', 'ps', 'gated', '--format', '{{.Node}}');
      const number = Number(node.replace('node', ''));
      return number === 0 ? [0, ''] : [number, await cli.okOn(number, 'ps', '-q', '--filter', label)];
    };
    await eventually(async () => (await starting())[1] !== '', 'its container is there');
    const [node, container] = await starting();
    assert.equal(await cli.replicas('gated'), '0/1');
    await cli.okOn(node, 'exec', container, 'touch', '/ready');
    await cli.untilReplicas('gated', '1/1');
    await cli.okOn(node, 'exec', container, 'rm', '/ready');
    const errors = async (): Promise<string> =>
      await cli.ok('service', 'ps', 'gated', '--no-trunc', '--format', '{{.DesiredState}} {{.Error}}');
    await eventually(async () => /unhealthy container/.test(await errors()), 'it is replaced');
    await cli.ok('service', 'rm', 'gated');
  });

  test('a task is restarted so often as its policy says, within its window', async () => {
    const policy = [
      '--restart-condition',
      'on-failure',
      '--restart-delay',
      '100ms',
      '--restart-max-attempts',
      '2',
    ];
    await cli.create('thrice', ...policy, '--restart-window', '1h', 'bb', 'false');
    const states = async (): Promise<string[]> =>
      (await cli.ok('service', 'ps', 'thrice', '--format', '{{.DesiredState}} {{.CurrentState}}')).split(
        '\n',
      );
    const failed = async (): Promise<number> =>
      (await states()).filter((line) => line.startsWith('Shutdown Failed')).length;
    await eventually(async () => (await failed()) === 3, 'three tries');
    assert.equal((await states()).length, 3);
    await cli.ok('service', 'rm', 'thrice');
  });
});

suite('jobs', () => {
  test('a job is waited for, runs so many at once, and again', async () => {
    const jobs = ['--mode', 'replicated-job', '--replicas', '4', '--max-concurrent', '2'];
    const done = await cli.ok('service', 'create', '--name', 'batch', ...jobs, 'bb', 'true');
    assert.match(done, /job complete$/);
    assert.equal(await cli.replicas('batch'), '0/2 (4/4 completed)');
    assert.match(await cli.ok('service', 'scale', 'batch=3'), /job complete$/);
    assert.equal(await cli.replicas('batch'), '0/2 (3/3 completed)');
    assert.match(await cli.ok('service', 'update', '--force', 'batch'), /job complete$/);
    const iteration = await cli.ok(
      'service',
      'inspect',
      'batch',
      '--format',
      '{{.JobStatus.JobIteration.Index}}',
    );
    assert.equal(iteration, '2');
    assert.match(
      await cli.ok('service', 'create', '--name', 'each', '--mode', 'global-job', 'bb', 'true'),
      /job complete$/,
    );
    assert.equal(await cli.replicas('each'), '0/0 (3/3 completed)');
    await cli.fails(
      /update and rollback configuration is not supported for jobs/,
      'service',
      'create',
      '--mode',
      'global-job',
      '--update-delay',
      '1s',
      'bb',
    );
    const tries = [
      '--mode',
      'replicated-job',
      '--restart-condition',
      'on-failure',
      '--restart-delay',
      '100ms',
    ];
    await cli.create('fails', ...tries, '--restart-max-attempts', '1', 'bb', 'false');
    const ps = async (): Promise<string> =>
      await cli.ok('service', 'ps', 'fails', '--format', '{{.CurrentState}} {{.Error}}');
    await eventually(
      async () => (await ps()).match(/Failed .* "task: non-zero exit \(1\)"/g)?.length === 2,
      'two tries',
    );
    await cli.ok('service', 'rm', 'batch', 'each', 'fails');
  });
});

suite('logs and events', () => {
  test('logs of a service and of a task', async () => {
    const script = 'for i in 1 2 3; do echo line $i; done; echo err >&2; exec sleep 1000';
    await cli.create('talks', '--replicas', '2', '--stop-grace-period', '1s', 'bb', 'sh', '-c', script);
    await cli.untilReplicas('talks', '2/2');
    const lines = async (...argv: string[]): Promise<string[]> => {
      const { stdout, stderr } = await cli.cloud.dockerResult(1, ['service', 'logs', ...argv]);
      return `${stdout}${stderr}`.trim().split('\n').sort();
    };
    await eventually(async () => (await lines('talks')).length === 8, 'all lines are there');
    for (const line of await lines('talks'))
      assert.match(line, /^talks\.[12]\.[0-9a-z]{12}@node\d +\| (line [123]|err)$/);
    assert.equal((await lines('--tail', '1', 'talks')).length, 2);
    assert.deepEqual(await lines('--raw', '--tail', '4', 'talks'), [
      ...['err', 'err', 'line 1', 'line 1', 'line 2', 'line 2', 'line 3', 'line 3'],
    ]);
    for (const line of await lines('--timestamps', '--no-trunc', 'talks'))
      assert.match(line, /^20\S+Z talks\.[12]\.[0-9a-z]{25}@node\d +\| /);
    const [task = ''] = (await cli.ok('service', 'ps', '-q', 'talks')).split('\n');
    assert.equal((await lines(task)).length, 4);
    assert.match(
      (await lines('--no-resolve', '--tail', '1', task))[0] ?? '',
      /^[0-9a-z]{25}\.[12]\.[0-9a-z]{12}@[0-9a-z]{25} /,
    );
    const following = new RunningCommand(
      spawn('docker', [
        '-H',
        `unix://${cli.cloud.socket(1)}`,
        'service',
        'logs',
        '--follow',
        '--tail',
        '0',
        'talks',
      ]),
    );
    const { node, container } = await cli.placeOf('talks');
    await eventually(async () => {
      await cli.okOn(node, 'exec', container, 'sh', '-c', 'echo later > /proc/1/fd/1');
      return /later/.test(following.stdout);
    }, 'what is written later');
    await following.interrupt();
    await cli.ok('service', 'rm', 'talks');
  });

  test('events of services, nodes, secrets, configs and networks', async () => {
    const format =
      '{{.Type}} {{.Action}} {{index .Actor.Attributes "name"}} {{index .Actor.Attributes "replicas.new"}}';
    const filters = ['--filter', 'scope=swarm', '--format', format];
    const events = new RunningCommand(
      spawn('docker', ['-H', `unix://${cli.cloud.socket(1)}`, 'events', ...filters]),
    );
    await eventually(async () => {
      await cli.ok('node', 'update', '--label-add', 'seen=yes', 'node2');
      await cli.ok('node', 'update', '--label-rm', 'seen', 'node2');
      return /node update node2/.test(events.stdout);
    }, 'events are followed');
    await cli.ok('secret', 'create', 'ev-secret', cli.file('ev', 'x'));
    await cli.ok('config', 'create', 'ev-config', cli.file('ev', 'x'));
    await cli.ok('network', 'create', '-d', 'overlay', 'ev-net');
    await cli.create('ev-service', '--init', 'bb', 'sleep', '1000');
    await cli.ok('service', 'scale', '-d', 'ev-service=2');
    await cli.ok('service', 'rm', 'ev-service');
    await cli.ok('secret', 'rm', 'ev-secret');
    await cli.ok('config', 'rm', 'ev-config');
    await cli.ok('network', 'rm', 'ev-net');
    for (const line of [
      ...[
        'secret create ev-secret',
        'config create ev-config',
        'network create ev-net',
        'service create ev-service',
      ],
      ...['service update ev-service 2', 'service remove ev-service', 'secret remove ev-secret'],
      ...['config remove ev-config', 'network remove ev-net'],
    ])
      await events.prints(new RegExp(`^${line}`, 'm'));
    await events.interrupt();
  });
});

suite('secrets and configs', () => {
  test('a new version rolls the tasks that use it', async () => {
    await cli.ok('secret', 'create', '--label', 'v=1', 'key.1', cli.file('key', 'one'));
    const { status, stdout } = await cli.cloud.dockerResult(1, ['secret', 'create', 'key.2', '-'], 'two');
    assert.deepEqual([status, /^[0-9a-z]{25}$/.test(stdout.trim())], [0, true]);
    assert.equal(await cli.ok('secret', 'ls', '--filter', 'label=v=1', '--format', '{{.Name}}'), 'key.1');
    assert.doesNotMatch(await cli.ok('secret', 'inspect', 'key.1'), /b25l|one/);
    assert.match(await cli.ok('secret', 'inspect', '--pretty', 'key.1'), /Name:\s+key\.1[\s\S]*v=1/);
    const soon = ['--update-monitor', '500ms', '--stop-grace-period', '1s'];
    await cli.create('uses', ...soon, '--secret', 'source=key.1,target=key', '--init', 'bb', 'sleep', '1000');
    await cli.untilReplicas('uses', '1/1');
    assert.equal(await cli.inTask('uses', 'cat /run/secrets/key'), 'one');
    await cli.fails(/secret 'key.1' is in use by the following service: uses/, 'secret', 'rm', 'key.1');
    await cli.ok(
      'service',
      'update',
      '--quiet',
      '--secret-rm',
      'key.1',
      '--secret-add',
      'source=key.2,target=key',
      'uses',
    );
    assert.equal(await cli.inTask('uses', 'cat /run/secrets/key'), 'two');
    await cli.ok('service', 'rm', 'uses');
    await cli.ok('secret', 'rm', 'key.1', 'key.2');
  });

  test('a config is a template where it says so, and is shown', async () => {
    await cli.ok('config', 'create', 'plain', cli.file('plain', 'hello'));
    assert.match(await cli.ok('config', 'inspect', '--pretty', 'plain'), /Data:\nhello/);
    await cli.ok('config', 'rm', 'plain');
  });
});
