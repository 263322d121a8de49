import { type LeaderMessage, parseAgentMessage } from '#cluster/agent/session-messages.ts';
import type { Controller, Decision, DecisionContext } from '#cluster/controllers/controller.ts';
import { NOTHING } from '#cluster/controllers/controller.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { ViewChange } from '#cluster/state/tables.ts';
import type { Channel, Peer } from '#cluster/transport/transport.ts';
import type { Clock } from '#control/clock.ts';
import { forbidden, unavailable } from '#model/errors.ts';
import type { NodeDescription, NodeRecord } from '#model/node.ts';
import type { ServiceRecord } from '#model/service.ts';
import type { SwarmRecord } from '#model/swarm.ts';
import { isTerminal, stateRank, type TaskRecord, type TaskStatus } from '#model/task.ts';
import { AgentSession } from './agent-session.ts';
import type { AssignmentSources } from './assignments.ts';
import { FenceMarks } from './fence-marks.ts';
import { NetworkMembers } from './network-members.ts';

/** Times of a cluster, in milliseconds; all follow from how long a node may be silent. */
export interface LivenessTimes {
  /** Between two heartbeats of an agent. */
  readonly heartbeatMs: number;
  /** Without a heartbeat for so long, a node is lost. More than three of {@link heartbeatMs}. */
  readonly lostAfterMs: number;
  /** Without an answered heartbeat for so long, an agent ends its single writers. */
  readonly fencingMs: number;
  /** The longest that this takes it. */
  readonly killMs: number;
  /** The longest that the end of a task waits for the others to stop sending to it. */
  readonly drainMs: number;
}

/** Heartbeats that every node has the time for to come to a new leader, however long it was silent before. */
const RETURNING_HEARTBEATS = 3;
/** The one that led last, and is another: where it lives it looks for the new leader since its lease ended, and its own address answers. */
const PREDECESSOR_HEARTBEATS = 2;

/** What is known of a node while this manager leads; nothing of it is written unless it changes the record. */
interface Presence {
  session: AgentSession | undefined;
  lastHeardMs: number;
  /** When the record was last written because the node described itself otherwise. */
  describedMs: number;
  description: NodeDescription | undefined;
  address: string | undefined;
}

/**
 * The leader's end of the agents' sessions. Down go assignments and network plans, as the view changes; up come heartbeats, which
 * stay here, and status, which the leader's loop writes with everything else. It is a controller whose truth
 * is what nodes say: keys are `node/ID` and `task/ID`. A node is heard only about itself and its own tasks.
 */
export class Dispatcher implements Controller {
  readonly name = 'dispatcher';
  readonly #view: ClusterView;
  readonly #clock: Clock;
  readonly #times: LivenessTimes;
  readonly #sources: AssignmentSources;
  readonly #managers: () => readonly string[];
  readonly #leads: AbortSignal;
  readonly #isHeld: () => boolean;
  readonly #startedMs: number;
  readonly #silentMs: ReadonlyMap<string, number>;
  readonly #predecessor: string | undefined;
  readonly #presences = new Map<string, Presence>();
  readonly #members = new NetworkMembers();
  /** The newest status that a node told of its task, until the view has it. */
  readonly #told = new Map<string, TaskStatus>();
  readonly #fences: FenceMarks;
  #dirty: (key: string) => void = () => undefined;

  constructor(o: {
    view: ClusterView;
    clock: Clock;
    times: LivenessTimes;
    sources: AssignmentSources;
    /** Addresses of managers that agents may come to. */
    managers: () => readonly string[];
    /** Aborted before anybody else can lead: from then on no heartbeat is answered. */
    leads: AbortSignal;
    /** False from when somebody else may lead, by the clock. */
    isHeld: () => boolean;
    /** For how long nodes had been silent already when the one before ceased to lead, in milliseconds, where that is known. */
    silentMs?: ReadonlyMap<string, number>;
    /** The node of who led before, where that is another one. */
    predecessor?: string | undefined;
  }) {
    this.#view = o.view;
    this.#clock = o.clock;
    this.#times = o.times;
    this.#sources = o.sources;
    this.#fences = new FenceMarks((service, template) => o.sources.isSingleWriter(service, template));
    this.#managers = o.managers;
    this.#leads = o.leads;
    this.#isHeld = o.isHeld;
    this.#startedMs = o.clock.monotonicMs();
    this.#silentMs = o.silentMs ?? new Map();
    this.#predecessor = o.predecessor;
  }

  /** For how long each node has been silent, in milliseconds: what the next leader begins with. */
  get silences(): Map<string, number> {
    const now = this.#clock.monotonicMs();
    return new Map([...this.#presences].map(([nodeId, { lastHeardMs }]) => [nodeId, now - lastHeardMs]));
  }

  connect(dirty: (key: string) => void): void {
    this.#dirty = dirty;
  }

  *keysOf(change: ViewChange, view: ClusterView): Iterable<string> {
    const affected = this.#members.observe(change);
    if (affected === 'all') for (const { session } of this.#presences.values()) session?.planChanged();
    else for (const nodeId of affected) this.#presences.get(nodeId)?.session?.planChanged();
    switch (change.table) {
      case 'task': {
        const nodeId = change.after?.NodeID ?? change.before?.NodeID ?? '';
        this.#presences.get(nodeId)?.session?.taskChanged(change.id);
        if (change.after === undefined) this.#fences.forget(change.id);
        const isOff = change.after !== undefined && this.#fences.isOff(view, change.after);
        if (isOff || this.#told.has(change.id)) yield `task/${change.id}`;
        return;
      }
      case 'service':
        if (change.after !== undefined && mayFenceOtherwise(change.before, change.after))
          for (const { ID, NodeID } of view.tasksOfService(change.id)) {
            this.#presences.get(NodeID)?.session?.taskChanged(ID);
            yield `task/${ID}`;
          }
        return;
      case 'node':
        if (change.after === undefined) this.#presences.get(change.id)?.session?.end();
        else if (change.before?.Spec.Role !== change.after.Spec.Role) this.#tellSettings(change.after);
        // an agent that knows only managers that are away finds none any more
        if (change.before?.ManagerStatus?.Addr !== change.after?.ManagerStatus?.Addr) this.#tellAll();
        yield `node/${change.id}`;
        return;
      case 'swarm':
        if (
          change.before !== undefined &&
          change.after !== undefined &&
          areOtherRoots(change.before, change.after)
        )
          this.#tellAll();
        return;
      default:
        return;
    }
  }

  reconcile(view: ClusterView, key: string, context: DecisionContext): Decision {
    const slash = key.indexOf('/');
    const id = key.slice(slash + 1);
    return key.startsWith('task/') ? this.#writeTask(view, id, context) : this.#writeNode(view, id, context);
  }

  /** Serves an agent's session until one of the two ends it. A newer session of the same node ends the older one. */
  async serve(channel: Channel, peer: Peer | undefined): Promise<void> {
    if (peer === undefined) throw forbidden('a session needs a node certificate');
    const node = this.#view.get('node', peer.nodeId);
    if (node === undefined) throw forbidden(`node ${peer.nodeId} is not in this cluster: it was removed`);
    if (this.#leads.aborted) throw unavailable('this manager does not lead any more');
    const presence = this.#presenceOf(peer.nodeId);
    presence.session?.end();
    const session = new AgentSession({
      nodeId: peer.nodeId,
      channel,
      view: this.#view,
      members: this.#members,
      sources: this.#sources,
      fences: this.#fences,
      clock: this.#clock,
      drainMs: this.#times.drainMs,
      mayEnd: (networkIds, revision) => this.#isForgotten(networkIds, revision),
      reject: (taskId, reason) => this.#reject(peer.nodeId, taskId, reason),
    });
    presence.session = session;
    const stop = (): void => session.end();
    this.#leads.addEventListener('abort', stop, { once: true });
    try {
      await session.send(this.#settingsFor(node));
      await Promise.all([session.run(), this.#hear(peer.nodeId, presence, session)]);
    } finally {
      this.#leads.removeEventListener('abort', stop);
      session.end();
      if (presence.session === session) presence.session = undefined;
      // what waited for this one to forget a task waits no more
      for (const each of this.#presences.values()) each.session?.wake();
    }
  }

  async #hear(nodeId: string, presence: Presence, session: AgentSession): Promise<void> {
    for await (const text of session.channel.messages) {
      const message = parseAgentMessage(text);
      if (presence.session !== session || this.#leads.aborted || !this.#isHeld()) break;
      presence.lastHeardMs = this.#clock.monotonicMs();
      // it was given up, and goes on talking
      if (this.#view.get('node', nodeId)?.Status.State !== 'ready') this.#dirty(`node/${nodeId}`);
      switch (message.kind) {
        case 'heartbeat':
          await session.send({ kind: 'heartbeat', sent: message.sent } satisfies LeaderMessage);
          break;
        case 'hello':
          presence.description = message.description;
          presence.address = message.address;
          this.#dirty(`node/${nodeId}`);
          break;
        case 'description':
          presence.description = message.description;
          this.#dirty(`node/${nodeId}`);
          break;
        case 'status':
          for (const { taskId, status } of message.updates) this.#hearStatus(nodeId, taskId, status);
          break;
        case 'fenced':
          for (const { taskId, number } of message.tasks) {
            // of what it was told since, it has not heard yet
            if (!session.hasAsked(taskId, number)) continue;
            this.#fences.confirm(taskId);
            this.#dirty(`task/${taskId}`);
          }
          break;
        case 'applied':
          session.applied(message.revision);
          for (const each of this.#presences.values()) each.session?.wake();
          break;
      }
    }
    session.end();
  }

  #settingsFor(node: NodeRecord): LeaderMessage {
    const { heartbeatMs, fencingMs } = this.#times;
    const managers = this.#managers();
    return { kind: 'settings', heartbeatMs, fencingMs, role: node.Spec.Role, managers, ...this.#roots() };
  }

  /** As the CA gives them with certificates: the one that signs, then the one that goes. */
  #roots(): { roots?: string } {
    for (const { rootCertificate, previousRootCertificate } of this.#view.all('swarm'))
      return { roots: rootCertificate + (previousRootCertificate ?? '') };
    return {};
  }

  #tellSettings(node: NodeRecord): void {
    const session = this.#presences.get(node.ID)?.session;
    // a channel that does not take it is over, and the next one begins with it
    session?.send(this.#settingsFor(node)).catch(() => session.end());
  }

  /** Where managers are, and which roots are trusted: a node that does not know it finds no manager when those that it knows are gone. */
  #tellAll(): void {
    for (const nodeId of this.#presences.keys()) {
      const node = this.#view.get('node', nodeId);
      if (node !== undefined) this.#tellSettings(node);
    }
  }

  /** A node says what became of its own tasks; about others it is not heard. */
  #hearStatus(nodeId: string, taskId: string, status: TaskStatus): void {
    const task = this.#view.get('task', taskId);
    // of one that is not assigned yet, nobody told it
    if (task?.NodeID !== nodeId || stateRank(task.Status.State) < stateRank('assigned')) return;
    const rank = stateRank(status.State);
    if (rank < stateRank('accepted') || rank > stateRank('rejected')) return;
    const known = this.#told.get(taskId);
    if (known !== undefined && stateRank(known.State) > rank) return;
    this.#told.set(taskId, status);
    this.#dirty(`task/${taskId}`);
  }

  /** What a node would say of a task that it could not prepare. */
  #reject(nodeId: string, taskId: string, Err: string): void {
    this.#hearStatus(nodeId, taskId, { Timestamp: '', State: 'rejected', Message: 'preparing', Err });
  }

  #writeTask(view: ClusterView, id: string, { nowMs }: DecisionContext): Decision {
    const task = view.get('task', id);
    if (task === undefined) {
      this.#told.delete(id);
      return NOTHING;
    }
    const put = this.#withStatus(this.#fences.marked(view, task), nowMs);
    if (put === task) return NOTHING;
    return { writes: [{ table: 'task', put: { ...put, UpdatedAt: new Date(nowMs).toISOString() } }] };
  }

  /** The task with the status that its node has told; the same one where that is no news. */
  #withStatus(task: TaskRecord, nowMs: number): TaskRecord {
    const status = this.#told.get(task.ID);
    const isNews =
      status !== undefined &&
      !isTerminal(task.Status.State) &&
      stateRank(status.State) > stateRank(task.Status.State);
    if (!isNews) {
      this.#told.delete(task.ID);
      return task;
    }
    // a node's clock may be anything: times are the leader's
    const now = new Date(nowMs).toISOString();
    const startedAt = task.Status.startedAt ?? (status.State === 'running' ? now : undefined);
    const { startedAt: _, ...told } = status;
    const Status = { ...told, Timestamp: now, ...(startedAt === undefined ? {} : { startedAt }) };
    return { ...task, Status };
  }

  #writeNode(view: ClusterView, id: string, { nowMs }: DecisionContext): Decision {
    const node = view.get('node', id);
    if (node === undefined) return NOTHING;
    const presence = this.#presenceOf(id);
    const leftMs = presence.lastHeardMs + this.#times.lostAfterMs - this.#clock.monotonicMs();
    const isLost = leftMs <= 0;
    const now = new Date(nowMs).toISOString();
    const again = isLost ? {} : { againAtMs: nowMs + leftMs };
    if (isLost) {
      if (node.Status.State === 'down') return NOTHING;
      const Status = { ...node.Status, State: 'down', Message: 'heartbeat failure', since: now } as const;
      return { writes: [{ table: 'node', put: { ...node, Status, UpdatedAt: now } }] };
    }
    const { description = node.Description, address = node.Status.Addr, session } = presence;
    const isBack =
      session !== undefined && presence.description !== undefined && node.Status.State !== 'ready';
    const isOther =
      address !== node.Status.Addr || JSON.stringify(description) !== JSON.stringify(node.Description);
    if (!isBack && !isOther) return { writes: [], ...again };
    // however often a node says something else, it is not written more often than it has to be heard
    const nextMs = presence.describedMs + this.#times.heartbeatMs - this.#clock.monotonicMs();
    if (!isBack && nextMs > 0) return { writes: [], againAtMs: nowMs + Math.min(nextMs, leftMs) };
    presence.describedMs = this.#clock.monotonicMs();
    const state = isBack ? ({ State: 'ready', since: now } as const) : {};
    const { Message: _, ...status } = node.Status;
    const put = {
      ...node,
      UpdatedAt: now,
      Status: { ...status, ...state, Addr: address },
      ...(description === undefined ? {} : { Description: description }),
    };
    return { writes: [{ table: 'node', put }], ...again };
  }

  /**
   * How many milliseconds are left until what a node runs as single writer is surely over, if it is not heard of until then: 0 when it is.
   * Counted by this leader alone, on its own clock; a node that it never heard of may have heard of the one before.
   */
  fencedInMs(nodeId: string): number {
    const lastHeardMs = this.#presences.get(nodeId)?.lastHeardMs ?? this.#startedMs;
    const safeAtMs = Math.max(lastHeardMs, this.#startedMs) + this.#times.fencingMs + this.#times.killMs;
    return Math.max(0, safeAtMs - this.#clock.monotonicMs());
  }

  /** True when no node that takes part in the networks still knows the view of before `revision`, so nobody sends there any more. */
  #isForgotten(networkIds: readonly string[], revision: number): boolean {
    const ingress = this.#members.ingressOf(this.#view)?.ID;
    for (const [nodeId, { session }] of this.#presences) {
      if (session === undefined || session.hasApplied(revision)) continue;
      const theirs = this.#members.networksOf(nodeId);
      if (networkIds.some((id) => id === ingress || theirs.has(id))) return false;
    }
    return true;
  }

  #presenceOf(nodeId: string): Presence {
    const known = this.#presences.get(nodeId);
    if (known !== undefined) return known;
    // who is heard of for the first time, by a new leader above all, has the time to come
    const { heartbeatMs, lostAfterMs } = this.#times;
    const heartbeats = nodeId === this.#predecessor ? PREDECESSOR_HEARTBEATS : RETURNING_HEARTBEATS;
    const silentMs = Math.min(
      this.#silentMs.get(nodeId) ?? 0,
      Math.max(0, lostAfterMs - heartbeats * heartbeatMs),
    );
    const lastHeardMs = this.#clock.monotonicMs() - silentMs;
    const made = {
      ...{ session: undefined, lastHeardMs, describedMs: Number.NEGATIVE_INFINITY },
      ...{ description: undefined, address: undefined },
    };
    this.#presences.set(nodeId, made);
    return made;
  }
}

/** By its mode, labels and template a service is one of which never two tasks may run. */
function mayFenceOtherwise(before: ServiceRecord | undefined, after: ServiceRecord): boolean {
  const said = ({ Spec, revision }: ServiceRecord): string =>
    JSON.stringify([Spec.Mode, Spec.Labels, revision]);
  return before !== undefined && said(before) !== said(after);
}

function areOtherRoots(before: SwarmRecord, after: SwarmRecord): boolean {
  return (
    before.rootCertificate !== after.rootCertificate ||
    before.previousRootCertificate !== after.previousRootCertificate
  );
}
