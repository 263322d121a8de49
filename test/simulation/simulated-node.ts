import { Agent } from '#cluster/agent/agent.ts';
import { ATTACHMENTS_METHOD, attachmentsHandler } from '#cluster/attachments/attachment-protocol.ts';
import type { ClusterControl } from '#cluster/control/cluster-control.ts';
import { serveCalls } from '#cluster/membership/node-calls.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import type { NodeDescription, NodeRole } from '#model/node.ts';
import { Managing } from './managing.ts';
import { NodeStore } from './node-store.ts';
import { ProcessClock, ProcessTransport } from './process-clock.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { SimulatedContainers } from './simulated-containers.ts';
import type { SimulatedEngine } from './simulated-engine.ts';
import { EPOCH_MS, type World } from './world.ts';

/** A daemon that runs, and what ends it. */
interface Process {
  readonly killed: AbortController;
  readonly clock: ProcessClock;
  readonly random: SeededRandom;
  readonly transport: ProcessTransport;
  readonly agent: Agent;
  readonly become: (role: NodeRole) => void;
  managing: Managing | undefined;
  /** What the leader said last that the node is to be, and what follows from it. */
  roleAsked: NodeRole | undefined;
  following: Promise<void>;
}

/** What joining the managers' store takes at most. */
const JOIN_MS = 1500;
const RETRY_MS = 1000;

/** One machine: its containers last, its daemon comes and goes. The daemon is the cluster's real code. */
export class SimulatedNode {
  readonly id: string;
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
  /** On its disk: that it has the managers' store, and where it knows managers. */
  #manages: boolean;
  #managersKnown: readonly string[];
  #isExpelled = false;

  constructor(o: {
    id: string;
    isManager: boolean;
    managers: readonly string[];
    engine: SimulatedEngine;
    containers: SimulatedContainers;
    random: SeededRandom;
    description: NodeDescription;
    world: World;
  }) {
    this.id = o.id;
    this.#manages = o.isManager;
    this.#managersKnown = o.managers;
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
    return this.#process?.managing?.plane.isLeader === true;
  }

  /** It has the managers' store, whether it runs or not. */
  get manages(): boolean {
    return this.#manages;
  }

  get store(): NodeStore | undefined {
    return this.#process?.managing?.store;
  }

  /** What it knows of the cluster as a manager. */
  get view(): ClusterView | undefined {
    return this.#process?.managing?.plane.follower.view;
  }

  /** A client's way to this manager, and what aborts when the manager is gone. */
  get access(): { control: ClusterControl; gone: AbortSignal } | undefined {
    const { managing, killed } = this.#process ?? {};
    if (managing === undefined || killed === undefined) return undefined;
    return { control: managing.control, gone: AbortSignal.any([killed.signal, managing.over]) };
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
    const role = this.#manages ? ('manager' as const) : ('worker' as const);
    const wire = world.network.node(this.id, { nodeId: this.id, role });
    const transport = new ProcessTransport({
      transport: wire,
      clock,
      onMessage: (message) => world.onMessage(this.id, message),
    });
    const attachments = this.containers.serve({
      ...{ transport, plan: () => this.plan, clock, killed: signal },
      managers: () => this.#managersKnown,
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
      managers: this.#managersKnown,
      onSettings: (settings) => {
        this.#managersKnown = settings.managers;
        this.#told(settings.role);
      },
      describe: async () => this.description,
      log: (message, details) => this.#trace(`agent: ${message} ${JSON.stringify(details)}`),
    });
    serveCalls(transport, (managers) => {
      this.#managersKnown = managers;
      agent.meet(managers);
    });
    const process: Process = {
      ...{ killed, clock, random, transport, agent, managing: undefined, roleAsked: undefined },
      become: (next) => wire.become({ nodeId: this.id, role: next }),
      following: Promise.resolve(),
    };
    transport.serve(
      ATTACHMENTS_METHOD,
      attachmentsHandler(() => process.managing?.control.attachments, clock),
    );
    this.#process = process;
    // one that the others went on without waits for what the leader says
    if (this.#manages && !this.#isExpelled && !world.isDisowned(this.id)) this.#manage(process);
    agent.run(signal).catch((error: unknown) => {
      if (!signal.aborted) this.#trace(`daemon failed: ${String(error)}`);
    });
  }

  #manage(process: Process): void {
    process.managing = new Managing({
      ...{ nodeId: this.id, world: this.#world, store: this.#storeOf(process) },
      ...{ clock: process.clock, random: process.random, transport: process.transport },
      ...{ heard: () => process.agent.heard, skewMs: () => this.skewMs },
      ...{ killed: process.killed.signal, trace: (text) => this.#trace(text) },
    });
  }

  /** The store's members go on without it. */
  expel(): void {
    this.#trace('is no member of the store any more');
    this.#isExpelled = true;
    this.#process?.managing?.store.expel();
  }

  /** Where it finds managers when it starts. */
  managersAre(managers: readonly string[]): void {
    this.#managersKnown = managers;
  }

  #told(role: NodeRole): void {
    const process = this.#process;
    if (process === undefined || process.roleAsked === role) return;
    process.roleAsked = role;
    process.following = process.following.then(() => this.#follow(process, role));
    process.following.catch((error: unknown) => {
      if (!process.killed.signal.aborted) this.#trace(`the change of role failed: ${String(error)}`);
    });
  }

  /** Becomes what the cluster says, and tries until it is, or the cluster says something else. */
  async #follow(process: Process, role: NodeRole): Promise<void> {
    const { clock, random, killed } = process;
    while (process.roleAsked === role) {
      if (role === 'worker') {
        if (this.#manages) await this.#stopManaging(process);
        return;
      }
      if (process.managing !== undefined) return;
      await clock.sleep(random.between(50, JOIN_MS), killed.signal);
      if (this.#world.members().length > 0) {
        this.#trace('becomes a manager');
        this.#isExpelled = false;
        this.#manages = true;
        process.become('manager');
        this.#manage(process);
        return;
      }
      await clock.sleep(RETRY_MS, killed.signal);
    }
  }

  async #stopManaging(process: Process): Promise<void> {
    this.#trace('becomes a worker');
    const { managing } = process;
    process.managing = undefined;
    await managing?.leave(process.killed.signal);
    // who was killed has forgotten nothing
    if (process.killed.signal.aborted) return;
    this.#manages = false;
    process.become('worker');
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
    process.managing?.store.fail('unreachable');
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

  #storeOf({ clock, random, killed }: Process): NodeStore {
    const { database, diskMs } = this.#world;
    const { signal } = killed;
    const delay = (): Promise<void> =>
      clock.sleep(random.between(0, random.chance(1) ? 300 : diskMs()), signal);
    // rounds that are full are where decisions are cut off
    const maxOperations = random.pick([40, 10_000]);
    return new NodeStore(
      { clock, database, delay, maxOperations },
      {
        listener: {
          begun: () => {
            if (this.#freezeMs > 0) this.freeze(this.#freezeMs);
            this.#freezeMs = 0;
          },
          made: (transaction, revision) => this.#world.onCommit(this.id, transaction, revision),
        },
        random: random.fork(),
        worldClock: this.#world.clock,
      },
    );
  }

  #trace(text: string): void {
    this.#world.trace(`${this.id}: ${text}`);
  }
}
