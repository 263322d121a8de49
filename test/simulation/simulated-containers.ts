import {
  type AttachableContainers,
  type ContainerPlace,
  NodeAttachments,
} from '#cluster/attachments/node-attachments.ts';
import type { Transport } from '#cluster/transport/transport.ts';
import { messageOf } from '#model/errors.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import type { ProcessClock } from './process-clock.ts';

const RETRY_MS = 1000;

/** A container that somebody runs by hand on a network of the cluster. */
export interface PlainContainer {
  readonly id: string;
  readonly network: string;
  /** Its restart policy brings it back. */
  readonly always: boolean;
  /** Empty while it does not run, and is to. */
  address: string;
}

/** A daemon's part, which is over when that is killed. */
interface Process {
  readonly attachments: NodeAttachments;
  readonly clock: ProcessClock;
  readonly killed: AbortSignal;
}

/** The plain containers of one simulated machine: like those of tasks, they outlive the daemon, but not the machine. */
export class SimulatedContainers implements AttachableContainers {
  readonly all: Map<string, PlainContainer> = new Map();
  readonly #onRun: (container: PlainContainer) => void;
  readonly #trace: (text: string) => void;
  #process: Process | undefined;

  constructor(o: { onRun: (container: PlainContainer) => void; trace: (text: string) => void }) {
    this.#onRun = o.onRun;
    this.#trace = o.trace;
  }

  /** A daemon has begun: what is to run again does so as soon as it can. Gives what hears of its plans. */
  serve(o: {
    readonly transport: Transport;
    readonly managers: () => readonly string[];
    readonly plan: () => NetworkPlan | undefined;
    readonly clock: ProcessClock;
    readonly killed: AbortSignal;
  }): NodeAttachments {
    const { clock, killed } = o;
    const attachments = new NodeAttachments({
      containers: this,
      plan: () => o.plan() ?? NO_PLAN,
      clock,
      report: (message, details) => this.#trace(`${message} ${JSON.stringify(details)}`),
    });
    attachments.join({ transport: o.transport, managers: o.managers });
    this.#process = { attachments, clock, killed };
    for (const container of this.all.values()) {
      if (container.address !== '') continue;
      this.#restart(container).catch((error: unknown) => {
        // a daemon that is killed waits for nothing any more
        if (!killed.aborted) this.#trace(`container ${container.id} is forgotten: ${messageOf(error)}`);
      });
    }
    return attachments;
  }

  /** Somebody runs a container, who is told what came of it. */
  async run(id: string, o: { network: string; always: boolean }): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    this.#trace(`container ${id} is to run`);
    try {
      using place = await process.attachments.attach({ network: o.network, containerId: id, names: [id] });
      await process.clock.awake();
      if (process.killed.aborted) return;
      const container = { id, ...o, address: place.address };
      this.all.set(id, container);
      this.#runs(container);
    } catch (error) {
      this.#trace(`container ${id} does not run: ${messageOf(error)}`);
    }
  }

  end(id: string): void {
    this.#trace(`container ${id} ends`);
    this.all.delete(id);
    this.#process?.attachments.look();
  }

  kill(): void {
    this.#process = undefined;
  }

  /** The machine loses power, and its daemon with it. */
  crash(): void {
    for (const container of this.all.values()) {
      if (container.always) container.address = '';
      else this.all.delete(container.id);
    }
  }

  places(): ContainerPlace[] {
    return [...this.all.values()].map(({ id, network, address }) => ({
      ...{ containerId: id, networkId: network, names: [id], address },
    }));
  }

  async renewAddress(id: string): Promise<void> {
    await this.takeOff(id);
    const container = this.all.get(id);
    if (container !== undefined) await this.#attach(container);
  }

  async takeOff(id: string): Promise<void> {
    const container = this.all.get(id);
    if (container !== undefined) container.address = '';
  }

  isThere(): boolean {
    return true;
  }

  async #restart(container: PlainContainer): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    const { attachments, clock, killed } = process;
    while (!killed.aborted && this.all.get(container.id) === container && container.address === '') {
      await attachments.ready(killed);
      try {
        await this.#attach(container);
      } catch (error) {
        this.#trace(`container ${container.id} does not run again: ${messageOf(error)}`);
        await clock.sleep(RETRY_MS, killed);
      }
    }
  }

  async #attach(container: PlainContainer): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    const { id: containerId, network } = container;
    using place = await process.attachments.attach({ network, containerId, names: [containerId] });
    await process.clock.awake();
    if (process.killed.aborted || this.all.get(containerId) !== container) return;
    container.address = place.address;
    this.#runs(container);
  }

  #runs(container: PlainContainer): void {
    this.#trace(`runs container ${container.id} at ${container.address}`);
    this.#onRun(container);
  }
}

const NO_PLAN: NetworkPlan = {
  ...{ nodeId: '', dataPathAddress: '', dataPathPort: 0, networks: [], ports: [] },
  ingressNetworkId: undefined,
};
