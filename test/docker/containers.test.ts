import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, hostOfFile } from '../support/docker-host.ts';
import { differs } from './known-differences.ts';

const host = await hostOfFile();

const SLEEP = ['sleep', '1000'];
/** Ends at once on SIGTERM with a code of its own. */
const GRACEFUL = ['sh', '-c', 'trap "exit 7" TERM; echo ready; while :; do sleep 0.05; done'];

test('run prints what the container prints, and ends with its exit code', () => {
  assert.deepEqual(pick(host.docker('run', '--rm', 'bb', 'echo', 'hi')), [0, 'hi\n', '']);
  assert.deepEqual(pick(host.docker('run', '--rm', 'bb', 'sh', '-c', 'echo out; echo err >&2; exit 3')), [
    3,
    'out\n',
    'err\n',
  ]);
  assert.equal(host.ok('ps', '-aq'), '');
});

test('exit codes tell the daemon, the command and a signal apart', () => {
  host.fails(125, /No such image|Unable to find image/, 'run', '--rm', 'nosuchimage:none', 'true');
  host.fails(125, /unknown flag|unknown shorthand/, 'run', '--no-such-flag', 'bb');
  host.fails(126, /permission denied/i, 'run', '--rm', 'bb', '/etc/passwd');
  host.fails(127, /not found|no such file/i, 'run', '--rm', 'bb', 'nosuchcommand');
  const id = host.runDetached([], ...SLEEP);
  host.ok('kill', id);
  assert.equal(host.ok('wait', id), '137');
});

test('a container that cannot start stays, with the reason', () => {
  const { status } = host.docker('run', '--name', 'broken', 'bb', 'nosuchcommand');
  assert.equal(status, 127);
  assert.equal(host.inspect('broken', '{{.State.Status}} {{.State.ExitCode}}'), 'created 127');
  assert.match(host.inspect('broken', '{{.State.Error}}'), /nosuchcommand/);
});

test('create, start, stop, start again, remove', async () => {
  const id = host.ok('create', '--name', 'one', 'bb', ...GRACEFUL);
  assert.match(id, /^[0-9a-f]{64}$/);
  assert.equal(host.inspect('one', '{{.State.Status}} {{.State.Pid}}'), 'created 0');
  assert.equal(host.ok('start', 'one'), 'one');
  assert.match(
    host.inspect('one', '{{.State.Status}} {{.State.Running}} {{.State.Pid}}'),
    /^running true [1-9]/,
  );
  // Starting what runs is no error.
  host.ok('start', 'one');
  await eventually(() => host.ok('logs', 'one') === 'ready', 'its trap is set');
  host.ok('stop', 'one');
  assert.equal(host.inspect('one', '{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}'), 'exited 7 0');
  host.ok('stop', 'one');
  const first = host.inspect('one', '{{.State.StartedAt}}');
  host.ok('start', id.slice(0, 12));
  assert.notEqual(host.inspect('one', '{{.State.StartedAt}}'), first);
  host.fails(1, /cannot remove.*container.*running|You cannot remove a running container/i, 'rm', 'one');
  host.ok('rm', '-f', 'one');
  host.fails(1, /No such (container|object): one/i, 'inspect', 'one');
});

test('start -a gives output and exit code of a made container', () => {
  host.ok('create', '--name', 'again', 'bb', 'sh', '-c', 'echo once more; exit 4');
  assert.deepEqual(pick(host.docker('start', '-a', 'again')), [4, 'once more\n', '']);
  assert.deepEqual(pick(host.docker('start', '-a', 'again')), [4, 'once more\n', '']);
});

test('stop waits as long as it is told, then kills', () => {
  host.runDetached(['--name', 'deaf'], 'sh', '-c', 'trap "" TERM; while :; do sleep 0.05; done');
  host.ok('stop', '-t', '1', 'deaf');
  assert.equal(host.inspect('deaf', '{{.State.ExitCode}}'), '137');
  host.runDetached(
    ['--name', 'own', '--stop-signal', 'USR1', '--stop-timeout', '30'],
    'sh',
    '-c',
    'trap "exit 9" USR1; echo ready; while :; do sleep 0.05; done',
  );
  return eventually(() => host.ok('logs', 'own') === 'ready', 'its trap is set').then(() => {
    host.ok('stop', 'own');
    assert.equal(host.inspect('own', '{{.State.ExitCode}}'), '9');
  });
});

test('kill sends the signal that is asked for, by name or number', async () => {
  host.runDetached(
    ['--name', 'target'],
    'sh',
    '-c',
    'trap "echo got hup" HUP; echo ready; while :; do sleep 0.05; done',
  );
  await eventually(() => host.ok('logs', 'target') === 'ready', 'its trap is set');
  host.ok('kill', '-s', 'SIGHUP', 'target');
  await eventually(() => host.ok('logs', 'target').includes('got hup'), 'the signal arrives');
  host.ok('kill', '-s', '9', 'target');
  await eventually(() => host.inspect('target', '{{.State.Status}}') === 'exited', 'it is killed');
  assert.equal(host.inspect('target', '{{.State.ExitCode}}'), '137');
  host.fails(1, /is not running/, 'kill', 'target');
  host.fails(1, /invalid signal/i, 'kill', '-s', 'NOSUCH', host.runDetached([], ...SLEEP));
});

test('restart starts a stopped one and replaces a running one', () => {
  const id = host.runDetached([], ...SLEEP);
  const pid = host.inspect(id, '{{.State.Pid}}');
  host.ok('restart', '-t', '0', id);
  assert.notEqual(host.inspect(id, '{{.State.Pid}}'), pid);
  assert.equal(host.inspect(id, '{{.RestartCount}}'), '0');
  host.ok('stop', '-t', '0', id);
  host.ok('restart', id);
  assert.equal(host.inspect(id, '{{.State.Status}}'), 'running');
});

test('pause freezes, unpause goes on', () => {
  const id = host.runDetached([], ...SLEEP);
  host.ok('pause', id);
  assert.equal(
    host.inspect(id, '{{.State.Status}} {{.State.Paused}} {{.State.Running}}'),
    'paused true true',
  );
  host.fails(1, /already paused/, 'pause', id);
  host.fails(1, /is paused/, 'exec', id, 'true');
  host.ok('unpause', id);
  assert.equal(host.inspect(id, '{{.State.Status}}'), 'running');
  host.fails(1, /is not paused/, 'unpause', id);
});

test('wait has three conditions', async () => {
  const id = host.ok('create', 'bb', 'sh', '-c', 'exit 5');
  // Not running: a container that was never started counts.
  const notRunning = await host.call('POST', `/v1.41/containers/${id}/wait?condition=not-running`);
  assert.deepEqual(notRunning, { status: 200, body: { StatusCode: 0, ...noError(notRunning.body) } });
  const nextExit = await host.open('POST', `/v1.41/containers/${id}/wait?condition=next-exit`);
  const removed = await host.open('POST', `/v1.41/containers/${id}/wait?condition=removed`);
  host.ok('start', id);
  assert.equal(statusCode(await nextExit.body), 5);
  let isRemoved = false;
  removed.body.then(
    () => {
      isRemoved = true;
    },
    () => undefined,
  );
  assert.equal(host.ok('wait', id), '5');
  assert.equal(isRemoved, false);
  host.ok('rm', id);
  assert.equal(statusCode(await removed.body), 5);
  assert.equal((await host.call('POST', '/v1.41/containers/nosuch/wait')).status, 404);
});

test('names: given, made up, taken, refused, changed', () => {
  const made = host.inspect(host.ok('create', 'bb', 'true'), '{{.Name}}');
  assert.match(made, /^\/[a-z]+_[a-z]+/);
  host.ok('create', '--name', 'web.1', 'bb', 'true');
  host.fails(
    1,
    /Conflict.*"\/web\.1" is already in use by container/,
    'create',
    '--name',
    'web.1',
    'bb',
    'true',
  );
  host.fails(1, /Invalid container name/, 'create', '--name', '../web', 'bb', 'true');
  host.fails(1, /Invalid container name/, 'create', '--name', 'a', 'bb', 'true');
  host.ok('rename', 'web.1', 'web.2');
  assert.equal(host.inspect('web.2', '{{.Name}}'), '/web.2');
  host.fails(1, /No such container: web\.1/, 'rm', 'web.1');
  host.ok('create', '--name', 'web.3', 'bb', 'true');
  host.fails(1, /already in use/, 'rename', 'web.3', 'web.2');
  host.ok('rm', 'web.2');
  host.ok('rename', 'web.3', 'web.2');
});

test('a short id does as long as only one container has it', () => {
  const ids = Array.from({ length: 17 }, () => host.ok('create', 'bb', 'true'));
  const [first = ''] = ids;
  assert.equal(host.inspect(first.slice(0, 12), '{{.Id}}'), first);
  // Of seventeen, two begin with the same digit.
  const shared = ids.map((id) => id.slice(0, 1)).find((digit, at, all) => all.indexOf(digit) !== at) ?? '';
  host.fails(1, /multiple IDs found/i, 'stop', shared);
});

test('ps shows what runs, -a everything, and filters choose', () => {
  const up = host.runDetached(['--name', 'up', '--label', 'tier=front', '--label', 'x'], ...SLEEP);
  host.docker('run', '--name', 'down', '--label', 'tier=back', 'bb', 'sh', '-c', 'exit 3');
  host.ok('create', '--name', 'made', '-v', 'data:/data', 'bb', 'true');
  const names = (...filters: string[]): string[] =>
    host
      .ok('ps', '-a', '--format', '{{.Names}}', ...filters.flatMap((each) => ['--filter', each]))
      .split('\n')
      .filter(Boolean);
  assert.equal(host.ok('ps', '-q', '--no-trunc'), up);
  assert.deepEqual(names(), ['made', 'down', 'up']);
  assert.deepEqual(names('status=running'), ['up']);
  assert.deepEqual(names('status=exited', 'status=created'), ['made', 'down']);
  assert.deepEqual(names('exited=3'), ['down']);
  assert.deepEqual(names('name=o'), ['down']);
  assert.deepEqual(names('name=^/?up$'), ['up']);
  assert.deepEqual(names('label=tier'), ['down', 'up']);
  assert.deepEqual(names('label=tier=front', 'label=x'), ['up']);
  assert.deepEqual(names(`id=${up.slice(0, 10)}`), ['up']);
  assert.deepEqual(names('ancestor=bb'), ['made', 'down', 'up']);
  assert.deepEqual(names('ancestor=nosuch'), []);
  assert.deepEqual(names('volume=data'), ['made']);
  assert.deepEqual(names('volume=/data'), ['made']);
  assert.deepEqual(names('network=bridge', 'status=running'), ['up']);
  assert.deepEqual(names('before=made'), ['down', 'up']);
  assert.deepEqual(names('since=up'), ['made', 'down']);
  assert.deepEqual(host.ok('ps', '-n', '1', '--format', '{{.Names}}'), 'made');
  host.fails(1, /invalid filter/i, 'ps', '--filter', 'nosuch=1');
  host.fails(1, /invalid filter/i, 'ps', '--filter', 'status=nosuch');
  assert.match(
    host.ok('ps', '-a', '--format', '{{.Names}} {{.Status}}'),
    /^made Created\ndown Exited \(3\) .* ago\nup Up .*$/,
  );
  assert.equal(host.ok('ps', '--format', '{{.Command}} {{.Image}}'), '"sleep 1000" bb');
  assert.match(
    host.ok('ps', '-as', '--format', '{{.Names}} {{.Size}}', '--filter', 'name=up'),
    /^up \d+(\.\d+)?[kMG]?B \(virtual \d/,
  );
});

test('inspect tells what was asked for and what came of it', () => {
  const id = host.runDetached(
    [
      '--name',
      'full',
      '-h',
      'box',
      '-e',
      'A=1',
      '-w',
      '/tmp',
      '--label',
      'l=v',
      '-p',
      '127.0.0.1::80',
      '--memory',
      '64m',
      '--restart',
      'on-failure:3',
      '-v',
      '/anon',
    ],
    ...SLEEP,
  );
  const [read]: Record<string, never>[] = JSON.parse(host.ok('inspect', 'full'));
  assert.ok(read !== undefined);
  const of = (path: string): unknown =>
    path
      .split('.')
      .reduce(
        (value: unknown, key) =>
          typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined,
        read,
      );
  assert.equal(of('Id'), id);
  assert.equal(of('Path'), 'sleep');
  assert.deepEqual(of('Args'), ['1000']);
  assert.equal(of('Config.Hostname'), 'box');
  assert.equal(of('Config.Image'), 'bb');
  assert.deepEqual(of('Config.Cmd'), SLEEP);
  assert.ok(JSON.stringify(of('Config.Env')).includes('"A=1"'));
  assert.equal(of('Config.WorkingDir'), '/tmp');
  assert.equal(of('HostConfig.Memory'), 64 << 20);
  assert.deepEqual(of('HostConfig.RestartPolicy'), { Name: 'on-failure', MaximumRetryCount: 3 });
  assert.match(String(of('NetworkSettings.Networks.bridge.IPAddress')), /^\d+\.\d+\.\d+\.\d+$/);
  assert.match(String(of('NetworkSettings.Networks.bridge.MacAddress')), /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
  assert.deepEqual(Object.keys(Object(of('NetworkSettings.Ports'))), ['80/tcp']);
  assert.match(String(of('Image')), /^sha256:[0-9a-f]{64}$/);
  assert.match(String(of('State.StartedAt')), /^20\d\d-\d\d-\d\dT.*Z$/);
  assert.equal(of('State.FinishedAt'), '0001-01-01T00:00:00Z');
  assert.equal(of('GraphDriver.Name'), 'overlay2');
  assert.equal(host.inspect('full', '{{range .Mounts}}{{.Type}} {{.Destination}}{{end}}'), 'volume /anon');
  assert.match(host.ok('inspect', '--size', '-f', '{{.SizeRootFs}}', 'full'), /^\d+$/);
});

test('top lists the processes, as ps on the host sees them', async () => {
  const id = host.runDetached([], 'sh', '-c', 'sleep 1001 & exec sleep 1002');
  await eventually(() => host.ok('top', id).split(' sleep ').length === 3, 'both programs run');
  const [head = '', ...lines] = host.ok('top', id).split('\n');
  assert.match(head, /^UID +PID +PPID +C +STIME +TTY +TIME +CMD$/);
  assert.deepEqual(lines.map((line) => / (sleep \d+)$/.exec(line)?.[1]).sort(), ['sleep 1001', 'sleep 1002']);
  assert.match(host.ok('top', id, '-o', 'pid,comm'), /^PID +COMMAND\n\d+ +sleep\n\d+ +sleep$/);
  host.ok('stop', '-t', '0', id);
  host.fails(1, /is not running/, 'top', id);
});

test('update changes limits and the restart policy of what runs', () => {
  const id = host.runDetached(['--memory', '64m'], ...SLEEP);
  host.ok('update', '--memory', '96m', '--memory-swap', '96m', '--restart', 'unless-stopped', id);
  assert.equal(
    host.inspect(id, '{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}'),
    `${96 << 20} unless-stopped`,
  );
  assert.equal(host.ok('exec', id, 'cat', '/sys/fs/cgroup/memory/memory.limit_in_bytes'), String(96 << 20));
});

test('--rm removes the container however it ends', async () => {
  const id = host.runDetached(['--rm'], ...SLEEP);
  host.ok('kill', id);
  await eventually(() => host.docker('inspect', id).status !== 0, 'it is removed');
  host.fails(125, /Conflicting options|conflicting/i, 'run', '--rm', '--restart', 'always', 'bb', 'true');
});

test('prune removes what has ended, by filter, and leaves what runs', () => {
  host.runDetached(['--name', 'up'], ...SLEEP);
  host.ok('create', '--name', 'kept', '--label', 'keep', 'bb', 'true');
  host.ok('create', '--name', 'gone', 'bb', 'true');
  assert.match(
    host.ok('container', 'prune', '-f', '--filter', 'label!=keep'),
    /Deleted Containers:\n[0-9a-f]{64}\n/,
  );
  assert.equal(host.ok('ps', '-a', '--format', '{{.Names}}'), 'kept\nup');
});

test('the environment: image, command line, host name, home, PATH; a working directory is made', () => {
  assert.equal(
    host
      .ok('run', '--rm', '-h', 'box', '-e', 'A=b c', '-e', 'EMPTY=', 'bb', 'env')
      .split('\n')
      .sort()
      .join('\n'),
    'A=b c\nEMPTY=\nHOME=/root\nHOSTNAME=box\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  );
  assert.equal(host.ok('run', '--rm', '-w', '/made/for/it', 'bb', 'pwd'), '/made/for/it');
  assert.match(host.ok('run', '--rm', '-t', 'bb', 'env'), /TERM=xterm/);
  assert.equal(host.ok('run', '--rm', '--entrypoint', 'echo', 'bb', 'from', 'entrypoint'), 'from entrypoint');
  host.fails(125, /working directory/i, 'run', '--rm', '-w', 'relative', 'bb', 'pwd');
});

test('what makes no sense is refused before anything is made', differs('create-checks'), async () => {
  const post = async (body: object): Promise<string> => {
    const answer = await host.call('POST', '/v1.41/containers/create', body);
    assert.equal(answer.status, 400, JSON.stringify(answer.body));
    return JSON.stringify(answer.body);
  };
  assert.match(await post({}), /config cannot be empty|Image/i);
  assert.match(await post({ Image: 'bb', Cmd: 5 }), /Cmd/);
  assert.match(
    await post({ Image: 'bb', HostConfig: { Memory: 1024 } }),
    /Minimum memory limit allowed is 6MB/,
  );
  assert.match(
    await post({ Image: 'bb', HostConfig: { RestartPolicy: { Name: 'sometimes' } } }),
    /restart policy/,
  );
  assert.equal(host.ok('ps', '-aq'), '');
  const id = host.ok('create', 'bb', 'true');
  assert.equal((await host.call('POST', `/v1.41/containers/${id}/wait?condition=soon`)).status, 400);
});

function pick({
  status,
  stdout,
  stderr,
}: {
  status: number | null;
  stdout: string;
  stderr: string;
}): unknown[] {
  return [status, stdout, stderr];
}

function statusCode(body: unknown): unknown {
  return typeof body === 'object' && body !== null && 'StatusCode' in body ? body.StatusCode : undefined;
}

/** An engine may add `Error: null` to a wait that went well. */
function noError(body: unknown): object {
  return typeof body === 'object' && body !== null && 'Error' in body ? { Error: null } : {};
}
