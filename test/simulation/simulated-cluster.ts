import { setImmediate as turn } from 'node:timers/promises';
import { firstSwarm } from '#cluster/control/swarm-spec.ts';
import { parseLeader } from '#cluster/controllers/election.ts';
import { ClusterView } from '#cluster/state/cluster-view.ts';
import { transactionOf } from '#cluster/state/record-transaction.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import { MemoryDatabase } from '#cluster/store/memory-database.ts';
import type { Transaction } from '#cluster/store/store.ts';
import { MemoryNetwork } from '#cluster/transport/memory-network.ts';
import { ManualClock } from '#control/manual-clock.ts';
import type { NodeRecord } from '#model/node.ts';
import { checkGiven, checkToldTasks } from './given-secrets.ts';
import { checkStore } from './invariants.ts';
import { checkReleases } from './releases.ts';
import { RunningPromise } from './running-promise.ts';
import { RunningTasks } from './running-tasks.ts';
import { SeededRandom } from './seeded-random.ts';
import { SimulatedContainers } from './simulated-containers.ts';
import { SimulatedEngine } from './simulated-engine.ts';
import { SimulatedNode } from './simulated-node.ts';
import { EPOCH_MS, type World } from './world.ts';

export const OVERLAY = 'overlay';
const GIB = 2 ** 30;
/** What a sound disk takes at most. */
const DISK_MS = 4;

/** Something that must never be was seen. */
export class InvariantBroken extends Error {}

export interface ClusterSize {
  readonly managers: number;
  readonly workers: number;
}

/**
 * A whole cluster in one process and one thread: real control planes, controls and agents; a store, a clock, a network and engines that
 * are simulated. Everything that happens follows from the seed. What must never be is looked for after every step.
 */
export class SimulatedCluster implements Disposable {
  readonly random: SeededRandom;
  readonly clock: ManualClock = new ManualClock();
  readonly network: MemoryNetwork;
  readonly database: MemoryDatabase;
  readonly nodes: SimulatedNode[] = [];
  /** The store as it is, without delay. */
  readonly truth: ClusterView = new ClusterView();
  diskMs: number = DISK_MS;
  /** Looked at where nothing goes wrong. */
  readonly promise: RunningPromise | undefined;
  readonly #onTrace: (text: string) => void;
  readonly #broken: InvariantBroken[] = [];
  readonly #running: RunningTasks;
  /** Revision of a leader's round → who led when it was made. */
  readonly #leaders = new Map<number, string>();
  #joined = 0;
  #workers = 0;
  #hasChanged = false;
  #isOver = false;

  constructor(seed: number, size: ClusterSize, o: { isCalm: boolean; onTrace: (text: string) => void }) {
    this.random = new SeededRandom(seed);
    this.#onTrace = o.onTrace;
    this.promise = o.isCalm ? new RunningPromise() : undefined;
    this.network = new MemoryNetwork({
      clock: this.clock,
      random: this.random.fork(),
      report: (error) => this.trace(`a handler failed: ${String(error)}`),
      delayMs: { least: 0, most: 20 },
    });
    this.database = new MemoryDatabase({ clock: this.clock, historyLimit: 500 });
    this.#running = new RunningTasks(this.truth, this.clock, this.nodes);
    this.#write(
      firstSwarm({
        ...{ id: 'swarm', ingressId: 'ingress', now: this.now },
        spec: { Orchestration: { TaskHistoryRetentionLimit: this.random.below(3) } },
        ...{ defaultAddrPool: [], subnetSize: 0, dataPathPort: 0, rootCertificate: '', sealedRootKey: '' },
        sealedUnlockKey: '',
        joinTokens: { Worker: 'worker', Manager: 'manager' },
      }),
    );
    this.#write([{ table: 'network', put: this.#overlay() }]);
    for (let i = 1; i <= size.managers; i++) this.#join(`manager${i}`, true);
    // who joins is told where managers are
    for (const node of this.nodes) node.managersAre(this.#managersOf(this.truth));
    for (let i = 0; i < size.workers; i++) this.join();
  }

  [Symbol.dispose](): void {
    // what its parts still say while they end is no part of the story
    this.#isOver = true;
    for (const node of this.nodes) node.kill();
    this.database[Symbol.dispose]();
  }

  get now(): string {
    return new Date(EPOCH_MS + this.clock.nowMs()).toISOString();
  }

  trace(text: string): void {
    if (this.#isOver) return;
    this.#onTrace(`${String(this.clock.nowMs() - 1_000_000).padStart(7)} ${text}`);
  }

  /** A new worker, which does not run yet. */
  join(): SimulatedNode {
    this.#workers += 1;
    return this.#join(`worker${this.#workers}`, false);
  }

  /** A machine is taken away. */
  drop(node: SimulatedNode): void {
    if (!this.nodes.includes(node)) return;
    this.trace(`${node.id} leaves`);
    node.leave();
    this.nodes.splice(this.nodes.indexOf(node), 1);
  }

  /** Lets time pass until `untilMs` of the clock, looking after every step. */
  async runUntil(untilMs: number): Promise<void> {
    for (let hasWoken = true; hasWoken; ) {
      // what follows from the last one may take a turn more
      await turn();
      hasWoken = await this.clock.wakeNext(untilMs);
      while (await this.clock.wakeNext(untilMs)) this.#look();
      this.#look();
    }
    await this.clock.advance(Math.max(0, untilMs - this.clock.nowMs()));
    this.#look();
  }

  break(what: string): void {
    this.trace(`BROKEN: ${what}`);
    this.#broken.push(new InvariantBroken(`at ${this.clock.nowMs() - 1_000_000} ms: ${what}`));
  }

  #look(): void {
    this.#observe();
    if (this.promise !== undefined && this.#hasChanged) {
      this.#hasChanged = false;
      this.#breakAll(this.promise.broken((id) => this.#running.count(id)));
    }
    const [broken] = this.#broken;
    if (broken !== undefined) throw broken;
  }

  /** Takes in what was committed, and looks whether it may be. */
  #observe(): void {
    for (;;) {
      const batch = this.database.log.after(this.truth.revision);
      if (batch === undefined) return;
      const changes = this.truth.apply(batch);
      this.#leaders.set(batch.revision, parseLeader(this.truth.leader)?.nodeId ?? 'nobody');
      for (const change of changes) this.#tell(change);
      this.#breakAll(checkStore(this.truth, changes));
      this.#breakAll(checkReleases(this.truth, changes));
      this.#hasChanged = true;
    }
  }

  #breakAll(faults: Iterable<string>): void {
    for (const fault of faults) this.break(fault);
  }

  #join(id: string, isManager: boolean): SimulatedNode {
    const index = this.#joined++;
    this.#write([{ table: 'node', put: this.#nodeRecord(id, isManager, index) }]);
    const node = new SimulatedNode({
      ...{ id, isManager, engine: this.#engine(id), random: this.random.fork() },
      containers: this.#containers(id),
      managers: this.#managersOf(this.truth),
      description: description(id, index),
      world: this.#world,
    });
    this.nodes.push(node);
    return node;
  }

  get #world(): World {
    const { clock, network, database } = this;
    return {
      ...{ clock, network, database },
      managers: (view) => this.#managersOf(view ?? this.truth),
      members: () => this.nodes.filter(({ manages }) => manages).map(({ id }) => ({ name: id })),
      expel: (nodeId) => this.nodes.find(({ id }) => id === nodeId)?.expel(),
      isDisowned: (nodeId) => this.#isDisowned(nodeId),
      diskMs: () => this.diskMs,
      trace: (text) => this.trace(text),
      onMessage: (nodeId, message) => this.#breakAll(checkToldTasks(this.truth, nodeId, message)),
      onCommit: (nodeId, transaction, revision) => this.#committed(nodeId, transaction, revision),
    };
  }

  #managersOf(view: ClusterView): string[] {
    return [...view.all('node')]
      .filter(({ ManagerStatus }) => ManagerStatus !== undefined)
      .map(({ ID }) => ID);
  }

  #isDisowned(nodeId: string): boolean {
    return this.nodes.some(({ id, view }) => {
      if (id === nodeId || view === undefined || view.count('node') === 0) return false;
      if (this.network.isCut(id, nodeId) || this.network.isCut(nodeId, id)) return false;
      return view.get('node', nodeId)?.Spec.Role !== 'manager';
    });
  }

  /** A round is written by who leads, and by nobody else. */
  #committed(nodeId: string, { puts }: Transaction, revision: number): void {
    if (!puts.some(({ key }) => key === 'control/round')) return;
    const leader = this.#leaders.get(revision) ?? parseLeader(this.truth.leader)?.nodeId;
    if (leader !== nodeId) this.break(`${nodeId} wrote a round while ${leader} led`);
  }

  /** What was there before anybody could ask for it. */
  #write(writes: readonly Write[]): void {
    const result = this.database.commit(transactionOf(this.truth, writes));
    if (!result.committed) throw new Error('the cluster is not what it was');
    this.#observe();
  }

  #tell(change: ViewChange): void {
    this.#running.observe(change);
    const { table, id, before, after } = change;
    if (table === 'service') this.promise?.observe(id, after);
    if (table === 'task') {
      const text = (task: typeof after): string =>
        task === undefined ? '–' : `${task.Status.State}/${task.DesiredState}@${task.NodeID}`;
      const place = after ?? before;
      const err = after?.Status.Err === undefined ? '' : ` (${after.Status.Err})`;
      const why = after?.waiting === undefined ? '' : ` waits: ${after.waiting.reason}`;
      this.trace(
        `task ${id.slice(0, 6)} ${place?.ServiceID.slice(0, 6)}.${place?.Slot} r${place?.revision}: ${text(before)} → ${text(after)}${err}${why}`,
      );
    } else if (table === 'attachment') {
      const text = (record: typeof after): string => (record === undefined ? '–' : record.address || 'new');
      const { containerId, nodeId } = after ?? before ?? {};
      this.trace(`attachment of ${containerId} on ${nodeId}: ${text(before)} → ${text(after)}`);
    } else if (table === 'node') {
      this.trace(`node ${id}: ${before?.Status.State} → ${after?.Status.State} ${after?.Spec.Availability}`);
    } else if (table === 'release') {
      const { State = 'gone', Message = '' } = after?.status ?? {};
      this.trace(`release ${id}: ${before?.status.State} → ${State} ${Message}`);
    } else if (table === 'service') {
      const status = after?.UpdateStatus?.State ?? '';
      const mode = after?.removing === true ? 'removing' : JSON.stringify(after?.Spec.Mode);
      this.trace(
        `service ${id.slice(0, 6)} ${after?.Spec.Name}: revision ${after?.revision} ${status} ${mode}`,
      );
    }
  }

  #engine(nodeId: string): SimulatedEngine {
    return new SimulatedEngine({
      clock: this.clock,
      random: this.random.fork(),
      onStart: (task) => {
        this.trace(`${nodeId}: runs ${task.id.slice(0, 6)} ${task.serviceName}.${task.slot}`);
        this.#breakAll(this.#running.started(nodeId, task));
      },
      onPrepare: (task) => this.#breakAll(checkGiven(this.truth, nodeId, task)),
      onChange: () => {
        this.#hasChanged = true;
      },
    });
  }

  #containers(nodeId: string): SimulatedContainers {
    return new SimulatedContainers({
      onRun: (container) => this.#breakAll(this.#running.attached(nodeId, container)),
      trace: (text) => this.trace(`${nodeId}: ${text}`),
    });
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

  #overlay(): Extract<Write, { table: 'network'; put: unknown }>['put'] {
    return {
      ...{ ID: OVERLAY, CreatedAt: this.now, UpdatedAt: this.now, Name: OVERLAY, Driver: 'overlay' },
      ...{ Labels: {}, Options: {}, Attachable: true, Ingress: false, EncryptedOption: false },
      Internal: this.random.chance(30),
      IPAM: { Driver: 'default', Options: null, Config: [{ Subnet: '10.1.0.0/26', Gateway: '10.1.0.1' }] },
      vni: 5000,
    };
  }
}

function description(id: string, index: number): NonNullable<NodeRecord['Description']> {
  return {
    Hostname: id,
    Platform: { Architecture: 'x86_64', OS: 'linux' },
    Resources: { NanoCPUs: (2 + (index % 3)) * 1e9, MemoryBytes: (2 + (index % 3)) * GIB },
    Engine: { EngineVersion: '1', Labels: {}, Plugins: [] },
  };
}
