import type { HeardLeader } from '#cluster/agent/agent.ts';
import { ClusterControl } from '#cluster/control/cluster-control.ts';
import { ControlPlane } from '#cluster/control-plane.ts';
import { parseLeader } from '#cluster/controllers/election.ts';
import { callNodes } from '#cluster/membership/node-calls.ts';
import { abandonedManagers, abandonedMembers, LateLeavers } from '#cluster/membership/store-members.ts';
import { nodeFit } from '#cluster/scheduler/node-fit.ts';
import { Scheduler } from '#cluster/scheduler/scheduler.ts';
import { isSingleWriter } from '#cluster/scheduler/single-writer.ts';
import { transactionOf } from '#cluster/state/record-transaction.ts';
import type { Write } from '#cluster/state/tables.ts';
import type { NodeRecord } from '#model/node.ts';
import type { NodeStore } from './node-store.ts';
import type { ProcessClock, ProcessTransport } from './process-clock.ts';
import type { SeededRandom } from './seeded-random.ts';
import { EPOCH_MS, type World } from './world.ts';

export const TIMES = { heartbeatMs: 1000, lostAfterMs: 5000, fencingMs: 5000, killMs: 2000, drainMs: 3000 };

/** Between two looks at who is to be a member of the store. */
const MEMBERS_MS = 3000;
const LOOK_MS = 50;
const LEAVE_LIMIT_MS = 5000;

/**
 * What a manager is besides its agent, for as long as it is one: the real control plane and control over its way to the store, and what a
 * daemon does around them about who manages.
 */
export class Managing {
  readonly store: NodeStore;
  readonly plane: ControlPlane;
  readonly control: ClusterControl;
  readonly #nodeId: string;
  readonly #world: World;
  readonly #clock: ProcessClock;
  readonly #ending = new AbortController();

  constructor(o: {
    nodeId: string;
    world: World;
    store: NodeStore;
    clock: ProcessClock;
    random: SeededRandom;
    transport: ProcessTransport;
    /** When this node's own agent last heard of who led. */
    heard: () => HeardLeader | undefined;
    /** By how much the machine's date is off. */
    skewMs: () => number;
    killed: AbortSignal;
    trace: (text: string) => void;
  }) {
    const { nodeId, world, store, clock, random, transport } = o;
    this.#nodeId = nodeId;
    this.#world = world;
    this.#clock = clock;
    this.store = store;
    const signal = AbortSignal.any([o.killed, this.#ending.signal]);
    this.plane = new ControlPlane({
      ...{ store, clock, random, transport, heard: o.heard },
      self: { nodeId, address: nodeId },
      times: () => TIMES,
      rules: { isSingleWriter, fits: nodeFit() },
      sources: {
        openSecret: (secret) => secret.sealed,
        openRegistryAuth: (sealed) => sealed,
        openNetworkKey: ({ sealed }) => sealed,
        isSingleWriter,
      },
      makeScheduler: () => new Scheduler(),
      makeNetworkKey: (id) => id,
      report: (message, details) => o.trace(`${message} ${JSON.stringify(details)}`),
    });
    const { follower } = this.plane;
    const nowMs = (): number => world.clock.nowMs() + EPOCH_MS + o.skewMs();
    this.control = new ClusterControl({
      ...{ follower, store, random, signal, nodeId },
      clock: { nowMs, monotonicMs: nowMs, sleep: (ms, cut) => world.clock.sleep(ms, cut) },
      sealer: { seal: (data) => data.toString('base64'), unseal: (text) => Buffer.from(text, 'base64') },
      joinTokens: { create: () => 'token', rebind: (token) => token },
      makeUnlockKey: () => '',
      leader: () => parseLeader(follower.view.leader)?.nodeId,
      localNetwork: (reference) => ['bridge', 'host', 'none'].find((name) => name === reference),
    });
    const calling = callNodes({
      ...{ view: follower.view, transport, nodeId, clock, signal },
      isLeader: () => this.plane.isLeader,
      managers: () => world.managers(follower.view),
    });
    const parts = [this.plane.run(signal), calling, this.#announce(signal), this.#keepMembers(signal)];
    Promise.all(parts).catch((error: unknown) => {
      if (!signal.aborted) o.trace(`managing failed: ${String(error)}`);
    });
  }

  /** Aborted when it is over. */
  get over(): AbortSignal {
    return this.#ending.signal;
  }

  /** Is no manager any more: says so where the store can be written, and ends. */
  async leave(killed: AbortSignal): Promise<void> {
    const limit = new AbortController();
    this.#clock.sleep(LEAVE_LIMIT_MS, killed).then(
      () => limit.abort(),
      () => limit.abort(),
    );
    await this.#writeUntilDone(() => this.#own(({ ManagerStatus: _, ...node }) => node), limit.signal);
    this.#ending.abort();
  }

  /** As a daemon does when it has become a manager, or was one when it began. */
  async #announce(signal: AbortSignal): Promise<void> {
    const { view } = this.plane.follower;
    while (view.get('node', this.#nodeId) === undefined || view.leader === undefined) {
      await this.#clock.sleep(LOOK_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
    }
    await this.#writeUntilDone(
      () => this.#own((node) => ({ ...node, ManagerStatus: { Addr: this.#nodeId } })),
      signal,
    );
  }

  #own(change: (node: NodeRecord) => NodeRecord): Write[] {
    const node = this.plane.follower.view.get('node', this.#nodeId);
    if (node === undefined) return [];
    const put = change(node);
    return JSON.stringify(put) === JSON.stringify(node) ? [] : [{ table: 'node', put }];
  }

  /** Managers that are gone and were demoted or removed lose the store, and their records say so. */
  async #keepMembers(signal: AbortSignal): Promise<void> {
    const { view } = this.plane.follower;
    const leavers = new LateLeavers(this.#clock);
    while (!signal.aborted) {
      await this.#clock.sleep(MEMBERS_MS, signal).catch(() => undefined);
      const late = leavers.look(view);
      if (signal.aborted || !this.plane.isLeader) continue;
      const members = this.#world.members();
      for (const { name } of abandonedMembers(members, (id) => view.get('node', id), late))
        this.#world.expel(name);
      const writes = abandonedManagers(view, late);
      if (writes.length > 0) await this.#write(writes).catch(() => undefined);
    }
  }

  async #writeUntilDone(decide: () => Write[], signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const writes = decide();
      if (writes.length === 0) return;
      await this.#write(writes).catch(() => undefined);
      await this.#clock.sleep(LOOK_MS, signal).catch(() => undefined);
    }
  }

  async #write(writes: readonly Write[]): Promise<void> {
    await this.store.commit(transactionOf(this.plane.follower.view, writes));
  }
}
