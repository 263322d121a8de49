import type { Clock } from '#control/clock.ts';
import { pause } from '#control/pause.ts';
import { kindOf, messageOf } from '#model/errors.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import type { TaskNetworks } from './task-engine.ts';

/** A plan that could not be applied is applied again this late. */
const RETRY_MS = 2000;

/** Keeps the node's networks what was planned last: one plan at a time, and again what failed. */
export class PlanApplier {
  readonly #networks: TaskNetworks;
  readonly #clock: Clock;
  readonly #onApplied: () => void;
  readonly #log: (message: string, details: object) => void;
  #planned: { readonly revision: number; readonly plan: NetworkPlan } | undefined;
  #applied = 0;
  #turn: Promise<void> = Promise.resolve();

  constructor(o: {
    networks: TaskNetworks;
    clock: Clock;
    /** Called when {@link applied} has changed, or may have. */
    onApplied: () => void;
    log: (message: string, details: object) => void;
  }) {
    this.#networks = o.networks;
    this.#clock = o.clock;
    this.#onApplied = o.onApplied;
    this.#log = o.log;
  }

  /** The revision of the plan that the networks are; 0 before the first. */
  get applied(): number {
    return this.#applied;
  }

  /** Resolves when the plan was applied, or could not be and will be tried again. Never rejects. */
  take(
    planned: { readonly revision: number; readonly plan: NetworkPlan },
    signal: AbortSignal,
  ): Promise<void> {
    this.#planned = planned;
    return this.again(signal);
  }

  /** Applies the last plan once more, where there is one. Never rejects. */
  again(signal: AbortSignal): Promise<void> {
    this.#turn = this.#turn.then(() => this.#apply(signal));
    return this.#turn;
  }

  /** Applies the last plan once more, and mends what somebody else changed in the meantime. Never rejects. */
  async resync(signal: AbortSignal): Promise<void> {
    await this.again(signal);
    if (signal.aborted || this.#planned === undefined) return;
    try {
      const found = (await this.#networks.heal?.()) ?? [];
      if (found.length > 0) this.#log('the networks were not as planned, and are mended', { found });
    } catch (error) {
      this.#log('the networks could not be compared with the plan', { error: messageOf(error) });
    }
  }

  async #apply(signal: AbortSignal): Promise<void> {
    const planned = this.#planned;
    if (planned === undefined || signal.aborted) return;
    try {
      await this.#networks.apply(planned.plan);
      this.#applied = planned.revision;
      this.#onApplied();
    } catch (error) {
      if (signal.aborted) return;
      this.#log('the networks are not as planned', { kind: kindOf(error), error: messageOf(error) });
      void this.#retry(planned, signal);
    }
  }

  async #retry(planned: object, signal: AbortSignal): Promise<void> {
    const isTime = await pause(this.#clock, RETRY_MS, signal);
    if (isTime && planned === this.#planned) await this.again(signal);
  }
}
