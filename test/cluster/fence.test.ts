import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { assignedTask } from '#cluster/agent/task-builder.ts';
import { tearDown } from '#daemon/daemon.ts';
import { parseCommand } from '#daemon/daemon-options.ts';
import { listMounts } from '#linux/mount.ts';
import { processStartTime } from '#linux/process-identity.ts';
import type { Roots } from '../containers/engine-fixture.ts';
import { keeperOf, TaskEngineFixture } from './task-engine-fixture.ts';

const never = new AbortController().signal;
const LONG_MS = 600_000;

function singleWriter(id: string): ReturnType<typeof assignedTask> {
  return assignedTask({ id, singleWriter: true, container: { Command: ['sleep', '1000'] } });
}

function lives(pid: number | undefined): boolean {
  return pid !== undefined && processStartTime(pid) !== undefined;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await delay(10);
}

/** Starts the daemon that is to be killed; its process, and those of its single writer and of its ordinary task. */
async function startDaemon({ dataRoot, execRoot }: Roots) {
  const file = fileURLToPath(new URL('fenced-daemon.ts', import.meta.url));
  const daemon = spawn(process.execPath, [...process.execArgv, file, dataRoot, execRoot], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(daemon.stdout, 'data');
  const pids: number[] = JSON.parse(String(line));
  return { daemon, writer: pids[0], ordinary: pids[1] };
}

test('a single writer ends when its daemon was killed; other tasks do not', async () => {
  const { engine } = await TaskEngineFixture.make('dvc6');
  const roots = await engine.die();
  const { daemon, writer, ordinary } = await startDaemon(roots);
  assert.ok(lives(writer) && lives(ordinary));
  daemon.kill('SIGKILL');
  await once(daemon, 'exit');
  assert.ok(lives(writer), 'it ends by the lease, not with the daemon');
  await until(() => !lives(writer));
  assert.ok(lives(ordinary));
  const keeper = keeperOf(roots);
  await using after = await TaskEngineFixture.takeOver(roots);
  const ended = await after.until('writer', (now) => now?.state === 'exited');
  assert.equal(ended?.exit?.exitCode, 137);
  assert.equal((await after.tasks.inspect('ordinary'))?.state, 'running');
  await until(() => !lives(keeper));
});

test('a daemon that hears no manager lets the lease run out', async () => {
  await using fixture = await TaskEngineFixture.make('dvc6');
  const { tasks, fence } = fixture;
  const writer = singleWriter('writer');
  const ordinary = assignedTask({ id: 'ordinary', container: { Command: ['sleep', '1000'] } });
  for (const task of [writer, ordinary]) await tasks.prepare(task, never);
  await tasks.start(ordinary);
  await fence.renew(2000);
  await tasks.start(writer);
  const ended = await fixture.until('writer', (now) => now?.state === 'exited');
  assert.equal(ended?.exit?.exitCode, 137);
  assert.equal((await tasks.inspect('ordinary'))?.state, 'running');
  const next = singleWriter('next');
  await tasks.prepare(next, never);
  await assert.rejects(tasks.start(next), { kind: 'unavailable' });
  await fence.renew(LONG_MS);
  assert.equal((await tasks.start(next)).state, 'running');
});

test('the keeper lives as long as there are single writers, and is replaced when it is killed', async () => {
  await using fixture = await TaskEngineFixture.make('dvc6');
  const { tasks, fence, engine } = fixture;
  await fence.renew(LONG_MS);
  const task = singleWriter('writer');
  await tasks.prepare(task, never);
  assert.equal(keeperOf(engine.roots), undefined, 'nothing runs yet');
  await tasks.start(task);
  const first = keeperOf(engine.roots);
  assert.ok(first !== undefined && lives(first));
  process.kill(first, 'SIGKILL');
  await until(() => !lives(first));
  await Promise.all([fence.renew(LONG_MS), fence.renew(LONG_MS)]);
  const second = keeperOf(engine.roots);
  assert.ok(lives(second));
  await tasks.stop({ id: 'writer', graceMs: 0 });
  assert.deepEqual(fence.guarded(), []);
  await until(() => !lives(second));
  assert.equal((await tasks.inspect('writer'))?.state, 'exited');
});

test('a task that runs becomes a single writer, and ceases to be one, as it is told', async () => {
  await using fixture = await TaskEngineFixture.make('dvc6');
  const { tasks, fence } = fixture;
  await fence.renew(LONG_MS);
  const writer = singleWriter('writer');
  const ordinary = { ...writer, singleWriter: false };
  await tasks.prepare(ordinary, never);
  const { status } = await tasks.start(ordinary);
  assert.deepEqual(fence.guarded(), []);
  await tasks.start(writer);
  assert.deepEqual(fence.guarded(), ['writer']);
  const after = await tasks.start(ordinary);
  assert.deepEqual([fence.guarded(), after.state, after.status.PID], [[], 'running', status.PID]);
});

test('a single writer that cannot be started is not guarded', async () => {
  await using fixture = await TaskEngineFixture.make('dvc6');
  await fixture.fence.renew(LONG_MS);
  const task = assignedTask({ singleWriter: true, container: { Command: ['/no/such/program'] } });
  await fixture.tasks.prepare(task, never);
  await assert.rejects(fixture.tasks.start(task));
  assert.deepEqual(fixture.fence.guarded(), []);
});

test('a tear-down takes secrets and the keeper with it', async () => {
  const before = await TaskEngineFixture.make('dvc6');
  await before.fence.renew(LONG_MS);
  const secrets = [{ id: 's', target: { Name: 's', UID: '0', GID: '0', Mode: 0o400 }, data: 'eA==' }];
  const task = { ...singleWriter('writer'), secrets };
  await before.tasks.prepare(task, never);
  await before.tasks.start(task);
  const roots = await before.die();
  const keeper = keeperOf(roots);
  assert.ok(lives(keeper));
  const places = ['--data-root', roots.dataRoot, '--exec-root', roots.execRoot, '--bridge', roots.bridge];
  const command = parseCommand([...places, '--teardown']);
  assert.ok(command.kind === 'teardown');
  await tearDown(command.options, pino({ level: 'silent' }));
  assert.ok(!listMounts().some(({ target }) => target.startsWith(roots.execRoot)));
  await until(() => !lives(keeper));
  await using _after = await TaskEngineFixture.takeOver(roots);
});
