import type { AssignedTask } from '#cluster/agent/assigned-task.ts';
import { updateRulesOf } from '#cluster/controllers/service-defaults.ts';
import { ClusterView } from '#cluster/state/cluster-view.ts';
import { transactionOf } from '#cluster/state/record-transaction.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import { MemoryDatabase } from '#cluster/store/memory-database.ts';
import { MemoryNetwork } from '#cluster/transport/memory-network.ts';
import { ManualClock } from '#control/manual-clock.ts';
import { idOf } from '#control/random.ts';
import type { NodeRecord } from '#model/node.ts';
import { checkStore } from './invariants.ts';
import { SeededRandom } from './seeded-random.ts';
import { SimulatedEngine } from './simulated-engine.ts';
import { SimulatedNode } from './simulated-node.ts';

export const OVERLAY = 'overlay';
export const INGRESS = 'ingress';
const GIB = 2 ** 30;
/** How long a node that is back may take to end what was given to others. */
const RETURN_MS = 10_000;

/** Something that must never be was seen. */
export class InvariantBroken extends Error {}

export interface ClusterSize {
  readonly managers: number;
  readonly workers: number;
}

/**
 * A whole cluster in one process and one thread: real control planes and agents, a store, a clock, a network and engines that are
 * simulated. Everything that happens follows from the seed.
 */
export class SimulatedCluster implements Disposable {
  readonly random: SeededRandom;
  readonly clock: ManualClock = new ManualClock();
  readonly network: MemoryNetwork;
  readonly database: MemoryDatabase;
  readonly nodes: readonly SimulatedNode[];
  /** The store as it is, without delay: what a client that asks would be told. */
  readonly truth: ClusterView = new ClusterView();
  readonly #onTrace: (text: string) => void;
  readonly #broken: InvariantBroken[] = [];
  /** Until when each node was lost; infinity for those that are. */
  readonly #lostMs = new Map<string, number>();
  #ids = 0;

  constructor(seed: number, size: ClusterSize, onTrace: (text: string) => void) {
    this.random = new SeededRandom(seed);
    this.#onTrace = onTrace;
    this.network = new MemoryNetwork({
      clock: this.clock,
      random: this.random.fork(),
      report: (error) => this.trace(`a handler failed: ${String(error)}`),
      delayMs: { least: 0, most: 20 },
    });
    this.database = new MemoryDatabase({ clock: this.clock, historyLimit: 500 });
    const managers = Array.from({ length: size.managers }, (_, i) => `manager${i + 1}`);
    const workers = Array.from({ length: size.workers }, (_, i) => `worker${i + 1}`);
    this.nodes = [...managers, ...workers].map((id, index) => {
      const record = this.#nodeRecord(id, managers.includes(id), index);
      this.write([{ table: 'node', put: record }]);
      return new SimulatedNode({
        id,
        isManager: managers.includes(id),
        engine: this.#engine(id),
        clock: this.clock,
        random: this.random.fork(),
        network: this.network,
        database: this.database,
        managers,
        description: { ...description(id, index) },
        trace: (text) => this.trace(text),
      });
    });
    this.write([
      { table: 'network', put: this.#network(OVERLAY, '10.1.0.0/26', false) },
      { table: 'network', put: this.#network(INGRESS, '10.0.0.0/24', true) },
    ]);
  }

  [Symbol.dispose](): void {
    for (const node of this.nodes) node.kill();
    this.database[Symbol.dispose]();
  }

  get now(): string {
    return new Date(this.clock.nowMs()).toISOString();
  }

  id(prefix: string): string {
    this.#ids += 1;
    return `${prefix}${this.#ids}`;
  }

  trace(text: string): void {
    this.#onTrace(`${String(this.clock.nowMs() - 1_000_000).padStart(7)} ${text}`);
  }

  /** What a client's call writes, done at once and for good. */
  write(writes: readonly Write[]): void {
    this.observe();
    const result = this.database.commit(transactionOf(this.truth, writes));
    if (!result.committed) throw new Error('the client was not up to date');
    this.observe();
  }

  /** Lets time pass until `untilMs` of the clock, looking after every step. */
  async runUntil(untilMs: number): Promise<void> {
    while (await this.clock.wakeNext(untilMs)) {
      this.observe();
      const [broken] = this.#broken;
      if (broken !== undefined) throw broken;
    }
    await this.clock.advance(Math.max(0, untilMs - this.clock.nowMs()));
  }

  /** Takes in what was committed, and looks whether it may be. */
  observe(): void {
    for (;;) {
      const batch = this.database.log.after(this.truth.revision);
      if (batch === undefined) return;
      const changes = this.truth.apply(batch);
      for (const change of changes) this.#tell(change);
      for (const fault of checkStore(this.truth, changes)) this.break(fault);
    }
  }

  break(what: string): void {
    this.trace(`BROKEN: ${what}`);
    this.#broken.push(new InvariantBroken(`at ${this.clock.nowMs() - 1_000_000} ms: ${what}`));
  }

  #tell(change: ViewChange): void {
    const { table, id, before, after } = change;
    if (table === 'node' && after?.Status.State === 'down') this.#lostMs.set(id, Number.POSITIVE_INFINITY);
    if (
      table === 'node' &&
      after?.Status.State === 'ready' &&
      this.#lostMs.get(id) === Number.POSITIVE_INFINITY
    )
      this.#lostMs.set(id, this.clock.nowMs());
    if (table === 'task') {
      const text = (task: typeof after): string =>
        task === undefined ? '–' : `${task.Status.State}/${task.DesiredState}@${task.NodeID}`;
      const place = after ?? before;
      const err = after?.Status.Err === undefined ? '' : ` (${after.Status.Err})`;
      const why = after?.waiting === undefined ? '' : ` waits: ${after.waiting.reason}`;
      this.trace(
        `task ${id.slice(0, 6)} ${place?.ServiceID}.${place?.Slot} r${place?.revision}: ${text(before)} → ${text(after)}${err}${why}`,
      );
    } else if (table === 'node') {
      this.trace(`node ${id}: ${before?.Status.State} → ${after?.Status.State} ${after?.Spec.Availability}`);
    } else if (table === 'service') {
      const status = after?.UpdateStatus?.State ?? '';
      this.trace(`service ${id}: revision ${after?.revision} ${status} ${JSON.stringify(after?.Spec.Mode)}`);
    }
  }

  #engine(nodeId: string): SimulatedEngine {
    return new SimulatedEngine({
      clock: this.clock,
      random: this.random.fork(),
      onStart: (task) => this.#started(nodeId, task),
      onStop: () => undefined,
    });
  }

  /** A container has begun to run: what must not be at once is seen here. */
  #started(nodeId: string, task: AssignedTask): void {
    this.trace(`${nodeId}: runs ${task.id.slice(0, 6)} ${task.serviceId}.${task.slot}`);
    const record = this.truth.get('task', task.id);
    if (record !== undefined && record.NodeID !== nodeId) {
      this.break(`task ${task.id} of ${record.NodeID} runs on ${nodeId}`);
    }
    for (const node of this.nodes) {
      for (const other of node.engine.running) {
        if (other.task.id !== task.id) this.#compare(node, other.task, task);
        else if (node.id !== nodeId) this.break(`task ${task.id} runs on ${node.id} and ${nodeId}`);
      }
    }
  }

  #compare(node: SimulatedNode, other: AssignedTask, task: AssignedTask): void {
    for (const { networkId, address } of task.networks) {
      if (other.networks.some((each) => each.networkId === networkId && each.address === address)) {
        this.break(`address ${address} is of ${task.id} and of ${other.id} on ${node.id}`);
      }
    }
    if (other.serviceId !== task.serviceId || placeOf(other) !== placeOf(task)) return;
    if (task.singleWriter) {
      this.break(`single writer ${task.serviceName} runs twice: ${task.id} and ${other.id} on ${node.id}`);
      return;
    }
    // a node that was given up and is back ends what was given to others as soon as it hears of it
    const lostMs = this.#lostMs.get(node.id) ?? Number.NEGATIVE_INFINITY;
    if (lostMs + RETURN_MS > this.clock.nowMs() || this.#overlaps(task)) return;
    this.break(`${task.serviceName}.${task.slot} runs twice: ${task.id} and ${other.id} on ${node.id}`);
  }

  /** Two tasks of a place at once are allowed where a new one is started before the old one is ended. */
  #overlaps(task: AssignedTask): boolean {
    const service = this.truth.get('service', task.serviceId);
    if (service === undefined) return true;
    const { Spec, PreviousSpec } = service;
    return [Spec, PreviousSpec].some(
      (spec) =>
        updateRulesOf(spec?.UpdateConfig).startFirst || updateRulesOf(spec?.RollbackConfig).startFirst,
    );
  }

  #nodeRecord(id: string, isManager: boolean, index: number): NodeRecord {
    return {
      ID: id,
      CreatedAt: this.now,
      UpdatedAt: this.now,
      Spec: {
        Role: isManager ? 'manager' : 'worker',
        Availability: 'active',
        Labels: { zone: index % 2 === 0 ? 'a' : 'b' },
      },
      Description: description(id, index),
      Status: { State: 'ready', Addr: id, since: this.now },
      address: id,
      ...(isManager ? { ManagerStatus: { Addr: id } } : {}),
    };
  }

  #network(
    id: string,
    Subnet: string,
    Ingress: boolean,
  ): Extract<Write, { table: 'network'; put: unknown }>['put'] {
    return {
      ID: id,
      CreatedAt: this.now,
      UpdatedAt: this.now,
      Name: id,
      Driver: 'overlay',
      Labels: {},
      Options: {},
      Internal: false,
      Attachable: false,
      Ingress,
      EncryptedOption: false,
      IPAM: { Driver: 'default', Options: null, Config: [{ Subnet }] },
      vni: Ingress ? 4096 : 4097,
    };
  }
}

function placeOf(task: AssignedTask): string {
  return task.slot === 0 ? task.nodeId : String(task.slot);
}

function description(id: string, index: number): NonNullable<NodeRecord['Description']> {
  return {
    Hostname: id,
    Platform: { Architecture: 'x86_64', OS: 'linux' },
    Resources: { NanoCPUs: (2 + (index % 3)) * 1e9, MemoryBytes: (2 + (index % 3)) * GIB },
    Engine: { EngineVersion: '1', Labels: {}, Plugins: [] },
  };
}

/** For records that need an ID of the right form. */
export function idFrom(random: SeededRandom): string {
  return idOf(Uint8Array.from({ length: 16 }, () => random.below(256)));
}
