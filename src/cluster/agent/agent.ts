import type { Channel, Transport } from '#cluster/transport/transport.ts';
import { backoffMs } from '#control/backoff.ts';
import type { Clock } from '#control/clock.ts';
import type { Random } from '#control/random.ts';
import { kindOf, messageOf, unavailable } from '#model/errors.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import type { NodeDescription, NodeRole } from '#model/node.ts';
import { isTerminal, type TaskStatus } from '#model/task.ts';
import type { AssignedTask } from './assigned-task.ts';
import { type AgentMessage, type LeaderMessage, SESSION_METHOD } from './session-messages.ts';
import type { TaskEngine, TaskNetworks } from './task-engine.ts';
import { TaskWorker } from './task-worker.ts';

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 2000;
/** How often a node looks whether its description is another, and everything is as it should be, though nobody said so. */
const RESYNC_MS = 30_000;
/** Without any word of the leader for so many heartbeats, another manager is tried. */
const SILENT_HEARTBEATS = 4;

/**
 * One node of the cluster: keeps a session with the leader, runs what is assigned to it, says what became of it. It keeps nothing
 * itself: what there is, the engine tells; what is wanted, the leader. Without a leader everything runs on, but for
 * single writers, which end when no heartbeat was answered for the fencing time.
 */
export class Agent {
  readonly #transport: Transport;
  readonly #engine: TaskEngine;
  readonly #networks: TaskNetworks;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #address: string;
  readonly #describe: () => Promise<NodeDescription>;
  readonly #log: (message: string, details: object) => void;
  readonly #workers = new Map<string, TaskWorker>();
  /** The last status of each task, until it is removed: told again in each session. */
  readonly #statuses = new Map<string, TaskStatus>();
  readonly #unsent = new Set<string>();
  /** Tasks that are being removed. */
  readonly #forgetting = new Map<string, Promise<void>>();
  readonly #onSettings: (settings: { managers: readonly string[]; role: NodeRole }) => void;
  readonly #onRefused: (reason: string) => void;
  #managers: readonly string[];
  #leader: string | undefined;
  #plan: NetworkPlan | undefined;
  #fencingMs = Number.POSITIVE_INFINITY;
  /** When the last heartbeat that was answered was sent. */
  #confirmedMs: number;
  #wake: (() => void) | undefined;

  constructor(o: {
    transport: Transport;
    engine: TaskEngine;
    networks: TaskNetworks;
    clock: Clock;
    random: Random;
    /** The IP address that other nodes reach this one at. */
    address: string;
    managers: readonly string[];
    describe: () => Promise<NodeDescription>;
    /** Hears where managers are now, to be kept for the next start, and what this node is to be. */
    onSettings?: (settings: { managers: readonly string[]; role: NodeRole }) => void;
    /** Hears why a manager does not take this node for one of the cluster. */
    onRefused?: (reason: string) => void;
    log: (message: string, details: object) => void;
  }) {
    this.#transport = o.transport;
    this.#engine = o.engine;
    this.#networks = o.networks;
    this.#clock = o.clock;
    this.#random = o.random;
    this.#address = o.address;
    this.#managers = o.managers;
    this.#describe = o.describe;
    this.#onSettings = o.onSettings ?? (() => undefined);
    this.#onRefused = o.onRefused ?? (() => undefined);
    this.#log = o.log;
    this.#confirmedMs = o.clock.monotonicMs();
  }

  /** Managers are at other addresses than this node knew: one of them said so. */
  meet(managers: readonly string[]): void {
    this.#managers = managers;
  }

  /** Runs until `signal` aborts; containers run on then. */
  async run(signal: AbortSignal): Promise<void> {
    this.#engine.watch((taskId) => this.#workers.get(taskId)?.wake(), signal);
    await Promise.all([this.#keepSession(signal), this.#patrol(signal)]);
    await Promise.all([...this.#workers.values()].map((worker) => worker.settled()));
    await Promise.all(this.#forgetting.values());
  }

  async #keepSession(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      const manager = this.#leader ?? this.#managers[this.#random.below(this.#managers.length)];
      this.#leader = undefined;
      const beganMs = this.#clock.monotonicMs();
      try {
        if (manager === undefined) throw unavailable('no manager is known');
        await this.#session(manager, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (kindOf(error) === 'forbidden') this.#onRefused(messageOf(error));
        this.#log('the session with a manager ended', { manager, error: messageOf(error) });
      }
      if (this.#confirmedMs > beganMs) failures = 0;
      if (this.#leader !== undefined && failures < this.#managers.length) {
        failures++;
        continue;
      }
      const limit = backoffMs({ attempt: failures++, firstMs: FIRST_RETRY_MS, maxMs: LONGEST_RETRY_MS });
      // not all nodes at once
      const wait = limit / 2 + this.#random.below(Math.ceil(limit / 2) + 1);
      await this.#clock.sleep(wait, signal).catch(() => undefined);
    }
  }

  async #session(manager: string, signal: AbortSignal): Promise<void> {
    const channel = await this.#transport.open(manager, SESSION_METHOD, signal);
    const ending = new AbortController();
    const stop = (): void => channel.close();
    signal.addEventListener('abort', stop, { once: true });
    try {
      await say(channel, { kind: 'hello', address: this.#address, description: await this.#describe() });
      for (const taskId of this.#statuses.keys()) this.#unsent.add(taskId);
      await Promise.race([this.#listen(channel, ending), this.#tell(channel, ending.signal)]);
    } finally {
      signal.removeEventListener('abort', stop);
      ending.abort();
      channel.close();
      this.#wake?.();
    }
  }

  async #listen(channel: Channel, ending: AbortController): Promise<void> {
    let isBeating = false;
    for await (const message of channel.messages) {
      // the leader is who the certificate says, and of this program: what it sends is not checked again
      const said = message as LeaderMessage;
      switch (said.kind) {
        case 'redirect':
          this.#leader = said.address;
          return;
        case 'settings':
          this.#fencingMs = said.fencingMs;
          this.#managers = said.managers;
          this.#onSettings(said);
          if (isBeating) break;
          isBeating = true;
          this.#beat(channel, said.heartbeatMs, ending).catch((error: unknown) => {
            if (!ending.signal.aborted) this.#log('no heartbeat', { error: messageOf(error) });
            channel.close();
          });
          break;
        case 'heartbeat':
          this.#confirmedMs = Math.max(this.#confirmedMs, said.sent);
          break;
        case 'tasks':
          for (const task of said.tasks) this.#assign(task);
          for (const taskId of said.removed) this.#forget(taskId);
          break;
        case 'complete':
          await this.#keepOnly(new Set(said.taskIds));
          break;
        case 'networks':
          this.#plan = said.plan;
          await this.#networks.apply(said.plan);
          await say(channel, { kind: 'applied', revision: said.revision });
          break;
      }
    }
  }

  /** Heartbeats, and the end of a session in which none is answered. */
  async #beat(channel: Channel, heartbeatMs: number, ending: AbortController): Promise<void> {
    const beganMs = this.#clock.monotonicMs();
    while (!ending.signal.aborted) {
      const now = this.#clock.monotonicMs();
      if (now - Math.max(this.#confirmedMs, beganMs) > SILENT_HEARTBEATS * heartbeatMs)
        throw unavailable('the manager is silent');
      await say(channel, { kind: 'heartbeat', sent: now });
      await this.#clock.sleep(heartbeatMs, ending.signal).catch(() => undefined);
    }
  }

  /** Sends what happened, what came in the meantime together. */
  async #tell(channel: Channel, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#unsent.size > 0) {
        const updates = [...this.#unsent].slice(0, 1000).flatMap((taskId) => {
          this.#unsent.delete(taskId);
          const status = this.#statuses.get(taskId);
          return status === undefined ? [] : [{ taskId, status }];
        });
        await say(channel, { kind: 'status', updates });
        continue;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  #assign(task: AssignedTask): void {
    const known = this.#workers.get(task.id);
    if (known !== undefined) {
      known.assign(task);
      return;
    }
    const worker = new TaskWorker({
      task,
      engine: this.#engine,
      now: () => new Date(this.#clock.nowMs()).toISOString(),
      report: (taskId, status) => {
        this.#statuses.set(taskId, status);
        this.#unsent.add(taskId);
        this.#wake?.();
      },
    });
    this.#workers.set(task.id, worker);
    worker.wake();
  }

  /** The task is deleted: nothing of it is to stay. Goes on while the leader is listened to. */
  #forget(taskId: string): void {
    if (this.#forgetting.has(taskId)) return;
    const worker = this.#workers.get(taskId);
    this.#workers.delete(taskId);
    this.#statuses.delete(taskId);
    const removed = (worker?.settled() ?? Promise.resolve())
      .then(() => this.#engine.remove(taskId))
      .catch((error: unknown) => this.#log('a task was not removed', { taskId, error: messageOf(error) }))
      .finally(() => this.#forgetting.delete(taskId));
    this.#forgetting.set(taskId, removed);
  }

  async #keepOnly(taskIds: ReadonlySet<string>): Promise<void> {
    const there = await this.#engine.list();
    const known = new Set([...this.#workers.keys(), ...there.map(({ taskId }) => taskId)]);
    for (const taskId of known) if (!taskIds.has(taskId)) this.#forget(taskId);
  }

  /** Fences what has to be fenced, and looks now and then whether all is as it should be. */
  async #patrol(signal: AbortSignal): Promise<void> {
    let resyncMs = this.#clock.monotonicMs() + RESYNC_MS;
    while (!signal.aborted) {
      const now = this.#clock.monotonicMs();
      if (now - this.#confirmedMs >= this.#fencingMs) this.#fence();
      if (now >= resyncMs) {
        resyncMs = now + RESYNC_MS;
        for (const worker of this.#workers.values()) worker.wake();
        await this.#heal();
      }
      const step = Number.isFinite(this.#fencingMs) ? Math.max(50, this.#fencingMs / 10) : 1000;
      await this.#clock.sleep(step, signal).catch(() => undefined);
    }
  }

  #fence(): void {
    for (const worker of this.#workers.values()) {
      const status = this.#statuses.get(worker.task.id);
      if (worker.task.singleWriter && !(status !== undefined && isTerminal(status.State))) worker.fence();
    }
  }

  async #heal(): Promise<void> {
    if (this.#plan === undefined) return;
    try {
      await this.#networks.apply(this.#plan);
    } catch (error) {
      this.#log('the networks are not as planned', { kind: kindOf(error), error: messageOf(error) });
    }
  }
}

function say(channel: Channel, message: AgentMessage): Promise<void> {
  return channel.send(message);
}
