import type { AssignedTask } from '#cluster/agent/assigned-task.ts';
import type { LeaderMessage } from '#cluster/agent/session-messages.ts';
import { isWanted } from '#cluster/controllers/task-places.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { Channel } from '#cluster/transport/transport.ts';
import type { Clock } from '#control/clock.ts';
import { messageOf } from '#model/errors.ts';
import { type DesiredTaskState, isTerminal, stateRank, type TaskRecord } from '#model/task.ts';
import { type AssignmentSources, assignmentOf } from './assignments.ts';
import type { FenceMarks } from './fence-marks.ts';
import type { NetworkMembers } from './network-members.ts';
import { isOnNetworks, planOfNode } from './plan-of-node.ts';

/** A message of tasks is sent when it has about so many bytes, half of what a channel takes. */
const MESSAGE_BYTES = 8 * 1024 * 1024;

/** What an agent knows of a task. */
interface Told {
  readonly desired: DesiredTaskState;
  readonly singleWriter: boolean;
  /** What it was asked to say when it does that. */
  readonly confirmFence: number | undefined;
}

/** What holds the end of a task back: others may still send connections to it. */
interface Held {
  /** The view in which it serves no more. */
  readonly revision: number;
  readonly untilMs: number;
}

/**
 * What one agent has been told, and what it has to be told next. Changes only mark what is dirty; one pump sends, as fast as the
 * agent takes it. The end of a task that others send connections to is told when they have heard that it serves no more.
 */
export class AgentSession {
  readonly nodeId: string;
  readonly channel: Channel;
  readonly #view: ClusterView;
  readonly #members: NetworkMembers;
  readonly #sources: AssignmentSources;
  readonly #fences: FenceMarks;
  readonly #clock: Clock;
  readonly #drainMs: number;
  readonly #mayEnd: (networkIds: readonly string[], revision: number) => boolean;
  readonly #reject: (taskId: string, reason: string) => void;
  readonly #ending = new AbortController();
  readonly #told = new Map<string, Told>();
  readonly #dirty = new Set<string>();
  readonly #held = new Map<string, Held>();
  #isPlanDirty = true;
  #plan = '';
  /** The revision of a plan that is not answered yet. */
  #outstanding: number | undefined;
  #applied = 0;
  #wake: (() => void) | undefined;
  /** Something came while nobody slept. */
  #isWoken = false;

  constructor(o: {
    nodeId: string;
    channel: Channel;
    view: ClusterView;
    members: NetworkMembers;
    sources: AssignmentSources;
    fences: FenceMarks;
    clock: Clock;
    drainMs: number;
    /** True when no other node sends to an endpoint any more that was taken out of the networks at `revision`. */
    mayEnd: (networkIds: readonly string[], revision: number) => boolean;
    /** Hears of a task that cannot be told, since something that it needs is not there. */
    reject: (taskId: string, reason: string) => void;
  }) {
    this.nodeId = o.nodeId;
    this.channel = o.channel;
    this.#view = o.view;
    this.#members = o.members;
    this.#sources = o.sources;
    this.#fences = o.fences;
    this.#clock = o.clock;
    this.#drainMs = o.drainMs;
    this.#mayEnd = o.mayEnd;
    this.#reject = o.reject;
  }

  send(message: LeaderMessage): Promise<void> {
    return this.channel.send(message);
  }

  end(): void {
    this.#ending.abort();
    this.channel.close();
    this.#rouse();
  }

  wake(): void {
    if (this.#held.size > 0) this.#rouse();
  }

  taskChanged(taskId: string): void {
    this.#dirty.add(taskId);
    this.#rouse();
  }

  planChanged(): void {
    this.#isPlanDirty = true;
    this.#rouse();
  }

  /** The agent has made its networks what they were at a revision. */
  applied(revision: number): void {
    this.#applied = Math.max(this.#applied, revision);
    if (this.#outstanding !== undefined && this.#applied >= this.#outstanding) this.#outstanding = undefined;
  }

  /** True when the agent was asked this of the task, and was told nothing else since. */
  hasAsked(taskId: string, confirmFence: number): boolean {
    return this.#told.get(taskId)?.confirmFence === confirmFence;
  }

  /** True when the agent's networks are not older than `revision`. */
  hasApplied(revision: number): boolean {
    return (!this.#isPlanDirty && this.#outstanding === undefined) || this.#applied >= revision;
  }

  /** Tells everything, and from then on what changes, until the session ends. */
  async run(): Promise<void> {
    const { signal } = this.#ending;
    this.channel.closed.addEventListener('abort', () => this.end(), { once: true });
    if (this.channel.closed.aborted) this.end();
    for (const task of this.#view.tasksOnNode(this.nodeId)) this.#dirty.add(task.ID);
    let isComplete = false;
    while (!signal.aborted) {
      const hasNews = await this.#tell();
      if (!isComplete && this.#dirty.size === 0) {
        await this.send({ kind: 'complete', taskIds: [...this.#told.keys()] });
        isComplete = true;
      }
      if (!hasNews) await this.#sleep(signal);
    }
  }

  /** One message of each kind, where there is something to say. */
  async #tell(): Promise<boolean> {
    // names and addresses come before the tasks that use them, and go before these end
    const toldPlan = await this.#tellPlan();
    const toldTasks = await this.#tellTasks();
    return toldPlan || toldTasks;
  }

  async #tellPlan(): Promise<boolean> {
    if (!this.#isPlanDirty) return false;
    this.#isPlanDirty = false;
    const { revision } = this.#view;
    const plan = planOfNode(this.#view, this.nodeId, this.#members, this.#sources.openNetworkKey);
    const text = JSON.stringify(plan);
    if (text === this.#plan) return false;
    this.#plan = text;
    this.#outstanding = revision;
    await this.send({ kind: 'networks', revision, plan });
    return true;
  }

  async #tellTasks(): Promise<boolean> {
    const tasks: AssignedTask[] = [];
    const removed: string[] = [];
    let bytes = 0;
    for (const [taskId, held] of this.#held) if (this.#isFree(taskId, held)) this.#dirty.add(taskId);
    for (const taskId of this.#dirty) {
      if (bytes > MESSAGE_BYTES) break;
      this.#dirty.delete(taskId);
      const task = this.#view.get('task', taskId);
      if (task === undefined || task.NodeID !== this.nodeId) {
        this.#held.delete(taskId);
        if (this.#told.delete(taskId)) removed.push(taskId);
        continue;
      }
      const assigned = this.#assignment(task);
      if (assigned === undefined) continue;
      const { desiredState: desired, singleWriter, confirmFence } = assigned;
      this.#told.set(taskId, { desired, singleWriter, confirmFence });
      tasks.push(assigned);
      bytes += sizeOf(assigned);
    }
    if (tasks.length === 0 && removed.length === 0) return false;
    await this.send({ kind: 'tasks', tasks, removed });
    return true;
  }

  /** What to tell of a task; undefined when it was told already, is not the node's yet, or has to wait. */
  #assignment(task: TaskRecord): AssignedTask | undefined {
    if (stateRank(task.Status.State) < stateRank('assigned')) return undefined;
    const told = this.#told.get(task.ID);
    const isNews = told?.desired !== task.DesiredState;
    if (
      !isNews &&
      (isTerminal(task.Status.State) || told.singleWriter === this.#fences.isTold(this.#view, task))
    )
      return undefined;
    if (isNews && told !== undefined && this.#mustWait(task)) return undefined;
    this.#held.delete(task.ID);
    try {
      const assigned = assignmentOf(this.#view, task, task.DesiredState, this.#sources);
      return assigned === undefined ? undefined : { ...assigned, ...this.#fenceOf(task) };
    } catch (error) {
      // one that cannot be told keeps none of the others waiting
      this.#reject(task.ID, messageOf(error));
      return undefined;
    }
  }

  #fenceOf(task: TaskRecord): Pick<AssignedTask, 'singleWriter' | 'confirmFence'> {
    const singleWriter = this.#fences.isTold(this.#view, task);
    // what the same view says is the same, so its revision is a number for it
    const asks = singleWriter && this.#fences.isOpen(task);
    return asks ? { singleWriter, confirmFence: this.#view.revision } : { singleWriter };
  }

  #mustWait(task: TaskRecord): boolean {
    if (isWanted(task) || task.Status.State !== 'running' || !isOnNetworks(task)) return false;
    const held = this.#held.get(task.ID);
    if (held !== undefined) return !this.#isFree(task.ID, held);
    const made = { revision: this.#view.revision, untilMs: this.#clock.monotonicMs() + this.#drainMs };
    if (this.#isFree(task.ID, made)) return false;
    this.#held.set(task.ID, made);
    this.#clock.sleep(this.#drainMs, this.#ending.signal).then(
      () => this.#rouse(),
      () => undefined,
    );
    return true;
  }

  #isFree(taskId: string, held: Held): boolean {
    const task = this.#view.get('task', taskId);
    if (task === undefined || isTerminal(task.Status.State)) return true;
    if (held.untilMs <= this.#clock.monotonicMs()) return true;
    const networks = task.networks.map(({ networkId }) => networkId);
    return this.#mayEnd(networks, held.revision);
  }

  #rouse(): void {
    this.#isWoken = true;
    this.#wake?.();
  }

  async #sleep(signal: AbortSignal): Promise<void> {
    if (!signal.aborted && !this.#isWoken) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
      this.#wake = undefined;
    }
    this.#isWoken = false;
  }
}

function sizeOf(task: AssignedTask): number {
  return [...task.secrets, ...task.configs].reduce((sum, { data }) => sum + data.length, 4096);
}
