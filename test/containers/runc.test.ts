import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EngineFixture } from './engine-fixture.ts';

let engine: EngineFixture;
before(async () => {
  engine = await EngineFixture.make('dvc4', 'runc');
});
after(async () => {
  await engine[Symbol.asyncDispose]();
});

test('runc runs a container as crun does: streams, exit code, environment, limits', async () => {
  assert.equal(engine.runtime.name, 'runc');
  const run = await engine.run(['sh', '-c', 'cat; echo $A >&2; ulimit -n; exit 3'], {
    config: { Env: ['A=1'], OpenStdin: true, StdinOnce: true },
    host: { Memory: 32 << 20, Ulimits: [{ Name: 'nofile', Soft: 64, Hard: 64 }] },
    stdin: 'in\n',
  });
  assert.deepEqual([run.stdout, run.stderr, run.exitCode], ['in\n64\n', '1\n', 3]);
});

test('runc’s refusals are 127 and 126 too', async () => {
  for (const [command, exitCode] of [
    ['nope', 127],
    ['/nope', 127],
    ['/etc/passwd', 126],
    ['/etc', 126],
  ] as const) {
    const id = await engine.create([command]);
    await assert.rejects(engine.containers.startContainer(id), { exitCode }, command);
  }
});

test('runc: exec, pause, stop, start again, kill', async () => {
  const id = await engine.create(['sleep', '100']);
  await engine.containers.startContainer(id);
  assert.deepEqual(await engine.runExec(id, ['sh', '-c', 'cat; exit 4'], { stdin: 'through' }), {
    ...{ stdout: 'through', stderr: '', exitCode: 4 },
  });
  assert.equal((await engine.runExec(id, ['nope'])).exitCode, 127);
  await engine.containers.pause(id);
  assert.equal(engine.state(id).Status, 'paused');
  await engine.containers.unpause(id);
  await engine.containers.stopContainer(id, { timeoutSeconds: 0 });
  assert.equal(engine.state(id).ExitCode, 137);
  await engine.containers.startContainer(id);
  const ended = engine.containers.wait(id, 'not-running', AbortSignal.timeout(20_000));
  await engine.containers.kill(id, 'KILL');
  assert.deepEqual(await ended, { StatusCode: 137 });
});
