import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { assignedTask } from '#cluster/agent/task-builder.ts';
import { TaskFiles } from '#cluster/agent/task-files.ts';
import { listMounts } from '#linux/mount.ts';
import type { Image } from '#model/image.ts';
import type { PullRequest } from '#registry/image-puller.ts';
import { TaskEngineFixture } from './task-engine-fixture.ts';

const never = new AbortController().signal;
const SLEEP = { Command: ['sleep', '1000'] };

/** A program that ends at SIGTERM with this code, once it has said so. */
function obeying(code: number): { Command: string[] } {
  return { Command: ['sh', '-c', `trap 'exit ${code}' TERM; echo ready; while :; do sleep 0.02; done`] };
}

/** What a task writes, to its end or until it wrote `enough`. */
async function outputOf(fixture: TaskEngineFixture, taskId: string, enough?: string): Promise<string> {
  const o = { follow: true, stdout: true, stderr: true, tail: 'all' as const, signal: never };
  let text = '';
  for await (const line of fixture.tasks.taskLogs(taskId, o)) {
    assert.equal(line.taskId, taskId);
    assert.equal(line.serviceId, 'service000000000000000000');
    assert.equal(line.nodeId, 'node000000000000000000000');
    text += line.data.toString();
    if (enough !== undefined && text.includes(enough)) break;
  }
  return text;
}

test('a task lives from prepared to removed, and every call may be repeated', async () => {
  await using fixture = await TaskEngineFixture.make();
  const { tasks, engine } = fixture;
  const task = assignedTask({ container: obeying(7) });
  assert.deepEqual(await tasks.list(), []);
  await tasks.prepare(task, never);
  await tasks.prepare(task, never);
  const prepared = await tasks.inspect(task.id);
  assert.equal(prepared?.state, 'created');
  assert.equal(prepared.exit, undefined);
  const record = engine.containers.resolve('web.1.task00000000000000000000a');
  assert.equal(record.id, prepared.status.ContainerID);
  assert.equal(record.config.Labels['com.docker.swarm.task.id'], task.id);
  const [first, second] = await Promise.all([tasks.start(task), tasks.start(task)]);
  assert.deepEqual(first, second);
  assert.equal(first.state, 'running');
  assert.equal(first.health, 'healthy');
  assert.ok(first.status.PID > 0);
  assert.deepEqual(await tasks.list(), [first]);
  await outputOf(fixture, task.id, 'ready');
  await Promise.all([tasks.stop({ id: task.id }), tasks.stop({ id: task.id })]);
  const stopped = await tasks.inspect(task.id);
  assert.equal(stopped?.state, 'exited');
  assert.equal(stopped.exit?.exitCode, 7);
  assert.equal(stopped.exit.error, 'task: non-zero exit (7)');
  assert.deepEqual(await tasks.start(task), stopped, 'one that has exited stays so');
  await tasks.stop({ id: task.id });
  await Promise.all([tasks.remove(task.id), tasks.remove(task.id)]);
  assert.equal(await tasks.inspect(task.id), undefined);
  await tasks.remove(task.id);
  await tasks.stop({ id: task.id });
  assert.ok(fixture.changed.every((id) => id === task.id) && fixture.changed.length >= 4);
});

test('a task that ends says how', async () => {
  await using fixture = await TaskEngineFixture.make();
  const { tasks } = fixture;
  for (const [code, error] of [
    [0, undefined],
    [3, 'task: non-zero exit (3)'],
  ] as const) {
    const task = assignedTask({ id: `code${code}`, container: { Command: ['sh', '-c', `exit ${code}`] } });
    await tasks.prepare(task, never);
    await tasks.start(task);
    const ended = await fixture.until(task.id, (now) => now?.state === 'exited');
    assert.equal(ended?.exit?.exitCode, code);
    assert.equal(ended.exit.error, error);
    assert.ok(Date.parse(ended.exit.finishedAt) > 0);
  }
});

test('a program that is not there fails the start, not the daemon', async () => {
  await using fixture = await TaskEngineFixture.make();
  const task = assignedTask({ container: { Command: ['/no/such/program'] } });
  await fixture.tasks.prepare(task, never);
  await assert.rejects(fixture.tasks.start(task), /no\/such\/program/);
  await fixture.tasks.remove(task.id);
  assert.deepEqual(await fixture.tasks.list(), []);
});

test('memory that runs out is named as the reason', async () => {
  await using fixture = await TaskEngineFixture.make();
  const task = assignedTask({
    // what tail(1) has to remember of a line without an end
    container: { Command: ['sh', '-c', 'tail /dev/zero'] },
    spec: { Resources: { Limits: { MemoryBytes: 16 * 1024 * 1024 } } },
  });
  await fixture.tasks.prepare(task, never);
  await fixture.tasks.start(task);
  const ended = await fixture.until(task.id, (now) => now?.state === 'exited');
  assert.equal(ended?.exit?.exitCode, 137);
  assert.equal(ended.exit.error, 'task: non-zero exit (137): OOM killed');
});

test('health is told as it changes, and stays known at the end', async () => {
  await using fixture = await TaskEngineFixture.make();
  const task = assignedTask({
    container: {
      Command: ['sh', '-c', 'touch /well; sleep 1000'],
      Healthcheck: { Test: ['CMD', 'test', '-e', '/well'], Interval: 20_000_000, Retries: 2 },
    },
  });
  await fixture.tasks.prepare(task, never);
  const started = await fixture.tasks.start(task);
  assert.equal(started.state, 'running');
  const well = await fixture.until(task.id, (now) => now?.health === 'healthy');
  assert.equal(well?.state, 'running');
  await fixture.engine.runExec(well.status.ContainerID, ['rm', '/well']);
  const ill = await fixture.until(task.id, (now) => now?.health === 'unhealthy');
  assert.equal(ill?.state, 'running', 'ending it is for the agent to decide');
  await fixture.tasks.stop({ id: task.id, graceMs: 0 });
  const ended = await fixture.tasks.inspect(task.id);
  assert.equal(ended?.exit?.error, 'task: non-zero exit (137): unhealthy container');
});

test('secrets and configs have the owners and modes asked for, and nothing of them is left', async () => {
  await using fixture = await TaskEngineFixture.make();
  const { tasks, engine } = fixture;
  const secret = 'of nobody’s concern';
  const file = (Name: string, UID: string, GID: string, Mode: number, data: string) => ({
    id: Name,
    target: { Name, UID, GID, Mode },
    data: Buffer.from(data).toString('base64'),
  });
  const show =
    'for f in /run/secrets/key /etc/deep/key /app.conf /etc/app.conf; do stat -c "%n %u:%g %a" $f; done';
  const task = assignedTask({
    container: {
      Command: [
        'sh',
        '-c',
        `${show}; cat /run/secrets/key; echo; (echo x > /run/secrets/key) 2>&1; sleep 1000`,
      ],
      ReadOnly: true,
    },
    secrets: [file('key', '0', '0', 0o400, secret), file('/etc/deep/key', '1000', '1001', 0o440, 'deep')],
    configs: [file('app.conf', '0', '0', 0o444, 'a'), file('/etc/app.conf', '33', '33', 0o755, 'b')],
  });
  await tasks.prepare(task, never);
  const directory = join(engine.roots.execRoot, 'tasks', task.id);
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  assert.equal(listMounts().find(({ target }) => target === directory)?.type, 'ramfs');
  await tasks.start(task);
  const output = await outputOf(fixture, task.id, 'Read-only file system\n');
  assert.deepEqual(output.split('\n').slice(0, 5), [
    '/run/secrets/key 0:0 400',
    '/etc/deep/key 1000:1001 440',
    '/app.conf 0:0 444',
    '/etc/app.conf 33:33 755',
    secret,
  ]);
  await tasks.remove(task.id);
  assert.deepEqual(readdirSync(join(engine.roots.execRoot, 'tasks')), []);
  assert.ok(!listMounts().some(({ target }) => target === directory));
});

test('files of a task that was never made are gone after a crash, those of others are not', async () => {
  const before = await TaskEngineFixture.make();
  const secrets = [{ id: 's', target: { Name: 's', UID: '0', GID: '0', Mode: 0o400 }, data: 'eA==' }];
  const kept = assignedTask({ id: 'kept', secrets, container: SLEEP });
  await before.tasks.prepare(kept, never);
  const lost = assignedTask({ id: 'lost', secrets, container: SLEEP });
  await before.tasks.prepare(lost, never);
  const { status } = (await before.tasks.inspect('lost')) ?? assert.fail();
  // as if the daemon had been killed between the files and the container
  before.engine.records.delete('container', status.ContainerID);
  await using after = await TaskEngineFixture.takeOver(await before.die());
  assert.deepEqual(readdirSync(join(after.engine.roots.execRoot, 'tasks')), ['kept']);
  await after.tasks.start(kept);
});

test('secrets that a restart of the machine took away are there again before the task starts', async () => {
  await using fixture = await TaskEngineFixture.make();
  const { tasks, engine } = fixture;
  const task = assignedTask({
    secrets: [
      {
        id: 's',
        target: { Name: 's', UID: '0', GID: '0', Mode: 0o400 },
        data: Buffer.from('again').toString('base64'),
      },
    ],
    container: { Command: ['cat', '/run/secrets/s'] },
  });
  await tasks.prepare(task, never);
  new TaskFiles(engine.roots).remove(task.id);
  await tasks.start(task);
  assert.equal(await outputOf(fixture, task.id), 'again');
});

test('a daemon that was killed finds its tasks again', async () => {
  const before = await TaskEngineFixture.make();
  const running = assignedTask({ id: 'running', container: SLEEP });
  const created = assignedTask({ id: 'created', container: SLEEP });
  const ended = assignedTask({ id: 'ended', container: { Command: ['sh', '-c', 'exit 5'] } });
  for (const task of [running, created, ended]) await before.tasks.prepare(task, never);
  const { status } = await before.tasks.start(running);
  await before.tasks.start(ended);
  await before.until('ended', (now) => now?.state === 'exited');
  await using after = await TaskEngineFixture.takeOver(await before.die());
  const found = await after.tasks.list();
  assert.deepEqual(found.map(({ taskId, state }) => `${taskId} ${state}`).sort(), [
    'created created',
    'ended exited',
    'running running',
  ]);
  assert.deepEqual((await after.tasks.inspect('running'))?.status, status);
  assert.equal((await after.tasks.inspect('ended'))?.exit?.exitCode, 5);
  assert.equal((await after.tasks.start(running)).status.PID, status.PID);
  await after.tasks.stop({ id: 'running', graceMs: 0 });
  assert.equal((await after.tasks.inspect('running'))?.exit?.exitCode, 137);
});

test('what a person does to a container by hand is told', async () => {
  await using fixture = await TaskEngineFixture.make();
  const task = assignedTask({ container: SLEEP });
  await fixture.tasks.prepare(task, never);
  const { status } = await fixture.tasks.start(task);
  await fixture.engine.containers.rename(status.ContainerID, 'mine');
  await fixture.engine.containers.kill(status.ContainerID, 'SIGKILL');
  const killed = await fixture.until(task.id, (now) => now?.state === 'exited');
  assert.equal(killed?.exit?.error, 'the container was stopped by hand: task: non-zero exit (137)');
  await fixture.engine.containers.remove(status.ContainerID, { force: true, volumes: true, link: false });
  assert.equal(await fixture.until(task.id, (now) => now === undefined), undefined);
});

test('one image is pulled once for several tasks, and not at all where it is there', async () => {
  await using fixture = await TaskEngineFixture.make();
  const { tasks, engine } = fixture;
  const pulled: string[] = [];
  const gate = Promise.withResolvers<void>();
  const pull = async ({ reference }: PullRequest): Promise<Image> => {
    pulled.push(reference.familiar);
    await gate.promise;
    engine.images.tag('busybox', reference.familiar);
    return engine.images.resolve(reference.familiar);
  };
  fixture.usePuller({ pull });
  const image = { container: { ...SLEEP, Image: 'example.org/app' } };
  const both = ['one', 'two'].map((id, index) =>
    tasks.prepare(assignedTask({ id, slot: index + 1, ...image }), never),
  );
  gate.resolve();
  await Promise.all(both);
  await tasks.prepare(assignedTask({ id: 'three', slot: 3, ...image }), never);
  assert.deepEqual(pulled, ['example.org/app']);
  assert.equal((await tasks.list()).length, 3);
});

test('what cannot be prepared is said in Docker’s words, and leaves nothing', async () => {
  await using fixture = await TaskEngineFixture.make();
  const { tasks, engine } = fixture;
  const secrets = [{ id: 's', target: { Name: 's', UID: '0', GID: '0', Mode: 0o400 }, data: 'eA==' }];
  const refused = async (
    change: Parameters<typeof assignedTask>[0],
    expected: { kind: string; message: string | RegExp },
  ): Promise<void> => {
    await assert.rejects(tasks.prepare(assignedTask({ secrets, ...change }), never), expected);
  };
  await refused(
    { container: { Image: 'nobody/has:this' } },
    {
      kind: 'not-found',
      message: 'No such image: nobody/has:this (registry: pull access denied for nobody/has)',
    },
  );
  await refused(
    { container: { Mounts: [{ Type: 'bind', Source: '/no/such/place', Target: '/x' }] } },
    {
      kind: 'invalid',
      message: 'invalid mount config for type "bind": bind source path does not exist: /no/such/place',
    },
  );
  await refused(
    { spec: { LogDriver: { Name: 'gelf' } } },
    {
      kind: 'invalid',
      message: "logger: no log driver named 'gelf' is registered",
    },
  );
  const foreign = { Type: 'volume', Source: 'v', Target: '/v' } as const;
  await refused(
    { container: { Mounts: [{ ...foreign, VolumeOptions: { DriverConfig: { Name: 'nfsplugin' } } }] } },
    { kind: 'not-found', message: /plugin "nfsplugin" not found/ },
  );
  assert.deepEqual(await tasks.list(), []);
  assert.deepEqual(readdirSync(join(engine.roots.execRoot, 'tasks')), []);
});

test('preparing can be called off, by the caller and by removing the task', async () => {
  await using fixture = await TaskEngineFixture.make();
  const slow = Promise.withResolvers<never>();
  fixture.usePuller({ pull: () => slow.promise });
  const task = assignedTask({ container: { Image: 'slow' } });
  const stop = new AbortController();
  const first = fixture.tasks.prepare(task, stop.signal);
  stop.abort();
  await assert.rejects(first, { kind: 'cancelled' });
  const second = fixture.tasks.prepare(task, never);
  await fixture.tasks.remove(task.id);
  await assert.rejects(second, { kind: 'cancelled' });
});

test('a task on the node’s bridge has its name, volumes, limits and published port', async () => {
  await using fixture = await TaskEngineFixture.make();
  const { tasks, engine } = fixture;
  const task = assignedTask({
    nodeHostname: hostname(),
    slot: 4,
    hostPorts: [{ Protocol: 'tcp', TargetPort: 80, PublishMode: 'host' }],
    container: {
      Command: [
        'sh',
        '-c',
        'hostname; echo $WHO; id -u; ls /data; cat /sys/class/net/eth0/operstate; sleep 1000',
      ],
      Hostname: '{{.Service.Name}}-{{.Task.Slot}}',
      Env: ['WHO={{.Node.Hostname}}/{{.Task.ID}}'],
      User: '1234',
      Mounts: [{ Type: 'volume', Source: 'data-{{.Task.Slot}}', Target: '/data' }],
    },
  });
  await tasks.prepare(task, never);
  assert.ok(existsSync(engine.volumes.resolve('data-4').Mountpoint));
  const [port] = (await tasks.start(task)).ports ?? [];
  assert.ok((port?.PublishedPort ?? 0) > 0, 'a free port was chosen');
  assert.deepEqual(port, { ...task.hostPorts[0], PublishedPort: port?.PublishedPort });
  assert.equal(await outputOf(fixture, task.id, 'up\n'), `web-4\n${hostname()}/${task.id}\n1234\nup\n`);
  await tasks.remove(task.id);
  assert.ok(engine.volumes.resolve('data-4'), 'a volume with a name outlives its task');
});
