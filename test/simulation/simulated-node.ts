import { Agent } from '#cluster/agent/agent.ts';
import { ControlPlane } from '#cluster/control-plane.ts';
import { nodeFit } from '#cluster/scheduler/node-fit.ts';
import { Scheduler } from '#cluster/scheduler/scheduler.ts';
import { isSingleWriter } from '#cluster/scheduler/single-writer.ts';
import type { MemoryDatabase } from '#cluster/store/memory-database.ts';
import { MemoryStore } from '#cluster/store/memory-store.ts';
import type { MemoryNetwork } from '#cluster/transport/memory-network.ts';
import type { Clock } from '#control/clock.ts';
import type { ManualClock } from '#control/manual-clock.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import type { NodeDescription } from '#model/node.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { SimulatedEngine } from './simulated-engine.ts';

export const TIMES = { heartbeatMs: 1000, lostAfterMs: 5000, fencingMs: 5000, killMs: 2000, drainMs: 3000 };

/** A daemon that runs, and what ends it. */
interface Process {
  readonly killed: AbortController;
  readonly store: MemoryStore | undefined;
  readonly ended: Promise<unknown>;
  readonly plane: ControlPlane | undefined;
}

/** One machine: its containers last, its daemon comes and goes. The daemon is the cluster's real code. */
export class SimulatedNode {
  readonly id: string;
  readonly isManager: boolean;
  readonly engine: SimulatedEngine;
  plan: NetworkPlan | undefined;
  /** How much the machine's date is off. */
  skewMs = 0;
  readonly #clock: ManualClock;
  readonly #random: SeededRandom;
  readonly #network: MemoryNetwork;
  readonly #database: MemoryDatabase;
  readonly #managers: readonly string[];
  readonly #description: NodeDescription;
  readonly #trace: (text: string) => void;
  #process: Process | undefined;
  #fencing: AbortController | undefined;

  constructor(o: {
    id: string;
    isManager: boolean;
    engine: SimulatedEngine;
    clock: ManualClock;
    random: SeededRandom;
    network: MemoryNetwork;
    database: MemoryDatabase;
    managers: readonly string[];
    description: NodeDescription;
    trace: (text: string) => void;
  }) {
    this.id = o.id;
    this.isManager = o.isManager;
    this.engine = o.engine;
    this.#clock = o.clock;
    this.#random = o.random;
    this.#network = o.network;
    this.#database = o.database;
    this.#managers = o.managers;
    this.#description = o.description;
    this.#trace = (text) => o.trace(`${o.id}: ${text}`);
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

  start(): void {
    if (this.#process !== undefined) return;
    this.#trace('daemon starts');
    this.#fencing?.abort();
    const killed = new AbortController();
    const clock: Clock = {
      nowMs: () => this.#clock.nowMs() + this.skewMs,
      monotonicMs: () => this.#clock.monotonicMs(),
      sleep: (ms, signal) => this.#clock.sleep(ms, AbortSignal.any([signal, killed.signal])),
    };
    const random = this.#random.fork();
    const role = this.isManager ? ('manager' as const) : ('worker' as const);
    const transport = this.#network.node(this.id, { nodeId: this.id, role });
    const agent = new Agent({
      transport,
      engine: this.engine.handle(killed.signal),
      networks: {
        apply: async (plan) => {
          await clock.sleep(random.between(0, 20), killed.signal);
          this.plan = plan;
        },
      },
      clock,
      random,
      address: this.id,
      managers: this.#managers,
      describe: async () => this.#description,
      log: (message, details) => this.#trace(`agent: ${message} ${JSON.stringify(details)}`),
    });
    const store = this.isManager
      ? new MemoryStore({
          clock,
          database: this.#database,
          delay: () => clock.sleep(random.between(0, random.chance(1) ? 300 : 4), killed.signal),
        })
      : undefined;
    const plane =
      store === undefined
        ? undefined
        : new ControlPlane({
            store,
            clock,
            random,
            transport,
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
    const ended = Promise.all([agent.run(killed.signal), plane?.run(killed.signal)]).catch(
      (error: unknown) => {
        if (!killed.signal.aborted) this.#trace(`daemon failed: ${String(error)}`);
      },
    );
    this.#process = { killed, store, ended, plane };
  }

  /** SIGKILL: nothing is given back, containers run on; those that must not run unwatched are ended by their keeper. */
  kill(): void {
    const process = this.#process;
    if (process === undefined) return;
    this.#trace('daemon is killed');
    this.#process = undefined;
    process.store?.fail('unreachable');
    this.#network.crash(this.id);
    process.killed.abort();
    const fencing = new AbortController();
    this.#fencing = fencing;
    this.#clock.sleep(TIMES.fencingMs, fencing.signal).then(
      () => this.engine.fence(),
      () => undefined,
    );
  }

  /** The whole machine loses power. */
  crash(): void {
    this.kill();
    this.#trace('machine crashes');
    this.engine.crash();
  }
}
