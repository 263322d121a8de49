import { within } from '#cluster/transport/deadline.ts';
import type { ManagerAccess } from '#cluster/transport/manager-question.ts';
import { backoffMs } from '#control/backoff.ts';
import type { Clock } from '#control/clock.ts';
import { pause } from '#control/pause.ts';
import { withoutPrefix } from '#engine/networks/ipv4.ts';
import type { AttachedPlace, NetworkAttacher } from '#engine/networks/network-attachments.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import { DroverError, type ErrorKind, kindOf, messageOf, notFound, unavailable } from '#model/errors.ts';
import type { NetworkPlan, PlannedEndpoint } from '#model/network-plan.ts';
import { AttachmentQuestions, type GivenPlace } from './attachment-protocol.ts';

/** What a start waits for its place at most. */
const ATTACH_LIMIT_MS = 20_000;
/** A manager that is asked for a name has it in memory. */
const FIND_LIMIT_MS = 5000;
const ASK_AGAIN_MS = 1000;
/** What giving everything back may take when the node leaves. */
const LEAVE_LIMIT_MS = 3000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 15_000;

/** How managers refuse an address that somebody else has, or a network that is not there any more. */
const REFUSALS: readonly ErrorKind[] = ['conflict', 'forbidden', 'not-found', 'invalid', 'not-implemented'];

/** A plain container on a network of the cluster, as this node's engine has it. */
export interface ContainerPlace {
  readonly containerId: string;
  readonly networkId: string;
  /** What it is found by. */
  readonly names: readonly string[];
  /** Without a prefix length; empty between two runs of a container that its policy restarts. */
  readonly address: string;
}

/** This node's containers as attachments need them. */
export interface AttachableContainers {
  /** The places that containers have which run, or are about to be restarted. */
  places(): readonly ContainerPlace[];
  /** The container gets another address: the one that it has is somebody else's. */
  renewAddress(containerId: string, networkId: string): Promise<void>;
  /** The container is taken off the network, until its next start. */
  takeOff(containerId: string, networkId: string): Promise<void>;
  /** Whether the network's links and names are made here. */
  isThere(networkId: string): boolean;
}

interface HeldPlace extends PlannedEndpoint {
  readonly containerId: string;
  readonly networkId: string;
}

/**
 * This node's places for plain containers. What it holds, the plan of its networks says; what it needs, its containers. Whatever the two
 * differ in is settled with a manager: a place that no container has is given back, one that the managers do not know of is asked for
 * again. So nothing has to be remembered over a crash of either, and a lost answer leaves nothing behind.
 */
export class NodeAttachments implements NetworkAttacher {
  readonly #containers: AttachableContainers;
  readonly #plan: () => NetworkPlan;
  readonly #clock: Clock;
  readonly #report: (message: string, details: object) => void;
  #cluster: { readonly questions: AttachmentQuestions; readonly ending: AbortController } | undefined;
  /** Containers whose places are being asked for, and not used yet. */
  readonly #leases = new Map<string, number>();
  /** Containers whose places are being given back. */
  readonly #releasing = new Map<string, Promise<void>>();
  readonly #waiting = new Set<() => void>();
  /** A manager has said, in this daemon's life, what the node holds. */
  #isTold = false;
  #isDirty = false;
  #working: Promise<void> | undefined;

  constructor(o: {
    containers: AttachableContainers;
    /** What the node was told last. */
    plan: () => NetworkPlan;
    clock: Clock;
    report: (message: string, details: object) => void;
  }) {
    this.#containers = o.containers;
    this.#plan = o.plan;
    this.#clock = o.clock;
    this.#report = o.report;
  }

  /** The node is in a cluster, until this is disposed of. */
  join(access: ManagerAccess): AsyncDisposable {
    const cluster = { questions: new AttachmentQuestions(access), ending: new AbortController() };
    this.#cluster = cluster;
    this.#isTold = false;
    return {
      [Symbol.asyncDispose]: async () => {
        cluster.ending.abort();
        if (this.#cluster === cluster) this.#cluster = undefined;
        this.#isTold = false;
        await this.#working;
      },
    };
  }

  /** A manager's plan was applied. */
  planApplied(): void {
    this.#isTold = true;
    for (const tell of this.#waiting) tell();
    this.look();
  }

  /** Something may be other than the managers think. */
  look(): void {
    this.#isDirty = true;
    const cluster = this.#cluster;
    if (cluster === undefined || this.#working !== undefined) return;
    this.#working = this.#work(cluster.questions, cluster.ending.signal).finally(() => {
      this.#working = undefined;
      if (this.#isDirty && this.#cluster !== undefined) this.look();
    });
  }

  async ready(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const cluster = this.#cluster;
      if (cluster === undefined) return;
      const isOver = AbortSignal.any([signal, cluster.ending.signal]);
      try {
        await within(this.#clock, FIND_LIMIT_MS, isOver, 'asking for a manager', (limited) =>
          cluster.questions.ready(limited),
        );
        return;
      } catch (error) {
        if (kindOf(error) !== 'unavailable' && !isOver.aborted) return;
        await pause(this.#clock, ASK_AGAIN_MS, isOver);
      }
    }
    signal.throwIfAborted();
  }

  async find(reference: string): Promise<string> {
    const { Name } = await this.network(reference);
    return Name;
  }

  /** A network that containers may be attached to, from a manager. Throws as Docker does, also when no manager answers. */
  async network(reference: string): Promise<ClusterNetworkRecord> {
    const { questions, ending } = this.#joined(reference);
    try {
      return await within(this.#clock, FIND_LIMIT_MS, ending.signal, 'asking for a network', (limited) =>
        questions.find(reference, limited),
      );
    } catch (error) {
      throw noManager(reference, error);
    }
  }

  async attach(o: {
    readonly network: string;
    readonly containerId: string;
    readonly names: readonly string[];
    readonly address?: string;
  }): Promise<AttachedPlace> {
    const { questions, ending } = this.#joined(o.network);
    using lease = new DisposableStack();
    this.#lease(o.containerId);
    lease.defer(() => this.#endLease(o.containerId));
    try {
      const place = await within(
        this.#clock,
        ATTACH_LIMIT_MS,
        ending.signal,
        'attaching',
        async (limited) => {
          await this.#releasing.get(o.containerId);
          const given = await questions.attach(o, limited);
          await this.#untilPlanned(given, limited);
          return given;
        },
      );
      if (!this.#containers.isThere(place.networkId))
        throw unavailable('its links could not be made on this node', {
          hint: "The daemon's log says why.",
        });
      const kept = lease.move();
      return {
        networkId: place.networkId,
        address: withoutPrefix(place.address),
        [Symbol.dispose]: () => kept.dispose(),
      };
    } catch (error) {
      throw noManager(o.network, error);
    }
  }

  /** The node leaves the cluster: no container is on its networks any more. Never rejects. */
  async leave(): Promise<void> {
    const held = this.#held().map(({ taskId }) => taskId);
    for (const { containerId, networkId } of this.#containers.places()) {
      await this.#containers.takeOff(containerId, networkId).catch((error: unknown) => {
        this.#report('a container is still on a network of the cluster', {
          containerId,
          error: messageOf(error),
        });
      });
    }
    const cluster = this.#cluster;
    if (cluster === undefined || held.length === 0) return;
    const { signal } = cluster.ending;
    await within(this.#clock, LEAVE_LIMIT_MS, signal, 'giving places back', (limited) =>
      cluster.questions.release(held, limited),
    ).catch((error: unknown) => {
      // they are free when the node is removed
      this.#report('the places of attached containers are not given back', { error: messageOf(error) });
    });
  }

  /** What containers have that the managers do not know of, a sentence each. */
  differences(): string[] {
    const held = this.#held();
    return this.#containers
      .places()
      .filter((place) => place.address !== '' && !this.#leases.has(place.containerId))
      .filter((place) => !held.some((each) => isSame(each, place) && each.address === place.address))
      .map(
        ({ containerId, networkId, address }) =>
          `network ${networkId}: container ${containerId.slice(0, 12)} has the address ${address}, which the managers do not know of`,
      );
  }

  #joined(reference: string): { questions: AttachmentQuestions; ending: AbortController } {
    if (this.#cluster === undefined) throw notFound(`network ${reference} not found`);
    return this.#cluster;
  }

  #lease(containerId: string): void {
    this.#leases.set(containerId, (this.#leases.get(containerId) ?? 0) + 1);
  }

  #endLease(containerId: string): void {
    const left = (this.#leases.get(containerId) ?? 1) - 1;
    if (left > 0) this.#leases.set(containerId, left);
    else this.#leases.delete(containerId);
    this.look();
  }

  /** Until the node's networks have the place: others know it then, or are about to. */
  async #untilPlanned({ id }: GivenPlace, signal: AbortSignal): Promise<void> {
    while (!this.#held().some(({ taskId }) => taskId === id)) {
      signal.throwIfAborted();
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
      await promise;
      this.#waiting.delete(resolve);
    }
  }

  /** This node's places for plain containers, as it was told last. */
  #held(): HeldPlace[] {
    const { nodeId, networks } = this.#plan();
    return networks.flatMap(({ id: networkId, endpoints }) =>
      endpoints.flatMap((endpoint) =>
        endpoint.nodeId === nodeId && endpoint.containerId !== undefined
          ? [{ ...endpoint, containerId: endpoint.containerId, networkId }]
          : [],
      ),
    );
  }

  async #work(questions: AttachmentQuestions, signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (this.#isDirty && !signal.aborted) {
      // what is announced now is true in a moment
      await Promise.resolve();
      this.#isDirty = false;
      if (!this.#isTold) return;
      try {
        await this.#settle(questions, signal);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        this.#report('attached containers are not as the managers know', { error: messageOf(error) });
        this.#isDirty = true;
        const ms = backoffMs({ attempt: failures++, firstMs: FIRST_RETRY_MS, maxMs: LONGEST_RETRY_MS });
        await pause(this.#clock, ms, signal);
      }
    }
  }

  async #settle(questions: AttachmentQuestions, signal: AbortSignal): Promise<void> {
    const places = this.#containers.places().filter((place) => !this.#leases.has(place.containerId));
    const held = this.#held().filter(({ containerId }) => !this.#leases.has(containerId));
    const needed = (each: HeldPlace): boolean =>
      places.some((place) => isSame(each, place) && ['', each.address].includes(place.address));
    await this.#release(
      questions,
      held.filter((each) => !needed(each)),
      signal,
    );
    for (const place of places) {
      const known = held.find((each) => isSame(each, place) && each.address === place.address);
      if (place.address === '' || known?.aliases.join() === place.names.join()) continue;
      await this.#claim(questions, place, signal);
    }
  }

  async #release(
    questions: AttachmentQuestions,
    places: readonly HeldPlace[],
    signal: AbortSignal,
  ): Promise<void> {
    if (places.length === 0) return;
    const released = questions.release(
      places.map(({ taskId }) => taskId),
      signal,
    );
    // a start that comes now asks when it is over, whatever came of it
    const settled = released.catch(() => undefined);
    for (const { containerId } of places) this.#releasing.set(containerId, settled);
    try {
      await released;
    } finally {
      for (const { containerId } of places)
        if (this.#releasing.get(containerId) === settled) this.#releasing.delete(containerId);
    }
  }

  /** Says again what a running container has, or is found by. */
  async #claim(questions: AttachmentQuestions, place: ContainerPlace, signal: AbortSignal): Promise<void> {
    const { containerId, networkId: network, names, address } = place;
    try {
      await questions.attach({ network, containerId, names, address }, signal);
    } catch (error) {
      if (signal.aborted || !REFUSALS.includes(kindOf(error))) throw error;
      const details = { containerId, network, address, error: messageOf(error) };
      this.#report('a container cannot keep its address, and gets another one', details);
      await this.#containers.renewAddress(containerId, network);
    }
  }
}

function isSame(
  a: { readonly containerId: string; readonly networkId: string },
  b: { readonly containerId: string; readonly networkId: string },
): boolean {
  return a.containerId === b.containerId && a.networkId === b.networkId;
}

/** In Docker's words also where nobody was there to say them. */
function noManager(reference: string, error: unknown): unknown {
  if (kindOf(error) !== 'unavailable') return error;
  return new DroverError('unavailable', `Could not attach to network ${reference}: ${messageOf(error)}`, {
    cause: error,
    hint: 'Containers that run go on. Try again when a manager can be reached.',
  });
}
