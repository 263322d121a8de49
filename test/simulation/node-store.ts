import { MemoryStore, type MemoryStoreFault } from '#cluster/store/memory-store.ts';
import type { CommitResult, Transaction } from '#cluster/store/store.ts';
import type { Clock } from '#control/clock.ts';
import { unavailable } from '#model/errors.ts';
import type { SeededRandom } from './seeded-random.ts';

interface CommitListener {
  begun(): void;
  made(transaction: Transaction, revision: number): void;
}

/** How many of a hundred commits lose their answer, when answers are lost. */
const LOST_PERCENT = 25;
const MOST_LATE_MS = 3000;

/** One daemon's way to the store: says when a commit is on its way, and which ones are known to be made. */
export class NodeStore extends MemoryStore {
  /** Answers to commits are lost now and then, and what was asked may be done later than it was given up. */
  losesAnswers = false;
  readonly #listener: CommitListener;
  readonly #random: SeededRandom;
  readonly #worldClock: Clock;
  #isExpelled = false;

  constructor(
    o: ConstructorParameters<typeof MemoryStore>[0],
    rest: { listener: CommitListener; random: SeededRandom; worldClock: Clock },
  ) {
    super(o);
    this.#listener = rest.listener;
    this.#random = rest.random;
    this.#worldClock = rest.worldClock;
  }

  /** It is no member any more: nothing heals that. */
  expel(): void {
    this.#isExpelled = true;
    super.fail('unreachable');
  }

  override fail(fault: MemoryStoreFault | undefined): void {
    if (!this.#isExpelled) super.fail(fault);
  }

  override async commit(transaction: Transaction): Promise<CommitResult> {
    this.#listener.begun();
    if (this.losesAnswers && this.#random.chance(LOST_PERCENT)) return await this.#unanswered(transaction);
    const result = await super.commit(transaction);
    this.#noted(transaction, result);
    return result;
  }

  /** It is given up when it is made, or while it is on its way: then it is made later, whatever has become of who asked. */
  async #unanswered(transaction: Transaction): Promise<never> {
    if (this.#random.chance(50)) {
      this.#noted(transaction, await super.commit(transaction));
    } else {
      // it gets there only where anything does
      await this.get('any key');
      const lateMs = this.#random.between(1, MOST_LATE_MS);
      this.#worldClock
        .sleep(lateMs, new AbortController().signal)
        .then(() => this.#noted(transaction, this.database.commit(transaction)))
        // its lease is over
        .catch(() => undefined);
    }
    throw unavailable('the store did not answer');
  }

  #noted(transaction: Transaction, result: CommitResult): void {
    if (result.committed) this.#listener.made(transaction, result.revision);
  }
}
