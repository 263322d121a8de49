import { setTimeout as delay } from 'node:timers/promises';
import type { LoadedCloud, Task } from '../test/support/loaded-cloud.ts';

/** What a fault did, in milliseconds since it was struck. */
export interface Outcome {
  /** When the cluster said that something is wrong. */
  readonly detectedMs?: number;
  /** When all that is wanted ran again. */
  readonly recoveredMs: number;
  /** What went on, or did not, in a few words. */
  readonly note?: string;
}

export interface Fault {
  readonly name: string;
  readonly title: string;
  /** What the design holds itself to. */
  readonly goal?: { readonly recoveredMs?: number; readonly failed?: number };
  strike(cloud: LoadedCloud): Promise<Outcome>;
  /** Makes it good again, where that is not part of it. */
  undo?(cloud: LoadedCloud): Promise<void>;
}

/** A daemon that a supervisor starts again, and one that stays away for longer than a node may be silent. */
const SHORT_MS = 2000;
const LONG_MS = 12_000;

export const FAULTS: readonly Fault[] = [
  {
    name: 'container-killed',
    title: 'a container is killed (restart delay 0)',
    goal: { recoveredMs: 1000 },
    strike: async (cloud) => {
      const [victim] = await cloud.serving();
      const node = await nameOf(cloud, victim);
      const container = victim?.Status.ContainerStatus?.ContainerID ?? '';
      const began = performance.now();
      const killed = cloud.docker(node, 'kill', container);
      const detectedMs = await since(
        began,
        cloud.until('it is seen', async () => !(await runs(cloud, victim))),
      );
      const recoveredMs = await since(
        began,
        cloud.until('it is replaced', () => cloud.allRun()),
      );
      await killed;
      return { detectedMs, recoveredMs };
    },
  },
  {
    name: 'leader-daemon-killed',
    title: "the leader's daemon is killed, a service is scaled",
    goal: { failed: 0 },
    strike: async (cloud) => {
      const leader = await leaderOf(cloud);
      const others = namesBut(cloud, leader);
      cloud.ask(...others);
      const began = performance.now();
      await cloud.cloud('kill', 'c', leader);
      const detectedMs = await since(began, otherLeads(cloud, leader));
      await scaleAt(cloud, others[0] ?? '', cloud.replicas + 1);
      return {
        detectedMs,
        recoveredMs: await since(
          began,
          cloud.until('it is scaled', () => cloud.allRun()),
        ),
      };
    },
    undo: async (cloud) => {
      await startAll(cloud);
      await scaleAt(cloud, 'node1', cloud.replicas);
    },
  },
  {
    name: 'worker-daemon-restarted',
    title: "a worker's daemon is killed (SIGKILL) and started after 2 s",
    goal: { failed: 0 },
    strike: async (cloud) => {
      const before = await containersOf(cloud);
      const began = performance.now();
      await cloud.cloud('kill', 'c', 'node4');
      await delay(SHORT_MS);
      await cloud.cloud('start', 'c', 'node4');
      const recoveredMs = await untilAllRun(cloud, began);
      return { recoveredMs, note: await sameContainers(cloud, before) };
    },
  },
  {
    name: 'worker-daemon-away',
    title: "a worker's daemon is killed (SIGKILL) and started after 12 s",
    goal: { failed: 0, recoveredMs: 10_000 },
    strike: async (cloud) => {
      const began = performance.now();
      await cloud.cloud('kill', 'c', 'node4');
      const detectedMs = await since(
        began,
        cloud.until('it is down', () => isDown(cloud, 'node4')),
      );
      const recoveredMs = await since(
        began,
        cloud.until('all run elsewhere', () => cloud.allRun()),
      );
      await delay(Math.max(0, LONG_MS - (performance.now() - began)));
      await cloud.cloud('start', 'c', 'node4');
      await cloud.until('it is back', async () => !(await isDown(cloud, 'node4')));
      return { detectedMs, recoveredMs };
    },
  },
  {
    name: 'all-daemons-killed',
    title: 'all daemons are killed (SIGKILL) and started again',
    goal: { failed: 0 },
    strike: async (cloud) => {
      const before = await containersOf(cloud);
      const began = performance.now();
      await Promise.all(cloud.nodes.map(({ name }) => cloud.cloud('kill', 'c', name)));
      await startAll(cloud);
      const recoveredMs = await untilAllRun(cloud, began);
      await cloud.until('all are back', () => allReady(cloud));
      return { recoveredMs, note: await sameContainers(cloud, before) };
    },
  },
  {
    name: 'worker-crashed',
    title: 'a worker machine crashes',
    goal: { recoveredMs: 10_000 },
    strike: (cloud) => lose(cloud, 'node4', () => cloud.cloud('crash', 'c', 'node4')),
    undo: startAll,
  },
  {
    name: 'worker-cut-off',
    title: 'a worker is cut off',
    goal: { recoveredMs: 10_000 },
    strike: (cloud) => lose(cloud, 'node4', () => cloud.cloud('cut', 'c', 'node4')),
    undo: heal,
  },
  {
    name: 'manager-cut-off',
    title: 'a manager that does not lead is cut off',
    goal: { recoveredMs: 10_000 },
    strike: async (cloud) => {
      const leader = await leaderOf(cloud);
      const [follower = ''] = namesBut(cloud, leader);
      cloud.ask(leader);
      return await lose(cloud, follower, () => cloud.cloud('cut', 'c', follower));
    },
    undo: heal,
  },
  {
    name: 'leader-cut-off',
    title: 'the leader is cut off',
    goal: { recoveredMs: 10_000 },
    strike: async (cloud) => {
      const leader = await leaderOf(cloud);
      cloud.ask(...namesBut(cloud, leader));
      return await lose(cloud, leader, () => cloud.cloud('cut', 'c', leader));
    },
    undo: heal,
  },
  {
    name: 'majority-cut-off',
    title: 'two of three managers are cut off, and healed after 12 s',
    strike: async (cloud) => {
      const leader = await leaderOf(cloud);
      const [stays = '', ...rest] = namesBut(cloud, leader);
      const cut = [leader, ...rest];
      cloud.spare(...cut);
      const began = performance.now();
      await Promise.all(cut.map((name) => cloud.cloud('cut', 'c', name)));
      cloud.ask(stays);
      const detectedMs = await since(
        began,
        cloud.until('nobody leads', async () => !(await canWrite(cloud, stays))),
      );
      await delay(Math.max(0, LONG_MS - (performance.now() - began)));
      const healed = performance.now();
      await cloud.cloud('heal', 'c');
      cloud.ask();
      await cloud.until('somebody leads', () => canWrite(cloud, stays));
      await cloud.until('all are back', () => allReady(cloud));
      await cloud.until('all run', () => cloud.allRun());
      cloud.spare();
      return { detectedMs, recoveredMs: performance.now() - healed, note: 'recovered after the healing' };
    },
    undo: heal,
  },
  {
    name: 'etcd-member-killed',
    title: 'one etcd is killed (SIGKILL)',
    goal: { failed: 0 },
    strike: (cloud) => killEtcd(cloud, ['node2']),
  },
  {
    name: 'etcd-majority-killed',
    title: 'two of three etcds are killed (SIGKILL)',
    goal: { failed: 0 },
    strike: (cloud) => killEtcd(cloud, ['node1', 'node2']),
  },
  {
    name: 'all-restarted',
    title: 'all machines crash and start again',
    strike: async (cloud) => {
      const began = performance.now();
      await Promise.all(cloud.nodes.map(({ name }) => cloud.cloud('crash', 'c', name)));
      await startAll(cloud);
      await cloud.until('all are back', () => allReady(cloud));
      return {
        recoveredMs: await untilAllRun(cloud, began),
      };
    },
  },
  {
    name: 'daemons-upgraded',
    title: 'each daemon is replaced (`drover cloud upgrade`), one after the other',
    goal: { failed: 0 },
    strike: async (cloud) => {
      const before = await containersOf(cloud);
      const began = performance.now();
      for (const { name } of cloud.nodes) {
        await cloud.cloud('upgrade', 'c', name);
        await cloud.until('all are back', () => allReady(cloud));
      }
      const recoveredMs = await untilAllRun(cloud, began);
      return { recoveredMs, note: await sameContainers(cloud, before) };
    },
  },
  {
    name: 'update-stop-first',
    title: 'a rolling update, stop-first, two at a time',
    goal: { failed: 0 },
    strike: (cloud) =>
      update(
        cloud,
        'completed',
        '--update-order',
        'stop-first',
        '--update-parallelism',
        '2',
        ...version('2'),
      ),
  },
  {
    name: 'update-start-first',
    title: 'a rolling update, start-first, two at a time',
    goal: { failed: 0 },
    strike: (cloud) =>
      update(
        cloud,
        'completed',
        '--update-order',
        'start-first',
        '--update-parallelism',
        '2',
        ...version('3'),
      ),
  },
  {
    name: 'rollback',
    title: 'a rollback',
    goal: { failed: 0 },
    strike: (cloud) => update(cloud, 'rollback_completed', '--rollback'),
  },
  {
    name: 'update-failing',
    title: 'an update that fails, and rolls back by itself',
    goal: { failed: 0 },
    strike: (cloud) =>
      update(
        cloud,
        'rollback_completed',
        ...['--update-failure-action', 'rollback', '--update-monitor', '3s', '--update-order', 'start-first'],
        ...['--args', '/node /drill/web-server.ts 4 failing'],
      ),
  },
  {
    name: 'update-deaf',
    title: 'stop-first of programs that ignore SIGTERM (grace 5 s)',
    goal: { failed: 0 },
    strike: async (cloud) => {
      const order = ['--update-order', 'stop-first', '--update-parallelism', '3'];
      await update(cloud, 'completed', ...order, '--args', '/node /drill/web-server.ts 5 deaf');
      return await update(cloud, 'completed', ...order, ...version('6'));
    },
  },
];

function version(text: string): string[] {
  return ['--args', `/node /drill/web-server.ts ${text}`];
}

async function since(began: number, until: Promise<unknown>): Promise<number> {
  await until;
  return performance.now() - began;
}

/** Milliseconds since `began` when every task that is wanted runs. */
function untilAllRun(cloud: LoadedCloud, began: number): Promise<number> {
  return since(
    began,
    cloud.until('all run', () => cloud.allRun()),
  );
}

async function leaderOf(cloud: LoadedCloud): Promise<string> {
  let leader: string | undefined;
  await cloud.until('somebody leads', async () => {
    leader = await cloud.leader();
    return leader !== undefined;
  });
  return leader ?? '';
}

function namesBut(cloud: LoadedCloud, manager: string): string[] {
  return cloud.managers.map(({ name }) => name).filter((name) => name !== manager);
}

async function nameOf(cloud: LoadedCloud, task: Task | undefined): Promise<string> {
  const nodes = await cloud.swarmNodes();
  return nodes.find(({ ID }) => ID === task?.NodeID)?.Description?.Hostname ?? '';
}

async function runs(cloud: LoadedCloud, task: Task | undefined): Promise<boolean> {
  return (await cloud.serving()).some(({ ID }) => ID === task?.ID);
}

async function isDown(cloud: LoadedCloud, node: string): Promise<boolean> {
  return (await cloud.nodeState(node)) === 'down';
}

async function allReady(cloud: LoadedCloud): Promise<boolean> {
  return (await cloud.swarmNodes()).every(({ Status }) => Status.State === 'ready');
}

function otherLeads(cloud: LoadedCloud, than: string): Promise<number> {
  return cloud.until('another leads', async () => {
    const leader = await cloud.leader();
    return leader !== undefined && leader !== than;
  });
}

async function scaleAt(cloud: LoadedCloud, node: string, replicas: number): Promise<void> {
  await cloud.until('it can be scaled', async () => {
    await cloud.docker(node, 'service', 'scale', '--detach', `web=${replicas}`);
    return true;
  });
}

async function startAll(cloud: LoadedCloud): Promise<void> {
  await Promise.all(cloud.nodes.map(({ name }) => cloud.cloud('start', 'c', name)));
  cloud.spare();
  cloud.ask();
}

async function heal(cloud: LoadedCloud): Promise<void> {
  await cloud.cloud('heal', 'c');
  cloud.spare();
  cloud.ask();
}

/** A node is gone from one moment to the next; its tasks have to run elsewhere. */
async function lose(cloud: LoadedCloud, node: string, strike: () => Promise<unknown>): Promise<Outcome> {
  cloud.spare(node);
  await delay(100);
  const began = performance.now();
  await strike();
  const detectedMs = await since(
    began,
    cloud.until('it is lost', () => isDown(cloud, node)),
  );
  return {
    detectedMs,
    recoveredMs: await since(
      began,
      cloud.until('all run elsewhere', () => cloud.allRun()),
    ),
  };
}

/** Task → container of all that serve. */
async function containersOf(cloud: LoadedCloud): Promise<Map<string, string>> {
  const tasks = await cloud.serving();
  return new Map(tasks.map(({ ID, Status }) => [ID, Status.ContainerStatus?.ContainerID ?? '']));
}

async function sameContainers(cloud: LoadedCloud, before: Map<string, string>): Promise<string> {
  const after = await containersOf(cloud);
  const same = [...before].filter(([task, container]) => after.get(task) === container).length;
  return `${same} of ${before.size} containers went on`;
}

/** Whether a manager can change something: a label of the service. */
async function canWrite(cloud: LoadedCloud, node: string): Promise<boolean> {
  try {
    await cloud.docker(node, 'node', 'update', '--label-add', `drill=${Date.now()}`, node);
    return true;
  } catch (error) {
    // a refusal is the answer
    return error === undefined;
  }
}

async function killEtcd(cloud: LoadedCloud, nodes: readonly string[]): Promise<Outcome> {
  const began = performance.now();
  await Promise.all(
    nodes.map((node) => cloud.cloud('exec', 'c', node, '--', 'busybox', 'killall', '-9', 'etcd')),
  );
  await cloud.until('changes are taken', () => canWrite(cloud, 'node1'));
  await cloud.until('all are back', () => allReady(cloud));
  return { recoveredMs: performance.now() - began, note: 'recovered: a change was taken' };
}

async function update(cloud: LoadedCloud, wanted: string, ...flags: string[]): Promise<Outcome> {
  const began = performance.now();
  const before = (await cloud.service()).UpdateStatus;
  await cloud.docker('node1', 'service', 'update', '--detach', '--quiet', ...flags, 'web');
  await cloud.until(`the update is ${wanted}`, async () => {
    const { UpdateStatus } = await cloud.service();
    return UpdateStatus?.State === wanted && JSON.stringify(UpdateStatus) !== JSON.stringify(before);
  });
  const recoveredMs = await untilAllRun(cloud, began);
  return { recoveredMs };
}
