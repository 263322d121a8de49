import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, hostOfFile } from '../support/docker-host.ts';

const host = await hostOfFile();

const restarts = (container: string): number => Number(host.inspect(container, '{{.RestartCount}}'));

/** Kills a container's first process behind the engine's back; its pid. */
function killFirstProcess(container: string): number {
  const pid = Number(host.inspect(container, '{{.State.Pid}}'));
  assert.ok(pid > 1, `${container} runs`);
  process.kill(pid, 'SIGKILL');
  return pid;
}

test('on-failure: again after an error, not after success, as often as it may', async () => {
  host.runDetached(['--name', 'fails', '--restart', 'on-failure:2'], 'sh', '-c', 'echo tried; exit 3');
  await eventually(
    () => host.inspect('fails', '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}') === '2 exited 3',
    'two restarts and the end',
  );
  assert.equal(host.ok('logs', 'fails'), 'tried\ntried\ntried');
  host.runDetached(['--name', 'works', '--restart', 'on-failure'], 'true');
  assert.equal(host.ok('wait', 'works'), '0');
  assert.equal(restarts('works'), 0);
});

test('always and unless-stopped: again whatever the exit code, until they are stopped', async () => {
  for (const policy of ['always', 'unless-stopped']) {
    const id = host.runDetached(['--restart', policy], 'sh', '-c', 'sleep 0.1');
    await eventually(() => restarts(id) >= 2, `${policy} restarts`);
    host.ok('stop', '-t', '0', id);
    const before = restarts(id);
    await new Promise((resolve) => setTimeout(resolve, 600));
    assert.equal(host.inspect(id, '{{.State.Status}} {{.State.Restarting}}'), 'exited false', policy);
    assert.equal(restarts(id), before, policy);
  }
});

test('what waits for its restart says so, and can be stopped and removed', async () => {
  const id = host.runDetached(['--restart', 'always'], 'sh', '-c', 'exit 1');
  await eventually(() => host.inspect(id, '{{.State.Status}}') === 'restarting', 'it is restarting');
  assert.match(host.ok('ps', '--format', '{{.Status}}'), /^Restarting \(1\) /);
  host.ok('stop', '-t', '0', id);
  assert.equal(host.inspect(id, '{{.State.Status}}'), 'exited');
  host.ok('start', id);
  await eventually(() => host.inspect(id, '{{.State.Status}}') === 'restarting', 'it is restarting again');
  host.ok('rm', '-f', id);
  assert.equal(host.ok('ps', '-aq'), '');
});

test('a kill is an end like any other for always; update changes the policy', async () => {
  const id = host.runDetached(['--restart', 'always'], 'sleep', '1000');
  const killed = killFirstProcess(id);
  await eventually(
    () => restarts(id) === 1 && host.inspect(id, '{{.State.Status}}') === 'running',
    'it runs again',
  );
  host.ok('update', '--restart', 'no', id);
  assert.notEqual(killFirstProcess(id), killed);
  await eventually(() => host.inspect(id, '{{.State.Status}}') === 'exited', 'it stays down');
});

test('--rm and a restart policy exclude each other; policies are checked', () => {
  host.fails(
    125,
    /[Cc]onflicting options|can't create 'AutoRemove'|cannot/,
    ...RUN,
    '--rm',
    '--restart',
    'always',
    'bb',
  );
  host.fails(125, /nosuch/, ...RUN, '--restart', 'nosuch', 'bb');
  host.fails(125, /maximum retry count|maximum-retry-count/, ...RUN, '--restart', 'always:3', 'bb');
});

const RUN = ['run', '-d'];

test('a health check: starting, healthy, unhealthy, with a log; a stop ends it', async () => {
  const health = (id: string): string => host.inspect(id, '{{.State.Health.Status}}');
  const id = host.runDetached(
    [
      ...['--health-cmd', 'test -e /tmp/well', '--health-interval', '200ms', '--health-timeout', '2s'],
      ...['--health-retries', '2', '--health-start-period', '0s'],
    ],
    'sleep',
    '1000',
  );
  assert.equal(health(id), 'starting');
  await eventually(() => health(id) === 'unhealthy', 'it is unhealthy');
  assert.match(host.ok('ps', '--format', '{{.Status}}'), /\(unhealthy\)$/);
  assert.equal(host.ok('ps', '-q', '--filter', 'health=unhealthy', '--no-trunc'), id);
  host.ok('exec', id, 'touch', '/tmp/well');
  await eventually(() => health(id) === 'healthy', 'it is healthy');
  assert.match(host.ok('ps', '--format', '{{.Status}}'), /\(healthy\)$/);
  assert.equal(host.inspect(id, '{{.State.Health.FailingStreak}}'), '0');
  assert.match(host.inspect(id, '{{json .State.Health.Log}}'), /"ExitCode":0/);
  host.ok('stop', '-t', '0', id);
  assert.equal(health(id), 'unhealthy');
});

test('a health check that takes too long counts as failed', async () => {
  const id = host.runDetached(
    [
      '--health-cmd',
      'echo begun; sleep 30',
      '--health-interval',
      '100ms',
      '--health-timeout',
      '300ms',
      '--health-retries',
      '1',
    ],
    'sleep',
    '1000',
  );
  await eventually(() => host.inspect(id, '{{.State.Health.Status}}') === 'unhealthy', 'it is unhealthy');
  assert.match(host.inspect(id, '{{json .State.Health.Log}}'), /"ExitCode":-1.*exceeded timeout/);
});
