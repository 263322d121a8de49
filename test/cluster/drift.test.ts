import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { BUSYBOX, eventually } from '../support/docker-host.ts';
import { TestCloud } from '../support/test-cloud.ts';

/** What somebody does by hand to a task's container is said of the task, and another one takes its place. */
const cloud = await TestCloud.up('--nodes', '1', '--managers', '1');
after(() => cloud[Symbol.asyncDispose]());
const docker = (...argv: string[]): string => cloud.docker(1, ...argv);
docker('import', BUSYBOX, 'bb:1');
docker('network', 'create', '-d', 'overlay', 'back');
docker(
  ...['service', 'create', '--detach', '--name', 'web', '--network', 'back', '--limit-memory', '64m'],
  ...['--restart-delay', '1ms', '--restart-condition', 'on-failure', '--stop-grace-period', '100ms'],
  ...['bb:1', 'sh', '-c', 'trap "exit 0" TERM; while :; do sleep 1 & wait $!; done'],
);

/** The one container of the service that runs, whole: its task is known to run. */
async function runningContainer(other = ''): Promise<string> {
  let id = '';
  await eventually(() => {
    const isRunning = docker(
      'service',
      'ps',
      'web',
      '-f',
      'desired-state=running',
      '--format',
      '{{.CurrentState}}',
    );
    const ids = docker('ps', '-q', '--no-trunc', '-f', 'label=com.docker.swarm.service.name=web');
    id = ids;
    return isRunning.startsWith('Running') && ids !== '' && !ids.includes('\n') && ids !== other;
  }, 'one container runs');
  return id;
}

const taskOf = (id: string): string =>
  docker('inspect', '-f', '{{index .Config.Labels "com.docker.swarm.task.id"}}', id);

for (const [what, says, act] of [
  ['stopped', /^the container was stopped by hand$/, (id: string) => docker('stop', id)],
  [
    'killed',
    /^the container was stopped by hand: task: non-zero exit \(137\)$/,
    (id: string) => docker('kill', id),
  ],
  ['paused', /^the container was paused by hand$/, (id: string) => docker('pause', id)],
  [
    'taken off its network',
    /^the container was disconnected from network \w{25} by hand$/,
    (id: string) => docker('network', 'disconnect', 'back', id),
  ],
  [
    'given other limits',
    /^limits of the container were changed by hand: memory$/,
    (id: string) => docker('update', '--memory', '80m', '--memory-swap', '160m', id),
  ],
  ['restarted', /^the container was (re|stopp)(start)?ed by hand/, (id: string) => docker('restart', id)],
  ['removed', /by hand/, (id: string) => docker('rm', '-f', id)],
] as const) {
  test(`a container that was ${what} by hand is reported, and replaced`, async () => {
    const before = await runningContainer();
    const task = taskOf(before);
    act(before);
    const next = await runningContainer(before);
    assert.notEqual(next, before);
    const error = docker('inspect', '--type', 'task', '-f', '{{.Status.State}} {{.Status.Err}}', task);
    assert.match(error, /^failed /);
    assert.match(error.replace(/^failed /, ''), says);
  });
}

test('what was renamed, or is used beside its work, runs on', async () => {
  const before = await runningContainer();
  docker('rename', before, 'mine');
  docker('exec', before, 'true');
  docker('network', 'create', 'beside');
  docker('network', 'connect', 'beside', before);
  docker('service', 'update', '--label-add', 'looked=at', '--detach', 'web');
  assert.equal(await runningContainer(), before);
  docker('network', 'disconnect', 'beside', before);
  assert.equal(await runningContainer(), before);
});
