import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { EngineFixture, readAll } from './engine-fixture.ts';

let engine: EngineFixture;
before(async () => {
  engine = await EngineFixture.make('dvc0');
});
after(async () => {
  await engine[Symbol.asyncDispose]();
});

test('output keeps its streams, the exit code is true, events come in order', async () => {
  const run = await engine.run(['sh', '-c', 'echo out; echo err >&2; exit 3']);
  assert.equal(run.stdout, 'out\n');
  assert.equal(run.stderr, 'err\n');
  assert.equal(run.exitCode, 3);
  const { Status, ExitCode, Running, Pid } = engine.state(run.id);
  assert.deepEqual([Status, ExitCode, Running, Pid], ['exited', 3, false, 0]);
  assert.deepEqual(engine.actionsOf(run.id), ['create', 'attach', 'start', 'die']);
});

test('stdin reaches the container, and so does its end', async () => {
  const text = 'x'.repeat(200_000);
  const run = await engine.run(['cat'], { config: { OpenStdin: true, StdinOnce: true }, stdin: text });
  assert.equal(run.stdout.length, text.length);
  assert.equal(run.exitCode, 0);
});

test('--rm removes the container, its anonymous volume and its directory', async () => {
  const id = await engine.create(['true'], { host: { AutoRemove: true, Binds: ['/data', 'kept:/kept'] } });
  const removed = engine.containers.wait(id, 'removed', AbortSignal.timeout(20_000));
  await engine.containers.startContainer(id);
  assert.deepEqual(await removed, { StatusCode: 0 });
  assert.throws(() => engine.containers.resolve(id), { kind: 'not-found' });
  assert.deepEqual(
    engine.volumes.list().map(({ Name }) => Name),
    ['kept'],
  );
  assert.equal(engine.actionsOf(id).at(-1), 'destroy');
});

test('a program that is not there is 127, one that cannot be run 126; nothing is left mounted', async () => {
  for (const [command, exitCode] of [
    ['nope', 127],
    ['/etc/passwd', 126],
  ] as const) {
    const id = await engine.create([command]);
    await assert.rejects(engine.containers.startContainer(id));
    assert.equal(engine.state(id).ExitCode, exitCode);
    assert.equal(engine.state(id).Status, 'created');
    assert.equal(engine.filesystems.isMounted(id), false);
  }
});

test('a failed start of a --rm container removes it and tells who waits', async () => {
  const id = await engine.create(['nope'], { host: { AutoRemove: true } });
  const removed = engine.containers.wait(id, 'removed', AbortSignal.timeout(20_000));
  await assert.rejects(engine.containers.startContainer(id), { exitCode: 127 });
  assert.deepEqual(await removed, { StatusCode: 127 });
});

test('stop sends the stop signal, then kills', async () => {
  const polite = await engine.create(
    ['sh', '-c', 'trap "exit 7" USR1; echo ready; while :; do sleep 0.05; done'],
    {
      config: { StopSignal: 'SIGUSR1' },
    },
  );
  await started(polite);
  await engine.containers.stopContainer(polite, {});
  assert.equal(engine.state(polite).ExitCode, 7);
  const stubborn = await engine.create([
    'sh',
    '-c',
    'trap "" TERM; echo ready; while :; do sleep 0.05; done',
  ]);
  await started(stubborn);
  await engine.containers.stopContainer(stubborn, { timeoutSeconds: 0 });
  assert.equal(engine.state(stubborn).ExitCode, 137);
  await assert.rejects(engine.containers.stopContainer(stubborn, {}), { kind: 'not-modified' });
  assert.deepEqual(engine.actionsOf(stubborn).slice(2), ['start', 'kill', 'kill', 'die', 'stop']);
});

test('a slow stop does not hold up kill, wait or removal by force', async () => {
  const id = await engine.create(['sh', '-c', 'trap "" TERM; while :; do sleep 0.05; done']);
  await engine.containers.startContainer(id);
  const stopped = engine.containers.stopContainer(id, { timeoutSeconds: -1 });
  await engine.containers.remove(id, { force: true, volumes: false, link: false });
  await stopped;
  assert.throws(() => engine.containers.resolve(id), { kind: 'not-found' });
});

test('pause holds a container, kill ends a paused one', async () => {
  const id = await engine.create(['sleep', '100']);
  await engine.containers.startContainer(id);
  await engine.containers.pause(id);
  assert.equal(engine.state(id).Status, 'paused');
  await assert.rejects(engine.containers.pause(id), { kind: 'conflict' });
  await engine.containers.unpause(id);
  assert.equal(engine.state(id).Status, 'running');
  await engine.containers.pause(id);
  await engine.containers.kill(id, 'SIGKILL');
  assert.equal(engine.state(id).ExitCode, 137);
});

test('restart runs the same container again', async () => {
  const id = await engine.create(['sh', '-c', 'echo run; exec sleep 100'], { host: { AutoRemove: true } });
  await started(id);
  const { Pid } = engine.state(id);
  await engine.containers.restartContainer(id, { timeoutSeconds: 0 });
  assert.notEqual(engine.state(id).Pid, Pid);
  assert.equal(engine.state(id).Running, true);
  const { records } = engine.containers.logs(id, {
    follow: true,
    stdout: true,
    stderr: true,
    tail: 'all',
    signal: AbortSignal.timeout(5000),
  });
  const lines: string[] = [];
  for await (const { data } of records) {
    lines.push(data.toString());
    if (lines.length === 2) break;
  }
  assert.deepEqual(lines, ['run\n', 'run\n']);
});

test('on-failure restarts as often as it may', async () => {
  const id = await engine.create(['false'], {
    host: { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 } },
  });
  await engine.containers.startContainer(id);
  while (engine.state(id).Running) await engine.containers.wait(id, 'next-exit', AbortSignal.timeout(20_000));
  assert.equal(engine.containers.resolve(id).restartCount, 2);
  assert.equal(engine.actionsOf(id).filter((action) => action === 'die').length, 3);
});

test('every attached client gets all output, one that comes later the log first', async () => {
  const id = await engine.create(['sh', '-c', 'echo one; read line; echo "$line"'], {
    config: { OpenStdin: true },
  });
  const attach = (logs: boolean) =>
    engine.containers.attach(id, { stdin: true, stdout: true, stderr: true, stream: true, logs });
  const first = await attach(false);
  const firstOutput = readAll(first.output);
  await engine.containers.startContainer(id);
  const second = await attach(true);
  const iterator = second.output[Symbol.asyncIterator]();
  const replayed = await iterator.next();
  assert.equal(replayed.value?.data.toString(), 'one\n');
  first.input?.write('two\n');
  assert.equal((await iterator.next()).value?.data.toString(), 'two\n');
  assert.equal((await iterator.next()).done, true);
  assert.equal((await firstOutput).stdout, 'one\ntwo\n');
});

test('names are unique and can change', async () => {
  const id = await engine.create(['true'], { name: 'first' });
  await assert.rejects(engine.create(['true'], { name: 'first' }), {
    kind: 'conflict',
    message: `Conflict. The container name "/first" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
  });
  await engine.containers.rename('first', 'second');
  assert.equal(engine.containers.resolve('/second').id, id);
  assert.equal(engine.containers.resolve(id.slice(0, 12)).name, 'second');
  assert.throws(() => engine.containers.resolve('first'), { message: 'No such container: first' });
});

test('a health check makes the container healthy and unhealthy', async () => {
  const id = await engine.create(['sh', '-c', 'touch /ok; exec sleep 100'], {
    config: { Healthcheck: { Test: ['CMD-SHELL', 'echo probe; test -e /ok'], Interval: 5e7, Retries: 1 } },
  });
  const healthy = engine.event(id, 'health_status: healthy');
  await engine.containers.startContainer(id);
  assert.equal(engine.state(id).Health?.Status, 'starting');
  await healthy;
  assert.equal(engine.state(id).Health?.Log[0]?.Output, 'probe\n');
  const unhealthy = engine.event(id, 'health_status: unhealthy');
  await drain(engine, id, ['rm', '/ok']);
  await unhealthy;
  assert.equal(engine.state(id).Health?.FailingStreak, 1);
});

test('running out of memory is told', async () => {
  const run = await engine.run(['sh', '-c', 'a=x; while :; do a=$a$a; done'], {
    host: { Memory: 16 * 1024 * 1024, MemorySwap: 16 * 1024 * 1024 },
  });
  assert.equal(run.exitCode, 137);
  assert.equal(engine.state(run.id).OOMKilled, true);
  assert.deepEqual(engine.actionsOf(run.id).slice(-2), ['oom', 'die']);
});

test('top lists the processes of the container only', async () => {
  const id = await engine.create(['sleep', '321']);
  await engine.containers.startContainer(id);
  const { Titles, Processes } = await engine.containers.top(id, '-ef');
  assert.equal(Processes.length, 1);
  assert.equal(Processes[0]?.[Titles.indexOf('CMD')], 'sleep 321');
});

/** Starts a container and waits for its first output. */
async function started(id: string): Promise<void> {
  const all = { stdin: false, stdout: true, stderr: true, stream: true, logs: false };
  const session = await engine.containers.attach(id, all);
  await engine.containers.startContainer(id);
  await session.output[Symbol.asyncIterator]().next();
  session.close();
}

async function drain(on: EngineFixture, id: string, command: string[]): Promise<void> {
  const execId = on.exec.create(id, {
    AttachStdin: false,
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
    DetachKeys: '',
    Cmd: command,
    Env: [],
    Privileged: false,
    User: '',
    WorkingDir: '',
  });
  const session = await on.exec.start(execId, { detach: false, tty: false });
  if (session !== undefined) await readAll(session.output);
}

test('a container whose monitor was killed is ended and, where its policy says so, started again', async () => {
  const id = await engine.create(['sleep', '1000'], {
    host: { RestartPolicy: { Name: 'always', MaximumRetryCount: 0 } },
  });
  await engine.containers.startContainer(id);
  const { Pid } = engine.state(id);
  const died = engine.event(id, 'die');
  process.kill(
    Number(readFileSync(join(engine.roots.execRoot, 'bundles', id, 'conmon.pid'), 'utf8')),
    'SIGKILL',
  );
  assert.equal((await died).Actor.Attributes['exitCode'], '255');
  await engine.event(id, 'start');
  assert.notEqual(engine.state(id).Pid, Pid);
  // Nobody may have asked for how it ended yet.
  if (existsSync(`/proc/${Pid}`)) assert.match(readFileSync(`/proc/${Pid}/stat`, 'utf8'), /\) Z /);
  await engine.containers.remove(id, { force: true, volumes: true, link: false });
});
