import { type ClusterView, recordKey } from '#cluster/state/cluster-view.ts';
import { type Guard, transactionOf } from '#cluster/state/record-transaction.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import type { ViewFollower } from '#cluster/state/view-follower.ts';
import type { Store } from '#cluster/store/store.ts';
import { backoffMs } from '#control/backoff.ts';
import type { Clock } from '#control/clock.ts';
import { pause } from '#control/pause.ts';
import type { Random } from '#control/random.ts';
import { kindOf, messageOf } from '#model/errors.ts';
import type { Controller, Decision, DecisionContext } from './controller.ts';
import { DirtyKeys } from './dirty-keys.ts';

/** Nobody is asked with less room: who needs two writes for a step would say that there is nothing to do. */
const LEAST_ROOM = 8;
const FIRST_RETRY_MS = 20;
const LONGEST_RETRY_MS = 2000;
/** A decision that cannot be made or written is tried again this late: what is wrong with it is in the records. */
const POISONED_RETRY_MS = 10_000;

/**
 * Every round puts this key, and checks that the last one that did was known to the view it was decided from. So a commit whose
 * answer was lost, and which may still be on its way, is never followed by another one that does the same.
 */
const ROUND_KEY = 'control/round';
/** Checks, and puts, that a round has besides its records: the leader's key and the round's. */
const ROUND_OPERATIONS = 2;

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
  /** What it relies on, as the view shows it. */
  readonly relies: readonly Guard[];
}

/**
 * The leader's loop: rounds of decisions from one view, written by one commit each, which checks that the records are still as
 * they were, that who writes leads, and that the view had every round before. What does not fit into a round, or is about a record
 * that the round writes already, waits for the next. A round that is refused is tried again by halves, so that what cannot be
 * written is soon alone, and stops nothing else.
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
  /** How many decisions a round takes. */
  #most = Number.POSITIVE_INFINITY;
  /** Which controller comes first in the next round: none takes all the room for ever. */
  #first = 0;
  /** The revision of the last round, which the view has; undefined while that is not known. */
  #lastRound: number | undefined;

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
      if (this.#lastRound === undefined && !(await this.#catchUp(signal))) continue;
      const round = this.#decide(view);
      if (round.length === 0) await this.#idle(signal);
      else await this.#write(round, signal);
    }
  }

  /** Until the view has the last round that was written by anybody; false when that could not be found out. */
  async #catchUp(signal: AbortSignal): Promise<boolean> {
    try {
      const revision = (await this.#store.get(ROUND_KEY))?.revision ?? 0;
      await this.#follower.untilRevision(revision, signal);
      this.#lastRound = revision;
      return true;
    } catch (error) {
      if (kindOf(error) !== 'cancelled') await this.#pause(signal);
      return false;
    }
  }

  #mark(changes: readonly ViewChange[], view: ClusterView): void {
    for (const { controller, dirty } of this.#seats) {
      for (const change of changes) {
        try {
          for (const key of controller.keysOf(change, view)) dirty.add(key);
        } catch (error) {
          const { table, id } = change;
          this.#report('a controller cannot follow a change', {
            controller: controller.name,
            change: `${table}/${id}`,
            error: messageOf(error),
          });
        }
      }
    }
    this.#wake?.();
  }

  #decide(view: ClusterView): Proposal[] {
    const nowMs = this.#clock.nowMs();
    const monotonicMs = this.#clock.monotonicMs();
    // a record may take its name's key as well
    const allRoom = Math.floor((this.#store.maxOperations - ROUND_OPERATIONS) / 2);
    let room = allRoom;
    const written = new Set<string>();
    const round: Proposal[] = [];
    const from = this.#first++ % this.#seats.length;
    for (const seat of [...this.#seats.slice(from), ...this.#seats.slice(0, from)]) {
      // what becomes dirty again in this round is for the next
      for (let left = seat.dirty.wake(monotonicMs); left > 0; left--) {
        if (room < Math.min(LEAST_ROOM, allRoom) || round.length >= this.#most) break;
        const key = seat.dirty.take() ?? '';
        const decision = this.#ask(seat, key, view, { nowMs, random: this.#random, limit: room });
        if (decision === undefined) continue;
        const { writes, againAtMs, relies = [] } = decision;
        if (againAtMs !== undefined) seat.dirty.addAt(key, monotonicMs + againAtMs - nowMs);
        if (writes.length === 0) continue;
        const records = writes.map(recordOf);
        if (writes.length > allRoom) {
          this.#poisoned(seat, key, `it has ${writes.length} writes, and was asked for ${room} at most`);
          continue;
        }
        if (writes.length > room || records.some((record) => written.has(record))) {
          seat.dirty.add(key);
          continue;
        }
        for (const record of records) written.add(record);
        room -= writes.length;
        round.push({ seat, key, writes, relies: guardsOf(view, relies) });
      }
    }
    return round;
  }

  #ask(seat: Seat, key: string, view: ClusterView, context: DecisionContext): Decision | undefined {
    try {
      return seat.controller.reconcile(view, key, context);
    } catch (error) {
      this.#poisoned(seat, key, messageOf(error));
      return undefined;
    }
  }

  #poisoned(seat: Seat, key: string, error: string): void {
    seat.lastError = error;
    seat.dirty.addAt(key, this.#clock.monotonicMs() + POISONED_RETRY_MS);
    this.#report('a decision could not be made', { controller: seat.controller.name, key, error });
  }

  async #write(round: readonly Proposal[], signal: AbortSignal): Promise<void> {
    const { view } = this.#follower;
    for (const { seat } of round) seat.rounds++;
    const last = this.#lastRound ?? 0;
    this.#lastRound = undefined;
    try {
      const writes = round.flatMap((proposal) => proposal.writes);
      const written = new Set(writes.map(recordOf));
      const relied = round.flatMap(({ relies }) => relies.filter(({ key }) => !written.has(key)));
      const guards = [this.#guard, { key: ROUND_KEY, revision: last }, ...relied];
      const { checks, puts, deletes } = transactionOf(view, writes, guards);
      const result = await this.#store.commit({
        checks,
        puts: [...puts, { key: ROUND_KEY, value: '' }],
        deletes,
      });
      if (!result.committed) {
        await this.#again(round, 'somebody else wrote one of the records first', signal);
        return;
      }
      this.#failures = 0;
      this.#most *= 2;
      for (const { seat, writes } of round) {
        seat.writes += writes.length;
        seat.lastError = undefined;
      }
      await this.#follower.untilRevision(result.revision, signal);
      this.#lastRound = result.revision;
    } catch (error) {
      const kind = kindOf(error);
      if (kind === 'cancelled') return;
      this.#report('a round was not written', { error: messageOf(error) });
      if (kind === 'unavailable') await this.#retry(round, messageOf(error), signal);
      else await this.#again(round, messageOf(error), signal);
    }
  }

  /** The store did not take it: the view is behind, or something in it is wrong. One that fails alone waits longer than the others. */
  async #again(round: readonly Proposal[], reason: string, signal: AbortSignal): Promise<void> {
    this.#most = Math.max(1, Math.floor(round.length / 2));
    const [only, ...others] = round;
    if (only === undefined || others.length > 0) return this.#retry(round, reason, signal);
    only.seat.lastError = reason;
    only.seat.dirty.addAt(only.key, this.#clock.monotonicMs() + LONGEST_RETRY_MS);
    await this.#pause(signal);
  }

  /** The same keys once more. */
  async #retry(round: readonly Proposal[], reason: string, signal: AbortSignal): Promise<void> {
    for (const { seat, key } of round) {
      seat.lastError = reason;
      seat.dirty.add(key);
    }
    await this.#pause(signal);
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const wait = backoffMs({ attempt: this.#failures++, firstMs: FIRST_RETRY_MS, maxMs: LONGEST_RETRY_MS });
    await pause(this.#clock, wait, signal);
  }

  /** Until a key is dirty. */
  async #idle(signal: AbortSignal): Promise<void> {
    const next = Math.min(...this.#seats.map(({ dirty }) => dirty.nextAtMs()));
    const now = this.#clock.monotonicMs();
    if (next <= now) return;
    const waking = new AbortController();
    const stop = (): void => waking.abort(WOKEN);
    signal.addEventListener('abort', stop, { once: true });
    this.#wake = stop;
    try {
      // woken by a change or by the end
      await pause(this.#clock, Math.min(next - now, LONGEST_SLEEP_MS), waking.signal);
    } finally {
      this.#wake = undefined;
      signal.removeEventListener('abort', stop);
    }
  }
}

/** One for all: an error of its own would be made at each change. */
const WOKEN = new Error('woken');
/** What timers take. */
const LONGEST_SLEEP_MS = 2 ** 31 - 1;

function recordOf(write: Write): string {
  return recordKey(write.table, 'put' in write ? write.put.ID : write.delete);
}

function guardsOf(view: ClusterView, relies: NonNullable<Decision['relies']>): Guard[] {
  return relies.map(({ table, id }) => ({ key: recordKey(table, id), revision: view.revisionOf(table, id) }));
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
    'attachment',
  ] as const) {
    for (const after of view.all(table))
      yield { table, id: after.ID, before: undefined, after } as ViewChange;
  }
}
