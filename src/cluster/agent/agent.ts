import { within } from '#cluster/transport/deadline.ts';
import type { Channel, Transport } from '#cluster/transport/transport.ts';
import { backoffMs } from '#control/backoff.ts';
import type { Clock } from '#control/clock.ts';
import type { Random } from '#control/random.ts';
import { kindOf, messageOf, unavailable } from '#model/errors.ts';
import type { NodeDescription } from '#model/node.ts';
import { isTerminal, type TaskStatus } from '#model/task.ts';
import type { AssignedTask } from './assigned-task.ts';
import { DescriptionNews } from './description-news.ts';
import { ManagerRoute } from './manager-route.ts';
import { PlanApplier } from './plan-applier.ts';
import { type AgentMessage, type LeaderMessage, SESSION_METHOD } from './session-messages.ts';
import type { TaskEngine, TaskNetworks } from './task-engine.ts';
import { TaskWorker } from './task-worker.ts';

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 1000;
/** A manager that has not answered by then is on a machine that is away. */
const OPEN_LIMIT_MS = 2000;
/** How often a node looks whether its description is another, and everything is as it should be, though nobody said so. */
const RESYNC_MS = 30_000;
/** Without any word of the leader for so many heartbeats, another manager is tried. */
const SILENT_HEARTBEATS = 4;
/** How much longer the lease of single writers is than the agent itself waits before it ends them: their keeper comes second. */
const FENCE_GRACE_MS = 1000;

/** The lease that single writers live on; whoever keeps it ends them when it has run out, whatever becomes of this process. */
export interface WriterLease {
  /** Good for so long from now. Rejects when nobody keeps it: single writers are better ended then. */
  renew(validMs: number): Promise<void>;
}

/** Whom an agent heard last of all who led. */
export interface HeardLeader {
  /** `host:port`. */
  readonly manager: string;
  /** On the clock's `monotonicMs`, when the last heartbeat was sent that was answered. */
  readonly atMs: number;
}

/** What the leader says of a node itself. */
export type NodeSettings = Pick<Extract<LeaderMessage, { kind: 'settings' }>, 'managers' | 'role' | 'roots'>;

/**
 * One node of the cluster: keeps a session with the leader, runs what is assigned to it, says what became of it. It keeps nothing
 * itself: what there is, the engine tells; what is wanted, the leader. Without a leader everything runs on, but for
 * single writers, which end when no heartbeat was answered for the fencing time.
 */
export class Agent {
  readonly #transport: Transport;
  readonly #engine: TaskEngine;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #address: string;
  readonly #news: DescriptionNews;
  readonly #log: (message: string, details: object) => void;
  readonly #workers = new Map<string, TaskWorker>();
  /** The last status of each task, until it is removed: told again in each session. */
  readonly #statuses = new Map<string, TaskStatus>();
  readonly #unsent = new Set<string>();
  /** Tasks that end with the lease from now on, by the numbers that the leader wants to hear. */
  readonly #fenced = new Map<string, number>();
  /** Tasks that are being removed. */
  readonly #forgetting = new Map<string, Promise<void>>();
  /** Tasks that could not be removed: tried again. */
  readonly #leftovers = new Set<string>();
  readonly #fence: WriterLease | undefined;
  readonly #onSettings: (settings: NodeSettings) => void;
  readonly #onRefused: (reason: string) => void;
  readonly #route: ManagerRoute;
  #signal: AbortSignal = AbortSignal.abort();
  readonly #plan: PlanApplier;
  /** Of which plan the leader was told in this session that it is applied. */
  #toldApplied = 0;
  #fencingMs = Number.POSITIVE_INFINITY;
  /** When the last heartbeat that was answered was sent. */
  #confirmedMs: number;
  #heard: HeardLeader | undefined;
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
    /** What else ends single writers when this node hears of no leader; where it is left out, this agent alone does. */
    fence?: WriterLease;
    /** Calls back when the description may have changed, until `signal` aborts. */
    watchDescription?: (onChange: () => void, signal: AbortSignal) => void;
    /** Hears where managers are now, to be kept for the next start, and what this node is to be. */
    onSettings?: (settings: NodeSettings) => void;
    /** Hears why a manager does not take this node for one of the cluster. */
    onRefused?: (reason: string) => void;
    log: (message: string, details: object) => void;
  }) {
    this.#transport = o.transport;
    this.#engine = o.engine;
    this.#clock = o.clock;
    this.#random = o.random;
    this.#address = o.address;
    const watch = o.watchDescription;
    this.#news = new DescriptionNews(
      { describe: o.describe, ...(watch === undefined ? {} : { watch }) },
      o.clock,
    );
    this.#route = new ManagerRoute(o.managers, o.random.below(Math.max(1, o.managers.length)));
    this.#fence = o.fence;
    this.#onSettings = o.onSettings ?? (() => undefined);
    this.#onRefused = o.onRefused ?? (() => undefined);
    this.#log = o.log;
    this.#plan = new PlanApplier({ ...o, onApplied: () => this.#wake?.() });
    this.#confirmedMs = o.clock.monotonicMs();
  }

  /** Managers are at other addresses than this node knew: one of them said so. */
  meet(managers: readonly string[]): void {
    this.#route.replace(managers);
  }

  /** Undefined before the first answer. */
  get heard(): HeardLeader | undefined {
    return this.#heard;
  }

  /** Runs until `signal` aborts; containers run on then. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    this.#engine.watch((taskId) => this.#workers.get(taskId)?.wake(), signal);
    this.#news.watch(signal);
    await Promise.all([this.#keepSession(signal), this.#patrol(signal)]);
    await Promise.all([...this.#workers.values()].map((worker) => worker.settled()));
    await Promise.all(this.#forgetting.values());
    await this.#plan.again(signal);
  }

  async #keepSession(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      const manager = this.#route.next();
      const beganMs = this.#clock.monotonicMs();
      try {
        if (manager === undefined) throw unavailable('no manager is known');
        await this.#session(manager, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (kindOf(error) === 'forbidden') this.#onRefused(messageOf(error));
        if (manager !== undefined) this.#route.failed(manager);
        this.#log('the session with a manager ended', { manager, error: messageOf(error) });
      }
      if (this.#confirmedMs > beganMs) failures = 0;
      // each of them at once, before it is worth waiting
      else if (failures < this.#route.length) {
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
    const channel = await within(this.#clock, OPEN_LIMIT_MS, signal, `a session at ${manager}`, (limited) =>
      this.#transport.open(manager, SESSION_METHOD, limited),
    );
    const ending = new AbortController();
    const stop = (): void => channel.close();
    signal.addEventListener('abort', stop, { once: true });
    const over = (): void => {
      ending.abort();
      channel.close();
      this.#wake?.();
    };
    const silence = Promise.withResolvers<never>();
    const beat = (heartbeatMs: number): void => {
      // whoever is silent does not end the channel either
      this.#beat(channel, heartbeatMs, ending).catch(silence.reject);
    };
    const listening = this.#listen(channel, { manager, ending, beat }).finally(over);
    const telling = this.#tellAll(channel, ending.signal).catch((error: unknown) => {
      // what came before the other side ended it, such as where the leader is, is still read
      if (!channel.closed.aborted) over();
      throw error;
    });
    try {
      const [heard, told] = await Promise.race([Promise.allSettled([listening, telling]), silence.promise]);
      if (heard.status === 'rejected') throw heard.reason;
      if (told.status === 'rejected' && heard.value !== 'redirected') throw told.reason;
    } finally {
      signal.removeEventListener('abort', stop);
      over();
    }
  }

  /** Says who it is, and from then on what happened and what changed. */
  async #tellAll(channel: Channel, signal: AbortSignal): Promise<void> {
    await say(channel, { kind: 'hello', address: this.#address, description: await this.#news.current() });
    this.#toldApplied = 0;
    for (const taskId of this.#statuses.keys()) this.#unsent.add(taskId);
    await Promise.all([this.#tell(channel, signal), this.#tellNews(channel, signal)]);
  }

  /** Reads on whatever is to be done, so that the answer to a heartbeat waits for nothing. */
  async #listen(
    channel: Channel,
    o: { manager: string; ending: AbortController; beat: (heartbeatMs: number) => void },
  ): Promise<'redirected' | 'ended'> {
    let isBeating = false;
    let obeyed = Promise.resolve();
    for await (const message of channel.messages) {
      // the leader is who the certificate says, and of this program: what it sends is not checked again
      const said = message as LeaderMessage;
      switch (said.kind) {
        case 'redirect':
          this.#route.redirect(said.address);
          return 'redirected';
        case 'settings':
          this.#fencingMs = said.fencingMs;
          this.#route.replace(said.managers);
          this.#route.succeeded();
          this.#onSettings(said);
          if (isBeating) break;
          isBeating = true;
          o.beat(said.heartbeatMs);
          break;
        case 'heartbeat':
          this.#heard = { manager: o.manager, atMs: said.sent };
          this.#confirm(said.sent);
          break;
        default:
          obeyed = obeyed
            .then(() => this.#obey(said, o.ending.signal))
            .catch((error: unknown) => {
              this.#log('what the leader said could not be done', { error: messageOf(error) });
              channel.close();
            });
      }
    }
    return 'ended';
  }

  /** Names and addresses come before the tasks that use them, so one after the other. */
  async #obey(
    said: Extract<LeaderMessage, { kind: 'tasks' | 'complete' | 'networks' }>,
    ended: AbortSignal,
  ): Promise<void> {
    // what an older session said is not true any more
    if (ended.aborted) return;
    switch (said.kind) {
      case 'tasks':
        for (const task of said.tasks) this.#assign(task);
        for (const taskId of said.removed) this.#forget(taskId);
        return;
      case 'complete':
        await this.#keepOnly(new Set(said.taskIds), ended);
        return;
      case 'networks':
        await this.#plan.take(said, this.#signal);
        return;
    }
  }

  /** A heartbeat that was sent then was answered by who leads. */
  #confirm(sentMs: number): void {
    if (sentMs <= this.#confirmedMs) return;
    this.#confirmedMs = sentMs;
    const validMs = sentMs + this.#fencingMs + FENCE_GRACE_MS - this.#clock.monotonicMs();
    if (this.#fence === undefined || !Number.isFinite(validMs) || validMs <= 0) return;
    this.#fence.renew(validMs).catch((error: unknown) => {
      this.#log('nobody keeps the lease of single writers, which are ended', { error: messageOf(error) });
      this.#endSingleWriters();
    });
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
      const message = this.#unsaid();
      if (message !== undefined) {
        await say(channel, message);
        continue;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  /** The next thing that the leader does not know yet. */
  #unsaid(): AgentMessage | undefined {
    if (this.#fenced.size > 0) {
      const tasks = [...this.#fenced].slice(0, 1000).map(([taskId, number]) => ({ taskId, number }));
      for (const { taskId } of tasks) this.#fenced.delete(taskId);
      return { kind: 'fenced', tasks };
    }
    const revision = this.#plan.applied;
    if (revision !== this.#toldApplied) {
      this.#toldApplied = revision;
      return { kind: 'applied', revision };
    }
    if (this.#unsent.size === 0) return undefined;
    const updates = [...this.#unsent].slice(0, 1000).flatMap((taskId) => {
      this.#unsent.delete(taskId);
      const status = this.#statuses.get(taskId);
      return status === undefined ? [] : [{ taskId, status }];
    });
    return { kind: 'status', updates };
  }

  /** Says what this node is and has when that is something else. */
  async #tellNews(channel: Channel, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const description = await this.#news.next(signal);
      if (description !== undefined) await say(channel, { kind: 'description', description });
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
      clock: this.#clock,
      signal: this.#signal,
      log: this.#log,
      report: (taskId, status) => {
        this.#statuses.set(taskId, status);
        this.#unsent.add(taskId);
        this.#wake?.();
      },
      onFenced: (taskId, number) => {
        this.#fenced.set(taskId, number);
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
    this.#fenced.delete(taskId);
    const removed = (worker?.settled() ?? Promise.resolve())
      .then(() => this.#engine.remove(taskId))
      .then(() => void this.#leftovers.delete(taskId))
      .catch((error: unknown) => {
        this.#leftovers.add(taskId);
        this.#log('a task was not removed', { taskId, error: messageOf(error) });
      })
      .finally(() => this.#forgetting.delete(taskId));
    this.#forgetting.set(taskId, removed);
  }

  async #keepOnly(taskIds: ReadonlySet<string>, ended: AbortSignal): Promise<void> {
    const there = await this.#engine.list();
    if (ended.aborted) return;
    const known = new Set([...this.#workers.keys(), ...there.map(({ taskId }) => taskId)]);
    for (const taskId of known) if (!taskIds.has(taskId)) this.#forget(taskId);
  }

  /** Fences what has to be fenced, and looks now and then whether all is as it should be. */
  async #patrol(signal: AbortSignal): Promise<void> {
    let resyncMs = this.#clock.monotonicMs() + RESYNC_MS;
    while (!signal.aborted) {
      const now = this.#clock.monotonicMs();
      if (now - this.#confirmedMs >= this.#fencingMs) this.#endSingleWriters();
      if (now >= resyncMs) {
        resyncMs = now + RESYNC_MS;
        for (const worker of this.#workers.values()) worker.wake();
        for (const taskId of this.#leftovers) this.#forget(taskId);
        // slow as they may be, what is fenced waits for neither
        void this.#plan.resync(signal);
        this.#news.lookAgain();
      }
      const step = Number.isFinite(this.#fencingMs) ? Math.max(50, this.#fencingMs / 10) : 1000;
      await this.#clock.sleep(step, signal).catch(() => undefined);
    }
  }

  #endSingleWriters(): void {
    for (const worker of this.#workers.values()) {
      const status = this.#statuses.get(worker.task.id);
      const isOver = isTerminal(status?.State ?? worker.task.state);
      if (worker.task.singleWriter && !isOver) worker.fence();
    }
  }
}

function say(channel: Channel, message: AgentMessage): Promise<void> {
  return channel.send(message);
}
