import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { LoadedCloud } from '../support/loaded-cloud.ts';

/**
 * What the cluster promises when something breaks, on five nodes, three of them managers, under load from outside through published
 * ports and from inside through a virtual IP. By conditions alone; `npm run bench:faults` has the times. The tests go on from where
 * the one before ended.
 */
const REPLICAS = 3;
/** Requests that are looked at after a change, of either load. */
const AFTERMATH = 50;
/** A word that only the writer's command line has. */
const WRITER = '86399';

let cloud: LoadedCloud;

before(async () => {
  cloud = await LoadedCloud.up({ replicas: REPLICAS, flags: ['--memory-root'] });
});

after(async () => {
  await cloud[Symbol.asyncDispose]();
});

/** Nothing that was sent since then was lost. */
async function losesNothing(fromMs: number): Promise<void> {
  for (const { failures } of await cloud.answered(fromMs, AFTERMATH)) assert.deepEqual(failures, []);
}

/** Task → container of all that serve. */
async function containers(): Promise<Map<string, string>> {
  const tasks = await cloud.serving();
  return new Map(tasks.map(({ ID, Status }) => [ID, Status.ContainerStatus?.ContainerID ?? '']));
}

/** How many containers of the service there are in truth, on all nodes. */
async function containersThere(): Promise<number> {
  const label = 'label=com.docker.swarm.service.name=web';
  const printed = await Promise.all(
    cloud.nodes.map(({ name }) => cloud.docker(name, 'ps', '-q', '--filter', label)),
  );
  return printed.join('\n').split('\n').filter(Boolean).length;
}

async function allReady(): Promise<boolean> {
  return (await cloud.swarmNodes()).every(({ Status }) => Status.State === 'ready');
}

async function leader(): Promise<string> {
  let found: string | undefined;
  await cloud.until('somebody leads', async () => {
    found = await cloud.leader();
    return found !== undefined;
  });
  return found ?? '';
}

function managersBut(name: string): string[] {
  return cloud.managers.map((node) => node.name).filter((each) => each !== name);
}

/** Whether a manager takes a change. */
async function takesChange(node: string): Promise<boolean> {
  return await cloud.docker(node, 'node', 'update', '--label-add', `at=${Date.now()}`, node).then(
    () => true,
    () => false,
  );
}

for (const order of ['stop-first', 'start-first'])
  test(`an update loses no request: ${order}`, async () => {
    const fromMs = Date.now();
    await cloud.docker(
      ...(['node1', 'service', 'update', '--quiet', '--detach=false', '--update-order', order] as const),
      ...(['--update-monitor', '500ms', '--args', `/node /drill/web-server.ts ${order}`, 'web'] as const),
    );
    assert.equal((await cloud.service()).UpdateStatus?.State, 'completed');
    const args = (await cloud.serving()).map(({ Spec }) => Spec.ContainerSpec.Args);
    assert.deepEqual(args, Array(REPLICAS).fill(['/node', '/drill/web-server.ts', order]));
    await losesNothing(fromMs);
  });

test('when all daemons are killed, containers go on and serve, and are found again', async () => {
  const was = await containers();
  const fromMs = Date.now();
  await Promise.all(cloud.nodes.map(({ name }) => cloud.cloud('kill', 'c', name)));
  await losesNothing(fromMs);
  await Promise.all(cloud.nodes.map(({ name }) => cloud.cloud('start', 'c', name)));
  await cloud.until('all are back', async () => (await allReady()) && (await cloud.allRun()));
  assert.deepEqual(await containers(), was);
  assert.equal(await containersThere(), REPLICAS, 'nothing runs twice');
  await losesNothing(fromMs);
});

test("when the leader's daemon is killed, another leads, and the cluster does what it is asked", async () => {
  const first = await leader();
  const [other = ''] = managersBut(first);
  const fromMs = Date.now();
  await cloud.cloud('kill', 'c', first);
  cloud.ask(...managersBut(first));
  await cloud.until('another leads', async () => ![undefined, first].includes(await cloud.leader()));
  await cloud.until('it is scaled', async () => {
    await cloud.docker(other, 'service', 'scale', '--detach', `web=${REPLICAS + 1}`);
    return true;
  });
  await cloud.until('one more runs', () => cloud.allRun());
  await cloud.cloud('start', 'c', first);
  cloud.ask();
  await cloud.until('it is back', allReady);
  await losesNothing(fromMs);
});

test('a crashed worker is the same node when it is back; what it ran is elsewhere', async () => {
  const id = (await cloud.swarmNodes()).find(({ Description }) => Description?.Hostname === 'node4')?.ID;
  cloud.spare('node4');
  await cloud.cloud('crash', 'c', 'node4');
  await cloud.until('it is lost', async () => (await cloud.nodeState('node4')) === 'down');
  await cloud.until('everything runs elsewhere', () => cloud.allRun());
  const fromMs = Date.now();
  await losesNothing(fromMs);
  await cloud.cloud('start', 'c', 'node4');
  cloud.spare();
  await cloud.until('it is back', allReady);
  const node = (await cloud.swarmNodes()).find(({ Description }) => Description?.Hostname === 'node4');
  assert.equal(node?.ID, id);
  await losesNothing(fromMs);
});

test('a single writer on a node that is cut off has ended before another one begins', async () => {
  // it begins on the node that no load comes from
  await cloud.docker('node1', 'node', 'update', '--availability', 'pause', 'node5');
  await cloud.docker(
    ...(['node1', 'service', 'create', '--name', 'writer', '--detach', '--no-resolve-image'] as const),
    ...(['--constraint', 'node.role==worker', '--mount', 'type=volume,src=data,dst=/data'] as const),
    ...(['busybox:latest', 'sleep', WRITER] as const),
  );
  await cloud.until('it runs', async () => (await cloud.serving('writer')).length === 1);
  await cloud.docker('node1', 'node', 'update', '--availability', 'active', 'node5');
  cloud.spare('node4');
  await cloud.cloud('cut', 'c', 'node4');
  assert.ok(await writes('node4'));
  let wasTwice = false;
  await cloud.until('it runs elsewhere', async () => {
    const hasBegun = await writes('node5');
    wasTwice ||= hasBegun && (await writes('node4'));
    return hasBegun;
  });
  assert.ok(!wasTwice, 'never two at once');
  await cloud.cloud('heal', 'c');
  cloud.spare();
  await cloud.until('it is back', allReady);
  await cloud.docker('node1', 'service', 'rm', 'writer');
});

/** Whether the writer's process is there, whatever anybody says of it. */
async function writes(node: string): Promise<boolean> {
  const processes = await cloud.cloud('exec', 'c', node, '--', 'busybox', 'ps', '-o', 'args');
  return processes.split('\n').includes(`sleep ${WRITER}`);
}

test('without a quorum everything goes on and nothing changes; with it again, it does', async () => {
  const [stays = '', ...cut] = cloud.managers.map(({ name }) => name);
  for (const name of cut) await cloud.cloud('crash', 'c', name);
  cloud.spare(...cut);
  await cloud.until('no change is taken', async () => !(await takesChange(stays)));
  const tasks = await cloud.docker(
    'node5',
    'ps',
    '-q',
    '--filter',
    'label=com.docker.swarm.service.name=client',
  );
  assert.notEqual(tasks, '', 'what runs goes on');
  for (const name of cut) await cloud.cloud('start', 'c', name);
  cloud.spare();
  await cloud.until('changes are taken', () => takesChange(stays));
  await cloud.steady();
});
