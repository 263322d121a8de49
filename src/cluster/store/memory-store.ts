import type { Clock } from '#control/clock.ts';
import { unavailable } from '#model/errors.ts';
import { ahead, batchBelow } from './change-log.ts';
import { keepLease } from './kept-lease.ts';
import { MemoryDatabase } from './memory-database.ts';
import type { ChangeBatch, CommitResult, Entry, Store, StoreLease, Transaction } from './store.ts';
import { checkTransaction } from './transaction-rules.ts';

const MAX_OPERATIONS = 10_000;

/**
 * How a store fails: `unreachable` answers nothing, `unanswered` does what is asked and loses the answer (a commit has happened, and nobody
 * knows), `read-only` and `full` refuse what writes.
 */
export type MemoryStoreFault = 'unreachable' | 'unanswered' | 'read-only' | 'full';

export interface MemoryStoreOptions {
  readonly clock: Clock;
  /** What other stores of the same cluster see too: a store is one client's way to it. One of its own when not given. */
  readonly database?: MemoryDatabase;
  /** Awaited on the way to the database and on the way back. */
  readonly delay?: () => Promise<void>;
  /** 10,000 when not given. */
  readonly maxOperations?: number;
}

/** A store for simulations and benchmarks: in memory, on the clock that it is given, with the failures that it is told to have. */
export class MemoryStore implements Store, Disposable {
  readonly maxOperations: number;
  readonly database: MemoryDatabase;
  readonly #clock: Clock;
  readonly #delay: (() => Promise<void>) | undefined;
  readonly #ownsDatabase: boolean;
  #fault: MemoryStoreFault | undefined;
  /** Aborts the watches that are open when the store is lost. */
  #lost = new AbortController();

  constructor(o: MemoryStoreOptions) {
    this.#clock = o.clock;
    this.#delay = o.delay;
    this.maxOperations = o.maxOperations ?? MAX_OPERATIONS;
    this.#ownsDatabase = o.database === undefined;
    this.database = o.database ?? new MemoryDatabase({ clock: o.clock });
  }

  /** From now on every call fails so, until it is told otherwise; undefined heals it. */
  fail(fault: MemoryStoreFault | undefined): void {
    this.#fault = fault;
    if (fault !== 'unreachable' && fault !== 'unanswered') return;
    this.#lost.abort();
    this.#lost = new AbortController();
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#call('read', () => this.database.get(key));
  }

  list(prefix: string): Promise<{ readonly revision: number; readonly entries: readonly Entry[] }> {
    return this.#call('read', () => this.database.list(prefix));
  }

  async commit(transaction: Transaction): Promise<CommitResult> {
    checkTransaction(transaction, this.maxOperations);
    return await this.#call('write', () => this.database.commit(transaction));
  }

  async *watch(prefix: string, revision: number, signal: AbortSignal): AsyncGenerator<ChangeBatch> {
    await this.#call('read', () => undefined);
    const { database } = this;
    if (revision > database.revision) throw ahead(revision, database.revision);
    const lost = this.#lost.signal;
    const over = AbortSignal.any([signal, lost]);
    let seen = revision;
    while (!signal.aborted) {
      if (lost.aborted) throw unavailable('the store cannot be reached');
      const batch = database.log.after(seen);
      if (batch === undefined) {
        await database.committed.next(over);
        continue;
      }
      seen = batch.revision;
      const below = batchBelow(batch, prefix);
      if (below === undefined) continue;
      await this.#delay?.();
      if (!over.aborted) yield below;
    }
  }

  async lease(ttlMs: number, signal: AbortSignal): Promise<StoreLease> {
    const grantedMs = this.#clock.monotonicMs();
    const { leases } = this.database;
    const id = await this.#call('write', () => leases.grant(ttlMs));
    return keepLease({
      ...{ id, ttlMs, grantedMs, clock: this.#clock, signal },
      renew: () => this.#call('read', () => leases.renew(id)),
      revoke: () => this.#call('read', () => this.database.revoke(id)),
    });
  }

  /** Ends the database with it where it made that itself. */
  [Symbol.dispose](): void {
    this.#lost.abort();
    if (this.#ownsDatabase) this.database[Symbol.dispose]();
  }

  async #call<T>(kind: 'read' | 'write', work: () => T): Promise<T> {
    await this.#delay?.();
    if (this.#has('unreachable')) throw unavailable('the store cannot be reached');
    if (kind === 'write' && this.#has('read-only', 'full'))
      throw unavailable(`the store cannot be written: it is ${this.#fault}`);
    const result = work();
    await this.#delay?.();
    if (this.#has('unreachable', 'unanswered')) throw unavailable('the store did not answer');
    return result;
  }

  #has(...faults: readonly MemoryStoreFault[]): boolean {
    return this.#fault !== undefined && faults.includes(this.#fault);
  }
}
