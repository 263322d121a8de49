import { simulatedNode, simulatedService } from '#cluster/scheduler/simulated-cluster.ts';
import type { Write } from '#cluster/state/tables.ts';
import type { NodeRecord } from '#model/node.ts';
import { LeadingCluster } from './leading-cluster.ts';
import { mixedNode, mixedService, nodeId, seeded, spreadOver } from './mixed-services.ts';

type ServiceWrite = Extract<Write, { table: 'service'; put: unknown }>;
type RevisionWrite = Extract<Write, { table: 'revision'; put: unknown }>;

const SAMPLES = 30;
const LOST_SHARE = 0.1;
const UPDATED_TASKS = 10_000;
const UPDATED_AT_ONCE = 500;

export interface LeaderScale {
  readonly nodes: number;
  readonly sizes: readonly {
    /** That run then. */
    readonly tasks: number;
    /** From the first service's creation of this step to the last task's running. */
    readonly perSecond: number;
    /** From a task's failure to another's running in its place. */
    readonly changeMs: number;
  }[];
  readonly update: { readonly tasks: number; readonly seconds: number };
  readonly loss: { readonly nodes: number; readonly tasks: number; readonly seconds: number };
  readonly heapMiB: number;
}

/** The whole leader: from services to tasks that run, by way of every controller and the store. `sizes` are numbers of tasks, growing. */
export async function measureLeader(o: {
  nodes: number;
  tasksOfService: number;
  sizes: readonly number[];
  progress: (text: string) => void;
}): Promise<LeaderScale> {
  await using cluster = new LeadingCluster();
  await cluster.start();
  const random = seeded(4711);
  await cluster.write(
    Array.from({ length: o.nodes }, (_, at) => ({ table: 'node', put: nodeOf(at, random) }) as const),
  );
  const sizes: LeaderScale['sizes'][number][] = [];
  let services = 0;
  for (const size of o.sizes) {
    const before = cluster.running;
    const began = performance.now();
    for (; services * o.tasksOfService < size; services++) {
      await cluster.write(serviceOf(services, o.tasksOfService));
    }
    const wanted = services * o.tasksOfService;
    await cluster.until(() => cluster.running >= wanted);
    const perSecond = ((wanted - before) * 1000) / (performance.now() - began);
    const changeMs = await changeTime(cluster, wanted);
    sizes.push({ tasks: wanted, perSecond, changeMs });
    o.progress(`${wanted} tasks run, ${perSecond.toFixed(0)} a second; one change ${changeMs.toFixed(2)} ms`);
  }
  const heapMiB = process.memoryUsage().heapUsed / 2 ** 20;
  const update = await rollingUpdate(cluster);
  o.progress(`an update of ${update.tasks} tasks: ${update.seconds.toFixed(2)} s`);
  const loss = await loseNodes(cluster, o.nodes);
  o.progress(`${loss.tasks} tasks of lost nodes: ${loss.seconds.toFixed(2)} s`);
  return { nodes: o.nodes, sizes, update, loss, heapMiB };
}

/** Median of several, one after the other. */
async function changeTime(cluster: LeadingCluster, wanted: number): Promise<number> {
  const times: number[] = [];
  for (let at = 0; at < SAMPLES; at++) {
    const service = `service${at % Math.max(1, cluster.view.count('service'))}`;
    const task = cluster.view.tasksOfService(service).find(({ Status }) => Status.State === 'running');
    if (task === undefined) throw new Error(`no task of ${service} runs`);
    const began = performance.now();
    const Status = { ...task.Status, State: 'failed', Err: 'task: non-zero exit (1)' } as const;
    await cluster.write([{ table: 'task', put: { ...task, Status } }]);
    await cluster.until(() => cluster.running >= wanted);
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)] ?? Number.NaN;
}

async function rollingUpdate(cluster: LeadingCluster): Promise<LeaderScale['update']> {
  const before = cluster.running;
  const [service, revision] = serviceOf('updated', UPDATED_TASKS);
  await cluster.write([service, revision]);
  await cluster.until(() => cluster.running >= before + UPDATED_TASKS);
  const began = performance.now();
  const record = cluster.view.get('service', service.put.ID);
  if (record === undefined) throw new Error('the service is gone');
  await cluster.write([
    { table: 'service', put: { ...record, revision: 2, PreviousSpec: record.Spec, previousRevision: 1 } },
    { table: 'revision', put: { ...revision.put, ID: `${record.ID}.2`, number: 2 } },
  ]);
  await cluster.until(() => cluster.view.get('service', record.ID)?.UpdateStatus?.State === 'completed');
  return { tasks: UPDATED_TASKS, seconds: (performance.now() - began) / 1000 };
}

async function loseNodes(cluster: LeadingCluster, nodes: number): Promise<LeaderScale['loss']> {
  const wanted = cluster.running;
  const lost = spreadOver(nodes, LOST_SHARE).map(nodeId);
  let tasks = 0;
  for (const ID of lost) tasks += [...cluster.view.tasksOnNode(ID)].length;
  const began = performance.now();
  await cluster.write(
    lost.map((ID) => {
      const node = cluster.view.get('node', ID);
      if (node === undefined) throw new Error(`${ID} is gone`);
      return { table: 'node', put: { ...node, Status: { ...node.Status, State: 'down' } } } as const;
    }),
  );
  const alive = (): number => {
    let there = 0;
    for (const ID of lost)
      for (const task of cluster.view.tasksOnNode(ID)) there += Number(task.DesiredState === 'running');
    return there;
  };
  await cluster.until(() => cluster.running >= wanted && alive() === 0);
  return { nodes: lost.length, tasks, seconds: (performance.now() - began) / 1000 };
}

const NOW = new Date(0).toISOString();

function nodeOf(at: number, random: () => number): NodeRecord {
  return simulatedNode(nodeId(at), NOW, mixedNode(at, random));
}

function serviceOf(at: number | 'updated', replicas: number): [ServiceWrite, RevisionWrite] {
  const kind =
    at === 'updated' ? { mode: { Replicated: { Replicas: replicas } } } : mixedService(at, replicas);
  const { service, revision } = simulatedService(`service${at}`, NOW, kind);
  const UpdateConfig = { Parallelism: UPDATED_AT_ONCE, Monitor: 1e6 };
  return [
    { table: 'service', put: { ...service, Spec: { ...service.Spec, UpdateConfig } } },
    { table: 'revision', put: revision },
  ];
}
