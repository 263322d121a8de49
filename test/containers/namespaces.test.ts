import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { after, before, test } from 'node:test';
import type { ExecConfig } from '#engine/exec/exec-config.ts';
import { EngineFixture, readAll } from './engine-fixture.ts';

let engine: EngineFixture;
before(async () => {
  engine = await EngineFixture.make('dvc3');
});
after(async () => {
  await engine[Symbol.asyncDispose]();
});

test('a command runs in the container as it was asked to', async () => {
  const id = await engine.create(['sleep', '100'], { config: { Env: ['A=1', 'B=1'], WorkingDir: '/tmp' } });
  await engine.containers.startContainer(id);
  const run = await engine.runExec(
    id,
    ['sh', '-c', 'echo $A$B; pwd; id -u; hostname; echo err >&2; exit 4'],
    {
      Env: ['B=2'],
      User: '1000:1000',
    },
  );
  assert.equal(run.stdout, `12\n/tmp\n1000\n${id.slice(0, 12)}\n`);
  assert.equal(run.stderr, 'err\n');
  assert.equal(run.exitCode, 4);
  assert.equal((await engine.runExec(id, ['cat'], { stdin: 'through' })).stdout, 'through');
  const missing = await engine.runExec(id, ['nope']);
  assert.equal(missing.exitCode, 127);
  assert.match(missing.stdout, /executable file not found/);
  assert.match(
    (await engine.runExec(id, ['sh', '-c', 'tty'], { Tty: true })).stdout,
    /^\/dev\/(pts\/\d+|console)\r\n$/,
  );
});

test('commands need a container that runs, and end with it', async () => {
  const id = await engine.create(['sleep', '100']);
  const config: ExecConfig = {
    AttachStdin: false,
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
    DetachKeys: '',
    Cmd: ['sleep', '100'],
    Env: [],
    Privileged: false,
    User: '',
    WorkingDir: '',
  };
  assert.throws(() => engine.exec.create(id, config), {
    kind: 'conflict',
    message: `container ${id} is not running`,
  });
  await engine.containers.startContainer(id);
  const execId = engine.exec.create(id, config);
  const died = engine.event(id, 'exec_die');
  const session = await engine.exec.start(execId, { detach: false, tty: false });
  await engine.containers.kill(id, 'SIGKILL');
  if (session !== undefined) await readAll(session.output);
  await died;
  assert.equal(engine.exec.inspect(execId).exitCode, 137);
  await engine.containers.startContainer(id);
  assert.throws(() => engine.exec.inspect(execId), { message: `No such exec instance: ${execId}` });
});

test('a container can live in another one’s network and process namespaces', async () => {
  const other = await engine.create(['sleep', '100'], { name: 'other', host: { NetworkMode: 'bridge' } });
  const asked = { host: { NetworkMode: 'container:other', PidMode: 'container:other' } };
  const early = await engine.create(['true'], asked);
  await assert.rejects(engine.containers.startContainer(early), { kind: 'conflict' });
  await engine.containers.startContainer(other);
  const address = engine.containers.resolve(other).networks['bridge']?.IPAddress ?? 'none';
  const run = await engine.run(['sh', '-c', 'ip -4 addr show eth0; ps -o args'], asked);
  assert.ok(run.stdout.includes(`${address}/`), run.stdout + run.stderr);
  assert.ok(run.stdout.includes('sleep 100'), run.stdout);
});

test('a container in the host’s network has the host’s name and links', async () => {
  const run = await engine.run(['sh', '-c', 'hostname; ip link show dvc3 >/dev/null && echo seen'], {
    host: { NetworkMode: 'host' },
  });
  assert.equal(run.stdout, `${hostname()}\nseen\n`);
});

test('an address is given back, and a restarted container gets one', async () => {
  const id = await engine.create(['sleep', '100'], { host: { NetworkMode: 'bridge' } });
  await engine.containers.startContainer(id);
  const before = engine.containers.resolve(id).networks['bridge'];
  assert.match(before?.IPAddress ?? '', /^10\.213\.0\./);
  await engine.containers.stopContainer(id, { timeoutSeconds: 0 });
  const stopped = engine.containers.resolve(id).networks['bridge'];
  assert.equal(stopped?.IPAddress, '');
  assert.equal(stopped?.MacAddress, '');
  await engine.containers.startContainer(id);
  assert.match(engine.containers.resolve(id).networks['bridge']?.IPAddress ?? '', /^10\.213\.0\./);
});

test('limits change while the container runs', async () => {
  const id = await engine.create(['sleep', '100'], { host: { Memory: 64 * 1024 * 1024 } });
  await engine.containers.startContainer(id);
  await engine.containers.update(id, { Memory: 32 * 1024 * 1024, MemorySwap: 64 * 1024 * 1024 });
  assert.equal(engine.containers.resolve(id).hostConfig.Memory, 32 * 1024 * 1024);
  await assert.rejects(engine.containers.update(id, { Memory: 1024 }), {
    message: 'Minimum memory limit allowed is 6MB',
  });
});
