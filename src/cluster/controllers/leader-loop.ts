import type { ClusterView } from '#cluster/state/cluster-view.ts';
import { type Guard, transactionOf } from '#cluster/state/record-transaction.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import type { ViewFollower } from '#cluster/state/view-follower.ts';
import type { Store } from '#cluster/store/store.ts';
import { backoffMs } from '#control/backoff.ts';
import type { Clock } from '#control/clock.ts';
import type { Random } from '#control/random.ts';
import { kindOf, messageOf } from '#model/errors.ts';
import type { Controller } from './controller.ts';
import { DirtyKeys } from './dirty-keys.ts';

const FIRST_RETRY_MS = 20;
const LONGEST_RETRY_MS = 2000;

/** How a controller is doing: the same figures for all. */
export interface ControllerFigures {
  readonly name: string;
  readonly waitingKeys: number;
  readonly rounds: number;
  readonly writes: number;
  readonly lastError: string | undefined;
}

interface Seat {
  readonly controller: Controller;
  readonly dirty: DirtyKeys;
  rounds: number;
  writes: number;
  lastError: string | undefined;
}

/** What one controller decided about one key in a round. */
interface Proposal {
  readonly seat: Seat;
  readonly key: string;
  readonly writes: readonly Write[];
}

/**
 * The leader's loop: rounds of decisions from one view, written by one commit each, which checks that the records are still as
 * they were and that who writes leads. A round begins when the view has what the last one wrote. What does not
 * fit into a round, or is about a record that the round writes already, waits for the next.
 */
export class LeaderLoop {
  readonly #store: Store;
  readonly #follower: ViewFollower;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #guard: Guard;
  readonly #seats: readonly Seat[];
  readonly #report: (message: string, details: object) => void;
  #wake: (() => void) | undefined;
  #failures = 0;

  constructor(o: {
    store: Store;
    follower: ViewFollower;
    controllers: readonly Controller[];
    clock: Clock;
    random: Random;
    /** The leader's key: who has lost it writes nothing. */
    guard: Guard;
    /** Takes what went wrong, for the log. */
    report: (message: string, details: object) => void;
  }) {
    this.#store = o.store;
    this.#follower = o.follower;
    this.#clock = o.clock;
    this.#random = o.random;
    this.#guard = o.guard;
    this.#report = o.report;
    this.#seats = o.controllers.map((controller) => {
      const dirty = new DirtyKeys();
      controller.connect?.((key) => {
        dirty.add(key);
        this.#wake?.();
      });
      return { controller, dirty, rounds: 0, writes: 0, lastError: undefined };
    });
  }

  get figures(): ControllerFigures[] {
    return this.#seats.map(({ controller, dirty, rounds, writes, lastError }) => ({
      name: controller.name,
      waitingKeys: dirty.size,
      rounds,
      writes,
      lastError,
    }));
  }

  /** Leads until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { view } = this.#follower;
    this.#follower.listen((changes) => this.#mark(changes, view), signal);
    for (const change of everythingMade(view)) this.#mark([change], view);
    while (!signal.aborted) {
      const round = this.#decide(view);
      if (round.length === 0) await this.#idle(signal);
      else await this.#write(round, signal);
    }
  }

  #mark(changes: readonly ViewChange[], view: ClusterView): void {
    for (const { controller, dirty } of this.#seats) {
      for (const change of changes) for (const key of controller.keysOf(change, view)) dirty.add(key);
    }
    this.#wake?.();
  }

  #decide(view: ClusterView): Proposal[] {
    const nowMs = this.#clock.nowMs();
    // a record may take its name's key as well, and the guard is a check more
    let room = Math.floor((this.#store.maxOperations - 1) / 2);
    // after a failure one at a time, so that what cannot be written stops nothing else
    const most = this.#failures > 0 ? 1 : Number.POSITIVE_INFINITY;
    const written = new Set<string>();
    const round: Proposal[] = [];
    for (const seat of this.#seats) {
      // what becomes dirty again in this round is for the next
      for (let left = seat.dirty.wake(nowMs); left > 0 && room > 0 && round.length < most; left--) {
        const key = seat.dirty.take() ?? '';
        const context = { nowMs, random: this.#random, limit: room };
        const { writes, againAtMs } = seat.controller.reconcile(view, key, context);
        if (againAtMs !== undefined) seat.dirty.addAt(key, againAtMs);
        if (writes.length === 0) continue;
        const records = writes.map(recordOf);
        if (writes.length > room || records.some((record) => written.has(record))) {
          seat.dirty.add(key);
          continue;
        }
        for (const record of records) written.add(record);
        room -= writes.length;
        round.push({ seat, key, writes });
      }
    }
    return round;
  }

  async #write(round: readonly Proposal[], signal: AbortSignal): Promise<void> {
    const { view } = this.#follower;
    for (const { seat } of round) seat.rounds++;
    try {
      const writes = round.flatMap((proposal) => proposal.writes);
      const result = await this.#store.commit(transactionOf(view, writes, [this.#guard]));
      if (result.committed) {
        this.#failures = 0;
        for (const { seat, writes } of round) seat.writes += writes.length;
        await this.#follower.untilRevision(result.revision, signal);
        return;
      }
      await this.#again(round, 'somebody else wrote one of the records first', signal);
    } catch (error) {
      if (kindOf(error) === 'cancelled') return;
      for (const { seat } of round) seat.lastError = messageOf(error);
      this.#report('a round was not written', { error: messageOf(error) });
      await this.#again(round, messageOf(error), signal);
    }
  }

  /** The view is behind, or the store away: the same keys once more. One that failed alone waits longer than the others. */
  async #again(round: readonly Proposal[], reason: string, signal: AbortSignal): Promise<void> {
    for (const { seat, key } of round) {
      seat.lastError = reason;
      if (round.length > 1) seat.dirty.add(key);
      else seat.dirty.addAt(key, this.#clock.nowMs() + LONGEST_RETRY_MS);
    }
    const wait = backoffMs({ attempt: this.#failures++, firstMs: FIRST_RETRY_MS, maxMs: LONGEST_RETRY_MS });
    await this.#clock.sleep(wait, signal).catch(() => undefined);
  }

  /** Until a key is dirty. */
  async #idle(signal: AbortSignal): Promise<void> {
    const next = Math.min(...this.#seats.map(({ dirty }) => dirty.nextAtMs()));
    const now = this.#clock.nowMs();
    if (next <= now) return;
    const waking = new AbortController();
    const stop = (): void => waking.abort();
    signal.addEventListener('abort', stop, { once: true });
    this.#wake = stop;
    try {
      await this.#clock.sleep(Math.min(next - now, LONGEST_SLEEP_MS), waking.signal);
    } catch (error) {
      // woken: by a change or by the end
      if (!waking.signal.aborted) throw error;
    } finally {
      this.#wake = undefined;
      signal.removeEventListener('abort', stop);
    }
  }
}

/** What timers take. */
const LONGEST_SLEEP_MS = 2 ** 31 - 1;

function recordOf(write: Write): string {
  return `${write.table}/${'put' in write ? write.put.ID : write.delete}`;
}

function* everythingMade(view: ClusterView): Generator<ViewChange> {
  for (const table of [
    'swarm',
    'network',
    'node',
    'secret',
    'config',
    'release',
    'revision',
    'service',
    'task',
  ] as const) {
    for (const after of view.all(table))
      yield { table, id: after.ID, before: undefined, after } as ViewChange;
  }
}
