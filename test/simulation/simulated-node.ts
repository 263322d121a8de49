import { Agent, type HeardLeader } from '#cluster/agent/agent.ts';
import { ATTACHMENTS_METHOD, attachmentsHandler } from '#cluster/attachments/attachment-protocol.ts';
import { ClusterControl } from '#cluster/control/cluster-control.ts';
import { ControlPlane } from '#cluster/control-plane.ts';
import { parseLeader } from '#cluster/controllers/election.ts';
import { nodeFit } from '#cluster/scheduler/node-fit.ts';
import { Scheduler } from '#cluster/scheduler/scheduler.ts';
import { isSingleWriter } from '#cluster/scheduler/single-writer.ts';
import type { MemoryDatabase } from '#cluster/store/memory-database.ts';
import { MemoryStore } from '#cluster/store/memory-store.ts';
import type { CommitResult, Transaction } from '#cluster/store/store.ts';
import type { MemoryNetwork } from '#cluster/transport/memory-network.ts';
import type { ManualClock } from '#control/manual-clock.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import type { NodeDescription } from '#model/node.ts';
import { ProcessClock, ProcessTransport } from './process-clock.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { SimulatedContainers } from './simulated-containers.ts';
import type { SimulatedEngine } from './simulated-engine.ts';

export const TIMES = { heartbeatMs: 1000, lostAfterMs: 5000, fencingMs: 5000, killMs: 2000, drainMs: 3000 };

/** The date at the clock's zero: the beginning of 2030. */
export const EPOCH_MS: number = Date.UTC(2030, 0);

/** What all machines of a cluster have in common. */
export interface World {
  readonly clock: ManualClock;
  readonly network: MemoryNetwork;
  readonly database: MemoryDatabase;
  readonly managers: readonly string[];
  /** Milliseconds that a disk takes at most, now. */
  diskMs(): number;
  trace(text: string): void;
  /** A node's process is told something by who says that it leads. */
  onMessage(nodeId: string, message: unknown): void;
  /** A commit of this node is known to have been made. */
  onCommit(nodeId: string, transaction: Transaction, revision: number): void;
}

/** A daemon that runs, and what ends it. */
interface Process {
  readonly killed: AbortController;
  readonly clock: ProcessClock;
  readonly store: MemoryStore | undefined;
  readonly plane: ControlPlane | undefined;
  readonly control: ClusterControl | undefined;
}

/** One machine: its containers last, its daemon comes and goes. The daemon is the cluster's real code. */
export class SimulatedNode {
  readonly id: string;
  readonly isManager: boolean;
  readonly engine: SimulatedEngine;
  /** What people run on it by hand. */
  readonly containers: SimulatedContainers;
  plan: NetworkPlan | undefined;
  /** Its networks cannot be made what is planned. */
  hasBrokenNetworks = false;
  /** How much the machine's date is off. */
  skewMs = 0;
  description: NodeDescription;
  readonly #world: World;
  readonly #random: SeededRandom;
  #process: Process | undefined;
  #freezeMs = 0;

  constructor(o: {
    id: string;
    isManager: boolean;
    engine: SimulatedEngine;
    containers: SimulatedContainers;
    random: SeededRandom;
    description: NodeDescription;
    world: World;
  }) {
    this.id = o.id;
    this.isManager = o.isManager;
    this.engine = o.engine;
    this.containers = o.containers;
    this.description = o.description;
    this.#random = o.random;
    this.#world = o.world;
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  get isLeader(): boolean {
    return this.#process?.plane?.isLeader === true;
  }

  get store(): MemoryStore | undefined {
    return this.#process?.store;
  }

  /** A client's way to this manager, and what aborts when the manager is gone. */
  get access(): { control: ClusterControl; gone: AbortSignal } | undefined {
    const { control, killed } = this.#process ?? {};
    return control === undefined || killed === undefined ? undefined : { control, gone: killed.signal };
  }

  start(): void {
    if (this.#process !== undefined) return;
    this.#trace('daemon starts');
    const world = this.#world;
    const killed = new AbortController();
    const { signal } = killed;
    const random = this.#random.fork();
    const clock = new ProcessClock({
      clock: world.clock,
      random,
      skewMs: () => EPOCH_MS + this.skewMs,
      killed: signal,
    });
    const role = this.isManager ? ('manager' as const) : ('worker' as const);
    const transport = new ProcessTransport({
      transport: world.network.node(this.id, { nodeId: this.id, role }),
      clock,
      onMessage: (message) => world.onMessage(this.id, message),
    });
    const attachments = this.containers.serve({
      ...{ transport, managers: world.managers, plan: () => this.plan, clock, killed: signal },
    });
    const agent = new Agent({
      transport,
      engine: this.engine.handle(clock, signal),
      networks: {
        apply: async (plan) => {
          await clock.sleep(random.between(0, 20), signal);
          if (this.hasBrokenNetworks) throw new Error('the kernel refuses the networks');
          this.plan = plan;
          attachments.planApplied();
        },
      },
      fence: this.engine,
      clock,
      random,
      address: this.id,
      managers: world.managers,
      describe: async () => this.description,
      log: (message, details) => this.#trace(`agent: ${message} ${JSON.stringify(details)}`),
    });
    const store = this.isManager ? this.#store(clock, random, signal) : undefined;
    const plane =
      store === undefined
        ? undefined
        : this.#plane(store, { clock, random, transport, heard: () => agent.heard });
    const control =
      store === undefined || plane === undefined ? undefined : this.#control(store, plane, random, signal);
    Promise.all([agent.run(signal), plane?.run(signal)]).catch((error: unknown) => {
      if (!signal.aborted) this.#trace(`daemon failed: ${String(error)}`);
    });
    transport.serve(
      ATTACHMENTS_METHOD,
      attachmentsHandler(() => control?.attachments, clock),
    );
    this.#process = { killed, clock, store, plane, control };
  }

  /** For so long the daemon does nothing; its machine goes on. */
  freeze(ms: number): void {
    if (this.#process === undefined) return;
    this.#trace(`daemon is frozen for ${ms} ms`);
    this.#process.clock.freeze(ms);
  }

  /** It stands still for so long from its next commit on, which is on its way then. */
  freezeAtCommit(ms: number): void {
    this.#freezeMs = ms;
  }

  /** SIGKILL: nothing is given back, containers run on; those that must not run unwatched are ended by the keeper of their lease. */
  kill(): void {
    const process = this.#process;
    if (process === undefined) return;
    this.#trace('daemon is killed');
    this.#process = undefined;
    this.containers.kill();
    process.store?.fail('unreachable');
    this.#world.network.crash(this.id);
    process.killed.abort();
  }

  /** The whole machine loses power. */
  crash(): void {
    this.kill();
    this.#trace('machine crashes');
    this.engine.crash();
    this.containers.crash();
  }

  /** It is taken out of the cluster, as by `docker swarm leave`. */
  leave(): void {
    this.kill();
    this.engine.clear();
    this.containers.all.clear();
  }

  #store(clock: ProcessClock, random: SeededRandom, killed: AbortSignal): MemoryStore {
    const { database, diskMs } = this.#world;
    const delay = (): Promise<void> =>
      clock.sleep(random.between(0, random.chance(1) ? 300 : diskMs()), killed);
    // rounds that are full are where decisions are cut off
    const maxOperations = random.pick([40, 10_000]);
    return new NodeStore(
      { clock, database, delay, maxOperations },
      {
        begun: () => {
          if (this.#freezeMs > 0) this.freeze(this.#freezeMs);
          this.#freezeMs = 0;
        },
        made: (transaction, revision) => this.#world.onCommit(this.id, transaction, revision),
      },
    );
  }

  #plane(
    store: MemoryStore,
    parts: {
      clock: ProcessClock;
      random: SeededRandom;
      transport: ProcessTransport;
      heard: () => HeardLeader | undefined;
    },
  ): ControlPlane {
    return new ControlPlane({
      ...{ store, ...parts },
      self: { nodeId: this.id, address: this.id },
      times: () => TIMES,
      rules: { isSingleWriter, fits: nodeFit() },
      sources: {
        openSecret: (secret) => secret.sealed,
        openRegistryAuth: (sealed) => sealed,
        isSingleWriter,
      },
      makeScheduler: () => new Scheduler(),
      report: (message, details) => this.#trace(`${message} ${JSON.stringify(details)}`),
    });
  }

  #control(
    store: MemoryStore,
    plane: ControlPlane,
    random: SeededRandom,
    signal: AbortSignal,
  ): ClusterControl {
    const { follower } = plane;
    const nowMs = (): number => this.#world.clock.nowMs() + EPOCH_MS + this.skewMs;
    return new ClusterControl({
      ...{ follower, store, random, signal, nodeId: this.id },
      clock: { nowMs, monotonicMs: nowMs, sleep: (ms, cut) => this.#world.clock.sleep(ms, cut) },
      sealer: { seal: (data) => data.toString('base64'), unseal: (text) => Buffer.from(text, 'base64') },
      joinTokens: { create: () => 'token', rebind: (token) => token },
      makeUnlockKey: () => '',
      leader: () => parseLeader(follower.view.leader)?.nodeId,
      localNetwork: (reference) => ['bridge', 'host', 'none'].find((name) => name === reference),
    });
  }

  #trace(text: string): void {
    this.#world.trace(`${this.id}: ${text}`);
  }
}

interface CommitListener {
  begun(): void;
  made(transaction: Transaction, revision: number): void;
}

/** Says when a commit is on its way, and which ones are known to be made. */
class NodeStore extends MemoryStore {
  readonly #listener: CommitListener;

  constructor(o: ConstructorParameters<typeof MemoryStore>[0], listener: CommitListener) {
    super(o);
    this.#listener = listener;
  }

  override async commit(transaction: Transaction): Promise<CommitResult> {
    this.#listener.begun();
    const result = await super.commit(transaction);
    if (result.committed) this.#listener.made(transaction, result.revision);
    return result;
  }
}
