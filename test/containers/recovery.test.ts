import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { listMounts } from '#linux/mount.ts';
import { processStartTime } from '#linux/process-identity.ts';
import { EngineFixture, readAll } from './engine-fixture.ts';

test('what runs is adopted, and everything can still be done with it', async () => {
  const before = await EngineFixture.make('dvc1');
  const id = await before.create(['sh', '-c', 'echo one; read line; echo "$line"; exit 5'], {
    config: { OpenStdin: true },
    host: { NetworkMode: 'bridge' },
  });
  await before.containers.startContainer(id);
  const { Pid } = before.state(id);
  const { IPAddress } = before.containers.resolve(id).networks['bridge'] ?? {};
  await using engine = await EngineFixture.takeOver(await before.die());
  assert.equal(engine.state(id).Pid, Pid);
  assert.equal(engine.containers.resolve(id).networks['bridge']?.IPAddress, IPAddress);
  const session = await engine.containers.attach(id, {
    stdin: true,
    stdout: true,
    stderr: true,
    stream: true,
    logs: true,
  });
  const output = readAll(session.output);
  const ended = engine.containers.wait(id, 'not-running', AbortSignal.timeout(20_000));
  session.input?.write('two\n');
  assert.deepEqual(await ended, { StatusCode: 5 });
  assert.equal((await output).stdout, 'one\ntwo\n');
});

test('what ended meanwhile has its true exit code and time, and --rm and restart policies take effect', async () => {
  const before = await EngineFixture.make('dvc1');
  const ending = ['sh', '-c', 'read line; exit 6'];
  const config = { OpenStdin: true };
  const plain = await before.create(ending, { config });
  const removed = await before.create(ending, { config, host: { AutoRemove: true } });
  const restarted = await before.create(ending, {
    config,
    host: { RestartPolicy: { Name: 'unless-stopped', MaximumRetryCount: 0 } },
  });
  const pids: number[] = [];
  const ids = [plain, removed, restarted];
  for (const id of ids) {
    await before.containers.startContainer(id);
    pids.push(before.state(id).Pid);
  }
  const { roots, runtime } = before;
  const inputs = ids.map((id) => runtime.attach(id));
  await before.die();
  for (const input of inputs) input.end('\n');
  while (pids.some((pid) => processStartTime(pid) !== undefined)) await delay(10);
  await delay(200);
  const seenMs = Date.now();
  await using engine = await EngineFixture.takeOver(roots);
  assert.equal(engine.state(plain).Status, 'exited');
  assert.equal(engine.state(plain).ExitCode, 6);
  assert.ok(Date.parse(engine.state(plain).FinishedAt) < seenMs);
  if (engine.state(restarted).Restarting) await engine.event(restarted, 'start');
  assert.equal(engine.state(restarted).Running, true);
  assert.equal(engine.containers.resolve(restarted).restartCount, 1);
  const rest = engine.containers.list({ all: true, limit: 0, filters: {} });
  if (rest.some(({ id }) => id === removed)) await engine.event(removed, 'destroy');
  assert.throws(() => engine.containers.resolve(removed), { kind: 'not-found' });
});

test('after the machine was restarted containers that always run are started again', async () => {
  const before = await EngineFixture.make('dvc1');
  const policy = (name: 'always' | 'unless-stopped' | 'no') => ({
    host: { RestartPolicy: { Name: name, MaximumRetryCount: 0 } },
  });
  const always = await before.create(['sleep', '1000'], policy('always'));
  const unlessStopped = await before.create(['sleep', '1000'], policy('unless-stopped'));
  const stopped = await before.create(['sleep', '1000'], policy('unless-stopped'));
  const once = await before.create(['sleep', '1000'], policy('no'));
  for (const id of [always, unlessStopped, stopped, once]) await before.containers.startContainer(id);
  await before.containers.stopContainer(stopped, { timeoutSeconds: 0 });
  await before.containers.stop();
  // what a restart of the machine takes away
  for (const id of [always, unlessStopped, once]) {
    await before.runtime.delete(id);
    before.filesystems.unmount(id);
  }
  before.networks.teardown();
  const roots = await before.die();
  rmSync(roots.execRoot, { recursive: true });
  await using engine = await EngineFixture.takeOver(roots);
  for (const id of [always, unlessStopped]) {
    if (engine.state(id).Restarting) await engine.event(id, 'start');
    assert.equal(engine.state(id).Status, 'running');
  }
  assert.equal(engine.state(stopped).Status, 'exited');
  assert.equal(engine.state(once).Status, 'exited');
});

test('killed at any moment, nothing is lost or left', async () => {
  const first = await EngineFixture.make('dvc1');
  const kept = await first.create(['sleep', '1000'], { name: 'kept' });
  await first.containers.startContainer(kept);
  const { Pid } = first.state(kept);
  const roots = await first.die();
  for (let round = 0; round < 12; round += 1) await killAfter(roots, round * 9);
  await using engine = await EngineFixture.takeOver(roots);
  assert.equal(engine.state(kept).Pid, Pid);
  assert.equal(engine.state(kept).Running, true);
  for (const record of engine.containers.list({ all: true, limit: 0, filters: {} })) {
    if (record.id !== kept && record.state.Running) {
      // it was killed between start and stop: it is a container like any other
      assert.equal(
        engine.runtime.isRunning({
          id: record.id,
          pid: record.state.Pid,
          pidStartTime: record.pidStartTime ?? '',
        }),
        true,
      );
    }
  }
  // what the last one had killed may be being taken away just now
  const deadline = Date.now() + 5000;
  for (;;) {
    const found = leftovers(engine);
    if (found.every(({ is, expected }) => isDeepStrictEqual(is, expected))) break;
    if (Date.now() > deadline) {
      for (const [index, { is, expected }] of found.entries())
        assert.deepEqual(is, expected, `list ${index}`);
    }
    await delay(10);
  }
});

/** What is there of an engine's containers, beside what there should be. */
function leftovers(engine: EngineFixture): { is: unknown[]; expected: unknown[] }[] {
  const { dataRoot, execRoot } = engine.roots;
  const records = engine.containers.list({ all: true, limit: 0, filters: {} });
  const running = records
    .filter(({ state }) => state.Running)
    .map(({ id }) => id)
    .sort();
  const all = records.map(({ id }) => id).sort();
  const volumes = records.flatMap(({ mounts }) => mounts.map(({ Name }) => Name)).sort();
  const mounted = listMounts().filter(({ target }) => target.startsWith(`${execRoot}/containers/`));
  return [
    { is: readdirSync(join(execRoot, 'bundles')).sort(), expected: running },
    { is: readdirSync(join(execRoot, 'netns')).sort(), expected: running },
    { is: readdirSync(join(dataRoot, 'containers')).sort(), expected: all },
    { is: readdirSync(join(execRoot, 'containers')).sort(), expected: running },
    { is: engine.volumes.list().map(({ Name }) => Name), expected: volumes },
    { is: mounted.map(({ target }) => basename(dirname(target))).sort(), expected: running },
  ];
}

/** Lets an engine work for some milliseconds, and kills it. */
async function killAfter(roots: { dataRoot: string; execRoot: string }, ms: number): Promise<void> {
  const script = fileURLToPath(new URL('doomed-engine.ts', import.meta.url));
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', script, roots.dataRoot, roots.execRoot],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const exited = once(child, 'exit');
  const isReady = await Promise.race([once(child.stdout, 'data').then(() => true), exited.then(() => false)]);
  assert.ok(isReady, 'what was killed is taken over');
  await delay(ms);
  child.kill('SIGKILL');
  await exited;
}
