import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ApiDaemon } from '../support/api-daemon.ts';
import { eventually } from '../support/docker-host.ts';

const ROOTFS = fileURLToPath(new URL('../../.cache/busybox.tar', import.meta.url));
/** From before anything has happened to after everything has. */
const MOMENTS_MS = [18, 24, 30, 36, 42, 50, 60, 80];
const COUNTER = ['sh', '-c', 'n=0; while :; do echo $n; n=$((n+1)); sleep 0.01; done'];
let daemon: ApiDaemon;

before(async () => {
  daemon = await ApiDaemon.start();
  ok('import', ROOTFS, 'bb');
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
});

function ok(...argv: string[]): string {
  const { status, stdout, stderr } = daemon.docker(...argv);
  assert.equal(status, 0, `docker ${argv.join(' ')}: ${stderr}\n${daemon.log}`);
  return stdout.trim();
}

/** Runs a command, kills the daemon some milliseconds later, and starts the next one. */
async function killedDuring(ms: number, ...argv: string[]): Promise<void> {
  const command = spawn('docker', ['-H', `unix://${daemon.socket}`, ...argv], { stdio: 'ignore' });
  const ended = once(command, 'close');
  await delay(ms);
  await daemon.kill();
  await ended;
  daemon = await daemon.startAgain();
}

const status = (name: string): string =>
  daemon.docker('inspect', '-f', '{{.State.Status}}', name).stdout.trim();

/** What the engine keeps of runs, by the place it is kept in. */
function kept(): Record<string, number> {
  const count = (...path: string[]): number => readdirSync(join(daemon.directory, ...path)).length;
  return {
    bundles: count('exec', 'bundles'),
    netns: count('exec', 'netns'),
    runs: count('exec', 'containers'),
    containers: count('data', 'containers'),
  };
}

test('killed in the middle of create, start, stop and remove, the daemon leaves nothing half-done', async () => {
  ok('run', '-d', '--name', 'counter', '--restart', 'always', '-p', '18200:80', 'bb', ...COUNTER);
  const pid = ok('inspect', '-f', '{{.State.Pid}}', 'counter');
  for (const [round, ms] of MOMENTS_MS.entries()) {
    const name = `victim-${round}`;
    await killedDuring(ms, 'create', '--name', name, '-v', '/data', 'bb', 'sleep', '1000');
    assert.ok(['', 'created'].includes(status(name)), `after create: ${status(name)}`);
    if (status(name) === '') ok('create', '--name', name, '-v', '/data', 'bb', 'sleep', '1000');

    await killedDuring(ms, 'start', name);
    assert.ok(['created', 'exited', 'running'].includes(status(name)), `after start: ${status(name)}`);
    ok('start', name);
    assert.equal(ok('exec', name, 'echo', 'works'), 'works');

    await killedDuring(ms, 'stop', '-t', '0', name);
    await eventually(() => ['running', 'exited'].includes(status(name)), 'it runs or has ended');
    ok('stop', '-t', '0', name);
    assert.equal(status(name), 'exited');

    await killedDuring(ms, 'rm', '-v', name);
    if (status(name) !== '') ok('rm', '-v', name);
    assert.equal(status(name), '');
  }
  // The bystander was never touched, and none of its lines is lost.
  assert.equal(ok('inspect', '-f', '{{.State.Pid}} {{.RestartCount}}', 'counter'), `${pid} 0`);
  const lines = ok('logs', 'counter').split('\n').map(Number);
  assert.deepEqual(
    lines,
    lines.map((_, index) => index),
  );
  ok('rm', '-f', 'counter');
  assert.equal(ok('ps', '-aq'), '');
  assert.equal(ok('volume', 'ls', '-q'), '');
  await eventually(() => Object.values(kept()).every((count) => count === 0), 'nothing is kept');
  assert.deepEqual(kept(), { bundles: 0, netns: 0, runs: 0, containers: 0 });
});

test('a run that is attached when the daemon dies ends; the container does not', async () => {
  const run = spawn('docker', [
    '-H',
    `unix://${daemon.socket}`,
    'run',
    '--name',
    'attached',
    'bb',
    ...COUNTER,
  ]);
  await once(run.stdout, 'data');
  const ended = once(run, 'exit');
  await daemon.kill();
  const [code] = await ended;
  assert.notEqual(code, 0);
  daemon = await daemon.startAgain();
  assert.equal(status('attached'), 'running');
  const before = ok('logs', '--tail', '1', 'attached');
  await eventually(() => ok('logs', '--tail', '1', 'attached') !== before, 'it goes on writing');
  ok('rm', '-f', 'attached');
});

test('what ends while no daemon is there is told with its true exit code and time; what should run again does', async () => {
  ok('run', '-d', '--name', 'ends', 'bb', 'sh', '-c', 'sleep 0.3; exit 7');
  ok('run', '-d', '--name', 'comes-back', '--restart', 'always', 'bb', 'sh', '-c', 'sleep 0.3; exit 7');
  ok('run', '-d', '--name', 'goes', '--rm', 'bb', 'sleep', '0.3');
  const started = Date.parse(ok('inspect', '-f', '{{.State.StartedAt}}', 'ends'));
  await daemon.kill();
  await delay(700);
  const restarted = Date.now();
  daemon = await daemon.startAgain();
  assert.equal(ok('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'ends'), 'exited 7');
  const finished = Date.parse(ok('inspect', '-f', '{{.State.FinishedAt}}', 'ends'));
  assert.ok(
    finished - started >= 250 && finished < restarted,
    'it ended when it ended, not when that was seen',
  );
  await eventually(() => Number(ok('inspect', '-f', '{{.RestartCount}}', 'comes-back')) > 0, 'it came back');
  await eventually(() => status('goes') === '', 'it is gone');
  ok('rm', '-f', 'ends', 'comes-back');
});

test('a container on several networks is adopted with the interfaces that it has', async () => {
  for (const network of ['one', 'two']) ok('network', 'create', network);
  ok('run', '-d', '--name', 'mover', '--network', 'one', 'bb', 'sleep', '1000');
  ok('network', 'connect', 'two', 'mover');
  ok('network', 'disconnect', 'one', 'mover');
  await daemon.kill();
  daemon = await daemon.startAgain();
  ok('network', 'disconnect', 'two', 'mover');
  assert.doesNotMatch(ok('exec', 'mover', 'ls', '/sys/class/net'), /eth/);
  ok('network', 'connect', 'one', 'mover');
  ok('run', '--rm', '--network', 'one', 'bb', 'ping', '-c', '1', '-W', '2', 'mover');
  ok('rm', '-f', 'mover');
  ok('network', 'rm', 'one', 'two');
});

test('killed while files are copied, the daemon leaves no container standing still and nothing mounted', async () => {
  ok(
    'run',
    '-d',
    '--name',
    'still',
    'bb',
    'sh',
    '-c',
    'head -c 300000000 /dev/urandom > /large; touch /ready; exec sleep 1000',
  );
  await eventually(
    () => daemon.docker('exec', 'still', 'test', '-e', '/ready').status === 0,
    'it has written',
  );
  const id = ok('inspect', '-f', '{{.Id}}', 'still');
  const command = spawn('docker', ['-H', `unix://${daemon.socket}`, 'commit', 'still'], { stdio: 'ignore' });
  const ended = once(command, 'close');
  await eventually(() => status('still') === 'paused', 'it stands still');
  await daemon.kill();
  await ended;
  daemon = await daemon.startAgain();
  assert.equal(status('still'), 'running');
  assert.equal(ok('exec', 'still', 'echo', 'works'), 'works');
  assert.deepEqual(readdirSync(join(daemon.directory, 'data', 'tmp')), []);

  ok('stop', '-t', '0', 'still');
  const copy = spawn('docker', ['-H', `unix://${daemon.socket}`, 'export', 'still'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(copy.stdout, 'readable');
  const mounted = (): boolean => readFileSync('/proc/mounts', 'utf8').includes(`${id}/merged`);
  assert.equal(mounted(), true);
  await daemon.kill();
  copy.kill('SIGKILL');
  daemon = await daemon.startAgain();
  assert.equal(mounted(), false);
  ok('start', 'still');
  ok('rm', '-f', 'still');
});
