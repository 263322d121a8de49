import type { HeardLeader } from '#cluster/agent/agent.ts';
import { type LeaderMessage, SESSION_METHOD } from '#cluster/agent/session-messages.ts';
import { Allocator } from '#cluster/controllers/allocator.ts';
import { AttachmentReaper } from '#cluster/controllers/attachment-reaper.ts';
import type { Controller } from '#cluster/controllers/controller.ts';
import { Deployments } from '#cluster/controllers/deployments.ts';
import { campaign, type Leader, type Leadership, parseLeader } from '#cluster/controllers/election.ts';
import { type ControllerFigures, LeaderLoop } from '#cluster/controllers/leader-loop.ts';
import { NetworkKeys } from '#cluster/controllers/network-keys.ts';
import { NetworkReaper } from '#cluster/controllers/network-reaper.ts';
import { Orchestrator, type OrchestratorRules } from '#cluster/controllers/orchestrator.ts';
import { Reaper } from '#cluster/controllers/reaper.ts';
import { RootRotationEnd } from '#cluster/controllers/root-rotation.ts';
import type { AssignmentSources } from '#cluster/dispatcher/assignments.ts';
import { Dispatcher, type LivenessTimes } from '#cluster/dispatcher/dispatcher.ts';
import { ViewFollower } from '#cluster/state/view-follower.ts';
import type { Store } from '#cluster/store/store.ts';
import type { Channel, Peer, Transport } from '#cluster/transport/transport.ts';
import type { Clock } from '#control/clock.ts';
import type { Random } from '#control/random.ts';
import { unavailable } from '#model/errors.ts';

/** How long an agent is kept waiting for a leader; less than agents wait for an answer. */
const ELECTION_WAIT_MS = 2000;
const ELECTION_LOOK_MS = 50;

/**
 * A manager's part of the cluster: it follows the store, stands for leader, and while it leads runs the controllers and serves the
 * agents' sessions; while another leads it tells agents who.
 */
export class ControlPlane {
  readonly follower: ViewFollower;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #self: Leader;
  readonly #times: () => LivenessTimes;
  readonly #rules: Omit<OrchestratorRules, 'fencedInMs'>;
  readonly #sources: AssignmentSources;
  readonly #makeScheduler: () => Controller;
  readonly #makeNetworkKey: (id: string) => string;
  readonly #report: (message: string, details: object) => void;
  readonly #heard: () => HeardLeader | undefined;
  /** How long nodes had been silent when this manager last ceased to lead. */
  #silences: ReadonlyMap<string, number> = new Map();
  #leading: { dispatcher: Dispatcher; loop: LeaderLoop } | undefined;

  constructor(o: {
    store: Store;
    clock: Clock;
    random: Random;
    transport: Transport;
    self: Leader;
    /** Asked whenever this manager begins to lead. */
    times: () => LivenessTimes;
    rules: Omit<OrchestratorRules, 'fencedInMs'>;
    sources: AssignmentSources;
    makeScheduler: () => Controller;
    /** When this node's own agent last heard of who led. */
    heard: () => HeardLeader | undefined;
    /** A new key of encrypted networks, sealed. */
    makeNetworkKey: (id: string) => string;
    report: (message: string, details: object) => void;
  }) {
    this.#store = o.store;
    this.#clock = o.clock;
    this.#random = o.random;
    this.#self = o.self;
    this.#times = o.times;
    this.#rules = o.rules;
    this.#sources = o.sources;
    this.#makeScheduler = o.makeScheduler;
    this.#makeNetworkKey = o.makeNetworkKey;
    this.#report = o.report;
    this.#heard = o.heard;
    this.follower = new ViewFollower(o);
    o.transport.serve(SESSION_METHOD, (channel, peer) => this.#serve(channel, peer));
  }

  get isLeader(): boolean {
    return this.#leading !== undefined;
  }

  /** How the controllers are doing; empty while another leads. */
  get figures(): ControllerFigures[] {
    return this.#leading?.loop.figures ?? [];
  }

  /** Runs until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const campaigning = campaign({
      store: this.#store,
      clock: this.#clock,
      self: this.#self,
      lead: (leadership) => this.#lead(leadership),
      report: this.#report,
      signal,
    });
    await Promise.all([this.follower.run(signal), campaigning]);
  }

  async #lead({ guard, lost, isHeld, predecessor }: Leadership): Promise<void> {
    const { view } = this.follower;
    // the view has to have everything that those before wrote, of which the leader's key is the last
    await this.follower.untilRevision(guard.revision, lost);
    const dispatcher = new Dispatcher({
      view,
      clock: this.#clock,
      times: this.#times(),
      sources: this.#sources,
      managers: () => this.#managers(),
      leads: lost,
      isHeld,
      silentMs: this.#silencesAfter(predecessor),
      predecessor: predecessor?.nodeId === this.#self.nodeId ? undefined : predecessor?.nodeId,
    });
    const fencedInMs = (nodeId: string): number => dispatcher.fencedInMs(nodeId);
    const loop = new LeaderLoop({
      store: this.#store,
      follower: this.follower,
      controllers: [
        dispatcher,
        new RootRotationEnd(),
        new Deployments({ fits: (node, template) => this.#rules.fits(node, template) }),
        new Orchestrator({ ...this.#rules, fencedInMs }),
        new Allocator(),
        this.#makeScheduler(),
        new Reaper({ ...this.#rules, fencedInMs }),
        new AttachmentReaper({ fencedInMs }),
        new NetworkReaper(),
        new NetworkKeys({ make: this.#makeNetworkKey }),
      ],
      clock: this.#clock,
      random: this.#random,
      guard,
      report: this.#report,
    });
    this.#leading = { dispatcher, loop };
    this.#report('leads the cluster', { revision: view.revision });
    try {
      await loop.run(lost);
    } finally {
      this.#leading = undefined;
      this.#silences = dispatcher.silences;
      this.#report('does not lead any more', {});
    }
  }

  /** A node that was cut off does not get all its time once more because that ended a leadership. */
  #silencesAfter(predecessor: Leader | undefined): ReadonlyMap<string, number> {
    if (predecessor === undefined) return new Map();
    if (predecessor.nodeId === this.#self.nodeId) return this.#silences;
    const heard = this.#heard();
    if (heard?.manager !== predecessor.address) return new Map();
    return new Map([[predecessor.nodeId, this.#clock.monotonicMs() - heard.atMs]]);
  }

  #managers(): string[] {
    const managers: string[] = [];
    for (const node of this.follower.view.all('node')) {
      if (node.ManagerStatus !== undefined) managers.push(node.ManagerStatus.Addr);
    }
    return managers.sort();
  }

  async #serve(channel: Channel, peer: Peer | undefined): Promise<void> {
    const untilMs = this.#clock.monotonicMs() + ELECTION_WAIT_MS;
    // who comes while nobody leads waits here rather than elsewhere: it goes on as soon as somebody does
    do {
      if (this.#leading !== undefined) return this.#leading.dispatcher.serve(channel, peer);
      const leader = parseLeader(this.follower.view.leader);
      if (leader !== undefined && leader.nodeId !== this.#self.nodeId) {
        await channel.send({ kind: 'redirect', address: leader.address } satisfies LeaderMessage);
        return;
      }
      await this.#clock.sleep(ELECTION_LOOK_MS, channel.closed).catch(() => undefined);
    } while (!channel.closed.aborted && this.#clock.monotonicMs() < untilMs);
    throw unavailable('nobody leads the cluster at the moment');
  }
}
