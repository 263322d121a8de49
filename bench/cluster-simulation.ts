import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Scheduler } from '#cluster/scheduler/scheduler.ts';
import { SimulatedCluster } from '#cluster/scheduler/simulated-cluster.ts';
import { TABLE_NAMES, type ViewChange, type Write } from '#cluster/state/tables.ts';
import type { TaskRecord } from '#model/task.ts';
import { mixedNode, mixedService, nodeId, seeded, spreadOver } from './mixed-services.ts';

const DECILES = 10;
/** Single changes are sampled at each of these numbers of tasks. */
const SAMPLED_AT: readonly number[] = [1000, 10_000, 100_000, 1_000_000];
const SAMPLES = 300;
const LOST_SHARE = 0.1;

export interface ScaleOptions {
  readonly nodes: number;
  readonly services: number;
  /** Of each service. */
  readonly tasks: number;
  /** Writes of one decision. */
  readonly round: number;
  readonly progress: (text: string) => void;
}

/** What placing took of the scheduler alone: deciding, and seeing what was committed. */
export interface Placing {
  readonly placed: number;
  readonly waiting: number;
  readonly wallMs: number;
  /** Of the thread: what else the machine does is not in it. Coarse: good for sums only. */
  readonly cpuMs: number;
  readonly longestDecisionMs: number;
}

type Sums = { -readonly [K in keyof Placing]: number };

export interface ScaleResults {
  readonly nodes: number;
  readonly services: number;
  readonly deciles: readonly (Placing & { readonly reservedCpus: number; readonly reservedMemory: number })[];
  readonly loss: Placing & { readonly nodes: number; readonly tasks: number };
  readonly changes: readonly { readonly tasks: number; readonly medianMs: number; readonly p99Ms: number }[];
  readonly heap: { readonly viewBytes: number; readonly schedulerBytes: number };
  /** A new leader's scheduler takes in the whole view. */
  readonly takeoverMs: number;
}

/**
 * Fills a simulated cluster with tasks, in tenths; fails single tasks at several sizes; loses a tenth of the nodes at once. Committing is done
 * in memory and is no part of any time.
 */
export function measureScale(o: ScaleOptions): ScaleResults {
  const random = seeded(4711);
  const cluster = new SimulatedCluster();
  for (let at = 0; at < o.nodes; at += 1) cluster.node(nodeId(at), mixedNode(at, random));
  const deciles: ScaleResults['deciles'][number][] = [];
  const changes: ScaleResults['changes'][number][] = [];
  let present = 0;
  let service = 0;
  for (let decile = 1; decile <= DECILES; decile += 1) {
    const sums = nothing();
    // one service after the other would never have tasks of several services wait at once
    const until = Math.round((o.services * decile) / DECILES);
    while (service < until) {
      const wave = Math.min(until - service, waveSize(o, present));
      for (let at = 0; at < wave; at += 1, service += 1) {
        const id = `service${service}`;
        cluster.service(id, mixedService(service, o.tasks));
        cluster.tasks(id, o.tasks);
        present += o.tasks;
      }
      addPlacing(sums, place(cluster, o.round));
      if (SAMPLED_AT.includes(present)) changes.push({ tasks: present, ...sampleChanges(cluster, random) });
    }
    deciles.push({ ...sums, ...reservedOf(cluster) });
    o.progress(`${present} tasks: ${rateOf(sums).toFixed(0)} a second`);
  }
  const loss = loseNodes(cluster, o);
  o.progress(`${loss.tasks} tasks of ${loss.nodes} lost nodes: ${rateOf(loss).toFixed(0)} a second`);
  return { nodes: o.nodes, services: o.services, deciles, loss, changes, ...takeOver(cluster) };
}

/** Tasks placed in a second of the scheduler's time, by the clock. */
export function rateOf({ placed, wallMs }: Placing): number {
  return (placed * 1000) / wallMs;
}

/** Tasks placed in a second of its thread's processor time. */
export function cpuRateOf({ placed, cpuMs }: Placing): number {
  return (placed * 1000) / cpuMs;
}

/** So that the sizes at which changes are sampled are met. */
function waveSize({ tasks, services }: ScaleOptions, present: number): number {
  const next = SAMPLED_AT.find((size) => size > present) ?? Number.POSITIVE_INFINITY;
  return Math.max(1, Math.min(Math.ceil(services / 20), Math.floor((next - present) / tasks)));
}

function addPlacing(sums: Sums, more: Placing): void {
  sums.placed += more.placed;
  sums.waiting = more.waiting;
  sums.wallMs += more.wallMs;
  sums.cpuMs += more.cpuMs;
  sums.longestDecisionMs = Math.max(sums.longestDecisionMs, more.longestDecisionMs);
}

/** Decides and commits until there is nothing to decide. */
function place(cluster: SimulatedCluster, limit: number): Placing {
  const { scheduler, view } = cluster;
  const sums = nothing();
  for (;;) {
    const [wallMs, cpuMs] = [performance.now(), threadMs()];
    const { writes } = scheduler.decide(view, { nowMs: cluster.nowMs, limit, strategy: 'spread' });
    const decisionMs = performance.now() - wallMs;
    sums.wallMs += decisionMs;
    sums.cpuMs += threadMs() - cpuMs;
    sums.longestDecisionMs = Math.max(sums.longestDecisionMs, decisionMs);
    if (writes.length === 0) return sums;
    for (const write of writes) {
      if (write.table !== 'task' || !('put' in write)) continue;
      if (write.put.NodeID === '') sums.waiting += 1;
      else sums.placed += 1;
    }
    observe(scheduler, cluster.commit(writes), sums);
  }
}

function observe(scheduler: Scheduler, changes: readonly ViewChange[], sums: Sums): void {
  const [wallMs, cpuMs] = [performance.now(), threadMs()];
  for (const change of changes) scheduler.observe(change);
  sums.wallMs += performance.now() - wallMs;
  sums.cpuMs += threadMs() - cpuMs;
}

function nothing(): Sums {
  return { placed: 0, waiting: 0, wallMs: 0, cpuMs: 0, longestDecisionMs: 0 };
}

function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Fails one running task and makes one in its place, again and again: what the scheduler takes for each. */
function sampleChanges(cluster: SimulatedCluster, random: () => number): { medianMs: number; p99Ms: number } {
  const { scheduler, view } = cluster;
  const placed = [...view.all('task')].filter(({ NodeID }) => NodeID !== '');
  const samples: number[] = [];
  for (let at = 0; at < SAMPLES; at += 1) {
    const task = placed[Math.floor(random() * placed.length)];
    if (task === undefined || view.get('task', task.ID)?.Status.State !== 'assigned') continue;
    // failures that are old do not send tasks elsewhere
    cluster.nowMs += 60_000;
    const failed = cluster.commit([{ table: 'task', put: ended(task, 'failed', cluster.now) }]);
    const replaced = cluster.commit([
      { table: 'task', put: replacement(task, `change${samples.length}.${view.revision}`) },
    ]);
    const sums = nothing();
    observe(scheduler, [...failed, ...replaced], sums);
    const began = performance.now();
    const { writes } = scheduler.decide(view, { nowMs: cluster.nowMs, limit: 100, strategy: 'spread' });
    sums.wallMs += performance.now() - began;
    observe(scheduler, cluster.commit(writes), sums);
    samples.push(sums.wallMs);
    // the number of tasks stays what it says
    cluster.apply([{ table: 'task', delete: task.ID }]);
  }
  samples.sort((a, b) => a - b);
  const quantile = (part: number): number => samples[Math.floor(samples.length * part)] ?? Number.NaN;
  return { medianMs: quantile(0.5), p99Ms: quantile(0.99) };
}

/** A tenth of the nodes goes down; their tasks are ended and made anew, as the orchestrator does. */
function loseNodes(cluster: SimulatedCluster, o: ScaleOptions): ScaleResults['loss'] {
  const { scheduler, view } = cluster;
  const lost = spreadOver(o.nodes, LOST_SHARE).map(nodeId);
  const writes: Write[] = [];
  let tasks = 0;
  for (const id of lost) {
    const node = view.get('node', id);
    if (node === undefined) continue;
    writes.push({ table: 'node', put: { ...node, Status: { ...node.Status, State: 'down' } } });
    for (const task of view.tasksOnNode(id)) {
      tasks += 1;
      writes.push({ table: 'task', put: ended(task, 'orphaned', cluster.now) });
      writes.push({ table: 'task', put: replacement(task, `again${tasks}`) });
    }
  }
  const sums = nothing();
  observe(scheduler, cluster.commit(writes), sums);
  addPlacing(sums, place(cluster, o.round));
  return { ...sums, nodes: lost.length, tasks };
}

function ended(task: TaskRecord, State: 'failed' | 'orphaned', Timestamp: string): TaskRecord {
  return { ...task, DesiredState: 'shutdown', Status: { ...task.Status, State, Timestamp } };
}

function replacement(task: TaskRecord, ID: string): TaskRecord {
  const { AssignedGenericResources: _, ...rest } = task;
  const Status = { ...task.Status, State: 'pending' } as const;
  return { ...rest, ID, NodeID: '', attempt: task.attempt + 1, replaces: task.ID, Status };
}

function reservedOf(cluster: SimulatedCluster): { reservedCpus: number; reservedMemory: number } {
  const sums = { cpus: 0, usedCpus: 0, memory: 0, usedMemory: 0 };
  for (const node of cluster.scheduler.table.nodes) {
    sums.cpus += node.nanoCpus;
    sums.usedCpus += node.reservedNanoCpus;
    sums.memory += node.memoryBytes;
    sums.usedMemory += node.reservedMemoryBytes;
  }
  return { reservedCpus: sums.usedCpus / sums.cpus, reservedMemory: sums.usedMemory / sums.memory };
}

/** What a second scheduler takes that begins with the whole view, and the memory of both. */
function takeOver(cluster: SimulatedCluster): Pick<ScaleResults, 'heap' | 'takeoverMs'> {
  const { view } = cluster;
  const before = heapBytes();
  const scheduler = new Scheduler();
  const began = performance.now();
  for (const table of TABLE_NAMES) {
    for (const after of view.all(table))
      scheduler.observe({ table, id: after.ID, before: undefined, after } as ViewChange);
  }
  const takeoverMs = performance.now() - began;
  const schedulerBytes = heapBytes() - before;
  // named here so that it is alive until its memory was measured
  if (scheduler.table.nodes.size === 0) throw new Error('the view has no nodes');
  return { heap: { viewBytes: before - schedulerBytes, schedulerBytes }, takeoverMs };
}

function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect === 'function') collect();
  return process.memoryUsage().heapUsed;
}
