import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { DockerHost, eventually } from '../support/docker-host.ts';
import { differs } from './known-differences.ts';

let host: DockerHost;
let id: string;

before(async () => {
  host = await DockerHost.open();
  id = host.runDetached(['-e', 'FROM=container', '-w', '/tmp'], 'sleep', '1000');
});
after(async () => {
  await host[Symbol.asyncDispose]();
});

test('exec runs in the container: its processes, files, environment and directory', () => {
  assert.match(host.ok('exec', id, 'ps', '-o', 'pid,args'), /1 +sleep 1000/);
  assert.equal(host.ok('exec', id, 'sh', '-c', 'echo $FROM; pwd'), 'container\n/tmp');
  assert.equal(
    host.ok('exec', '-e', 'MORE=yes', '-w', '/', id, 'sh', '-c', 'echo $FROM $MORE; pwd'),
    'container yes\n/',
  );
  assert.equal(host.ok('exec', '-u', 'www-data', id, 'id', '-u'), '33');
  assert.equal(host.ok('exec', '-u', '7:8', id, 'sh', '-c', 'id -u; id -g'), '7\n8');
});

test('exit codes and streams are the command’s', () => {
  const { status, stdout, stderr } = host.docker('exec', id, 'sh', '-c', 'echo out; echo err >&2; exit 9');
  assert.deepEqual([status, stdout, stderr], [9, 'out\n', 'err\n']);
  const denied = host.docker('exec', id, '/etc/passwd');
  assert.equal(denied.status, 126);
  assert.match(denied.stdout + denied.stderr, /permission denied/i);
  assert.equal(host.docker('exec', id, 'sh', '-c', 'kill -9 $$').status, 137);
});

test('the exit code is true though the output was closed long before', differs('exec-closes-output'), () => {
  assert.equal(host.docker('exec', id, 'sh', '-c', 'exec >&- 2>&-; sleep 0.3; exit 5').status, 5);
});

test('a command that is not there is told from one that is not allowed', differs('exec-127'), () => {
  const missing = host.docker('exec', id, 'nosuchcommand');
  assert.equal(missing.status, 127);
  assert.match(missing.stdout + missing.stderr, /not found|no such file/i);
});

test('standard input with its end, and a terminal', async () => {
  assert.equal(host.input('hello', 'exec', '-i', id, 'sh', '-c', 'cat; echo .').stdout, 'hello.\n');
  assert.match((await host.tty('', 'exec', '-t', id, 'tty')).shown, /^\/dev\/pts\/\d+\n/);
  const typed = await host.tty('exit 4\n', 'exec', '-it', id, 'sh');
  assert.equal(typed.status, 4);
});

test('megabytes come through', () => {
  assert.equal(host.docker('exec', id, 'head', '-c', '5000000', '/dev/zero').stdout.length, 5_000_000);
});

test('-d returns at once and the command goes on', async () => {
  assert.equal(host.ok('exec', '-d', id, 'sh', '-c', 'sleep 0.2; touch /tmp/done'), '');
  await eventually(() => host.docker('exec', id, 'test', '-e', '/tmp/done').status === 0, 'it has run');
});

test('a container that does not run is refused, and so is one that is not there', () => {
  const made = host.ok('create', 'bb', 'true');
  host.fails(1, /is not running/, 'exec', made, 'true');
  host.fails(1, /No such container: nosuch/, 'exec', 'nosuch', 'true');
});

test('an exec is made, inspected, started once, and tells its exit code', async () => {
  const made = await host.call('POST', `/v1.41/containers/${id}/exec`, {
    Cmd: ['sh', '-c', 'exit 3'],
    AttachStdout: true,
  });
  assert.equal(made.status, 201);
  const exec = field(made.body, 'Id');
  const before = await host.call('GET', `/v1.41/exec/${exec}/json`);
  assert.equal(field(before.body, 'Running'), false);
  assert.equal(field(before.body, 'ContainerID'), id);
  assert.equal((await host.call('POST', `/v1.41/exec/${exec}/start`, { Detach: true })).status, 200);
  await eventually(
    async () => field((await host.call('GET', `/v1.41/exec/${exec}/json`)).body, 'ExitCode') === 3,
    'it ends',
  );
  assert.equal((await host.call('POST', `/v1.41/exec/${exec}/start`, { Detach: true })).status, 409);
  assert.equal((await host.call('GET', '/v1.41/exec/nosuch/json')).status, 404);
  assert.equal((await host.call('POST', `/v1.41/containers/${id}/exec`, { Cmd: [] })).status, 400);
});

test('resize sets the size of its terminal', async () => {
  const made = await host.call('POST', `/v1.41/containers/${id}/exec`, {
    Cmd: ['sh', '-c', 'while ! stty size | grep -q "21 63"; do sleep 0.05; done; touch /tmp/resized'],
    Tty: true,
    AttachStdout: true,
  });
  const exec = field(made.body, 'Id');
  await host.call('POST', `/v1.41/exec/${exec}/start`, { Detach: true, Tty: true });
  assert.equal((await host.call('POST', `/v1.41/exec/${exec}/resize?h=21&w=63`)).status, 200);
  await eventually(() => host.docker('exec', id, 'test', '-e', '/tmp/resized').status === 0, 'it is told');
});

test('privileges are the container’s unless asked for more', differs('exec-privileged'), () => {
  const plain = host.ok('exec', id, 'grep', 'CapEff', '/proc/self/status');
  const more = host.ok('exec', '--privileged', id, 'grep', 'CapEff', '/proc/self/status');
  assert.equal(plain, host.ok('exec', id, 'grep', 'CapEff', '/proc/1/status'));
  assert.notEqual(more, plain);
});

test('a command is under the container’s seccomp filter, in the first container and in those after it', () => {
  for (let round = 0; round < 2; round += 1) {
    const other = host.runDetached([], 'sleep', '1000');
    assert.match(host.ok('exec', other, 'cat', '/proc/self/status'), /^Seccomp:\s+2$/m);
    assert.notEqual(host.docker('exec', other, 'unshare', '-U', 'true').status, 0);
    host.ok('rm', '-f', other);
  }
});

test('execs end with their container', async () => {
  const short = host.runDetached([], 'sleep', '1000');
  const running = host.start('exec', short, 'sleep', '1000');
  await eventually(() => host.ok('top', short).split('\n').length === 3, 'both run');
  host.ok('kill', short);
  assert.equal(await running.end(), 137);
});

function field(body: unknown, name: string): unknown {
  return typeof body === 'object' && body !== null ? Reflect.get(body, name) : undefined;
}
