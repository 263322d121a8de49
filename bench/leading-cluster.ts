import { Allocator } from '#cluster/controllers/allocator.ts';
import type { Controller, Decision, DecisionContext } from '#cluster/controllers/controller.ts';
import { LeaderLoop } from '#cluster/controllers/leader-loop.ts';
import { Orchestrator } from '#cluster/controllers/orchestrator.ts';
import { Reaper } from '#cluster/controllers/reaper.ts';
import { isWanted } from '#cluster/controllers/task-places.ts';
import { nodeFit } from '#cluster/scheduler/node-fit.ts';
import { Scheduler } from '#cluster/scheduler/scheduler.ts';
import { isSingleWriter } from '#cluster/scheduler/single-writer.ts';
import { type ClusterView, LEADER_KEY } from '#cluster/state/cluster-view.ts';
import { transactionOf } from '#cluster/state/record-transaction.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import { ViewFollower } from '#cluster/state/view-follower.ts';
import { MemoryStore } from '#cluster/store/memory-store.ts';
import { systemClock } from '#control/clock.ts';
import { systemRandom } from '#control/random.ts';
import { isTerminal, type TaskRecord, type TaskState } from '#model/task.ts';

/** Agents that do at once what they are told: a task that is assigned runs, one that is to end has ended. */
class ObedientAgents implements Controller {
  readonly name = 'agents';
  readonly #todo = new Set<string>();
  /** Tasks that run and are wanted. */
  running = 0;

  keysOf(change: ViewChange): Iterable<string> {
    if (change.table !== 'task') return [];
    this.running += Number(runs(change.after)) - Number(runs(change.before));
    if (nextState(change.after) === undefined) this.#todo.delete(change.id);
    else this.#todo.add(change.id);
    return this.#todo.size > 0 ? ['all'] : [];
  }

  reconcile(view: ClusterView, _key: string, { limit, nowMs }: DecisionContext): Decision {
    const now = new Date(nowMs).toISOString();
    const writes: Write[] = [];
    for (const id of this.#todo) {
      if (writes.length >= limit) break;
      const task = view.get('task', id);
      const State = nextState(task);
      if (task === undefined || State === undefined) continue;
      const startedAt = State === 'running' ? { startedAt: now } : {};
      const Status = { ...task.Status, ...startedAt, State, Timestamp: now, Message: 'simulated' };
      writes.push({ table: 'task', put: { ...task, Status, UpdatedAt: now } });
    }
    return { writes };
  }
}

function runs(task: TaskRecord | undefined): boolean {
  return task !== undefined && task.Status.State === 'running' && isWanted(task);
}

function nextState(task: TaskRecord | undefined): TaskState | undefined {
  if (task === undefined || task.NodeID === '' || isTerminal(task.Status.State)) return undefined;
  if (!isWanted(task)) return 'shutdown';
  if (task.DesiredState === 'ready') return task.Status.State === 'assigned' ? 'ready' : undefined;
  return task.Status.State === 'assigned' || task.Status.State === 'ready' ? 'running' : undefined;
}

/** A leader with all that it does but for networks between machines: controllers, scheduler, store and view, in one process. */
export class LeadingCluster implements AsyncDisposable {
  readonly #store = new MemoryStore({ clock: systemClock });
  readonly #follower = new ViewFollower({ store: this.#store, clock: systemClock });
  readonly #agents = new ObedientAgents();
  readonly #ending = new AbortController();
  /** The leader's sleeps keep no process alive. */
  readonly #alive = setInterval(() => undefined, 2 ** 30);
  #running: Promise<unknown> = Promise.resolve();

  get view(): ClusterView {
    return this.#follower.view;
  }

  /** Tasks that run and are wanted. */
  get running(): number {
    return this.#agents.running;
  }

  async start(): Promise<void> {
    const { signal } = this.#ending;
    const led = await this.#store.commit({
      checks: [],
      puts: [{ key: LEADER_KEY, value: '{}' }],
      deletes: [],
    });
    if (!led.committed) throw new Error('the store has a leader already');
    const following = this.#follower.run(signal);
    await this.#follower.untilRevision(led.revision, signal);
    const fencedInMs = (): number => 0;
    const loop = new LeaderLoop({
      store: this.#store,
      follower: this.#follower,
      controllers: [
        this.#agents,
        new Orchestrator({ isSingleWriter, fits: nodeFit(), fencedInMs }),
        new Allocator(),
        new Scheduler(),
        new Reaper({ isSingleWriter, fencedInMs }),
      ],
      clock: systemClock,
      random: systemRandom,
      guard: { key: LEADER_KEY, revision: led.revision },
      report: (message, details) => console.error(message, details),
    });
    this.#running = Promise.all([following, loop.run(signal)]);
  }

  /** What a client writes; the view has it when this resolves. */
  async write(writes: readonly Write[]): Promise<void> {
    for (let at = 0; at < writes.length; at += PART) {
      const part = writes.slice(at, at + PART);
      const result = await this.#store.commit(transactionOf(this.view, part));
      if (!result.committed) throw new Error('somebody else was faster');
      await this.#follower.untilRevision(result.revision, this.#ending.signal);
    }
  }

  /** Resolves with the milliseconds until `isDone`, which is looked at after every commit. */
  async until(isDone: () => boolean): Promise<number> {
    const began = performance.now();
    if (isDone()) return 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    const listening = new AbortController();
    this.#follower.listen(() => {
      if (isDone()) resolve();
    }, listening.signal);
    await promise;
    listening.abort();
    return performance.now() - began;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#running;
    clearInterval(this.#alive);
  }
}

/** Writes of one commit of a client. */
const PART = 2000;
