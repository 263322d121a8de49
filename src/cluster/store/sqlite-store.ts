import { type Clock, systemClock } from '#control/clock.ts';
import { pause } from '#control/pause.ts';
import { kindOf, messageOf, notFound, unavailable } from '#model/errors.ts';
import { ahead, batchBelow } from './change-log.ts';
import { CommitSignal } from './commit-signal.ts';
import { keepLease } from './kept-lease.ts';
import { LeaseTable } from './lease-table.ts';
import { type HistoryLimits, SqliteDatabase } from './sqlite-database.ts';
import type { ChangeBatch, CommitResult, Entry, Store, StoreLease, Transaction } from './store.ts';
import { checkTransaction } from './transaction-rules.ts';

const MAX_OPERATIONS = 10_000;
/** How soon a disk that refused to have a lease's keys removed is asked again. */
const RETRY_MS = 1000;
const HISTORY: HistoryLimits = { changes: 20_000, bytes: 64 * 1024 * 1024 };

export interface SqliteStoreOptions {
  readonly clock?: Clock;
  /** What watches can go back to; 20,000 changes and 64 MiB when not given. */
  readonly history?: HistoryLimits;
}

/**
 * The store of a cluster with one manager: a file of its own process. A commit is on disk when it is answered, and watches go on from a
 * revision after a restart too. Leases are the process's: when it starts, those of the process before are over, and what went with
 * them is gone. A disk that is full or read-only makes writing `unavailable`, with SQLite's reason; reading goes on.
 */
export class SqliteStore implements Store, Disposable {
  readonly maxOperations: number = MAX_OPERATIONS;
  readonly #file: string;
  readonly #clock: Clock;
  readonly #database: SqliteDatabase;
  readonly #leases: LeaseTable;
  readonly #committed = new CommitSignal();
  readonly #closed = new AbortController();

  /** Opens the file, made where it is not there; `unavailable` where it cannot be used. */
  constructor(file: string, o: SqliteStoreOptions = {}) {
    this.#file = file;
    this.#clock = o.clock ?? systemClock;
    this.#database = this.#attempt(() => new SqliteDatabase(file, o.history ?? HISTORY));
    this.#leases = new LeaseTable({ clock: this.#clock, expire: (id, keys) => void this.#end(id, keys) });
    try {
      this.#attempt(() => this.#write([], this.#database.leasedKeys()));
    } catch (error) {
      this.#database[Symbol.dispose]();
      throw error;
    }
  }

  /** Of its file. */
  get bytes(): number {
    return this.#attempt(() => this.#database.bytes);
  }

  /** Makes the file as small as what it keeps, which needs as much disk again meanwhile: `unavailable` where there is none. */
  compact(): void {
    this.#attempt(() => this.#database.compact());
  }

  /** Names this store among all; given at its first opening. */
  get id(): string {
    return this.#database.id;
  }

  /** Where it was moved to, or is being moved to; undefined while it is in use. */
  get successor(): string | undefined {
    return this.#attempt(() => this.#database.successor);
  }

  /**
   * Ends every lease and refuses commits from now on, also after a restart, naming `successor`. `unavailable` when it is sealed for
   * another one.
   */
  seal(successor: string): void {
    const before = this.successor;
    if (before === successor) return;
    if (before !== undefined) throw this.#sealed(before);
    for (const id of this.#leases.ids()) this.#leases.end(id);
    this.#attempt(() => {
      this.#write([], this.#database.leasedKeys());
      this.#database.seal(successor);
    });
  }

  /** Takes commits again: for a move that was given up. The new store must not be in use, or the cluster has two. */
  unseal(): void {
    this.#attempt(() => this.#database.unseal());
  }

  async get(key: string): Promise<Entry | undefined> {
    return this.#attempt(() => this.#database.get(key));
  }

  async list(prefix: string): Promise<{ readonly revision: number; readonly entries: readonly Entry[] }> {
    return this.#attempt(() => ({
      revision: this.#database.revision,
      entries: this.#database.list(prefix),
    }));
  }

  async commit(transaction: Transaction): Promise<CommitResult> {
    checkTransaction(transaction, this.maxOperations);
    const { checks, puts, deletes } = transaction;
    const { successor } = this;
    if (successor !== undefined) throw this.#sealed(successor);
    return this.#attempt(() => {
      for (const { key, revision } of checks)
        if (this.#database.revisionOf(key) !== revision) return { committed: false };
      for (const { lease } of puts)
        if (lease !== undefined && !this.#leases.has(lease)) throw notFound(`no such lease: ${lease}`);
      return { committed: true, revision: this.#write(puts, deletes) };
    });
  }

  async *watch(prefix: string, revision: number, signal: AbortSignal): AsyncGenerator<ChangeBatch> {
    const closed = this.#closed.signal;
    const over = AbortSignal.any([signal, closed]);
    let seen = revision;
    while (!signal.aborted) {
      if (closed.aborted) throw unavailable(`the store ${this.#file} is closed`);
      if (seen > this.#database.revision) throw ahead(seen, this.#database.revision);
      const batch = this.#attempt(() => this.#database.after(seen));
      if (batch === undefined) {
        await this.#committed.next(over);
        continue;
      }
      seen = batch.revision;
      const below = batchBelow(batch, prefix);
      if (below !== undefined) yield below;
    }
  }

  async lease(ttlMs: number, signal: AbortSignal): Promise<StoreLease> {
    const { successor } = this;
    if (successor !== undefined) throw this.#sealed(successor);
    const grantedMs = this.#clock.monotonicMs();
    const id = this.#leases.grant(ttlMs);
    return keepLease({
      ...{ id, ttlMs, grantedMs, clock: this.#clock, signal },
      renew: async () => this.#leases.renew(id),
      revoke: async () => {
        await this.#end(id, this.#leases.end(id));
      },
    });
  }

  [Symbol.dispose](): void {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    this.#leases[Symbol.dispose]();
    this.#database[Symbol.dispose]();
  }

  #write(puts: Transaction['puts'], deletes: readonly string[]): number {
    const before = this.#database.revision;
    const revision = this.#database.write(puts, deletes);
    for (const { key, lease } of puts) this.#leases.attach(key, lease);
    for (const key of deletes) this.#leases.attach(key, undefined);
    if (revision !== before) this.#committed.announce();
    return revision;
  }

  /** Removes what went with a lease that is over; tries again where the disk refuses. */
  async #end(lease: string, keys: readonly string[]): Promise<void> {
    while (!this.#closed.signal.aborted) {
      try {
        this.#attempt(() => this.#write([], this.#stillOf(lease, keys)));
        return;
      } catch (error) {
        if (kindOf(error) !== 'unavailable') throw error;
        await pause(this.#clock, RETRY_MS, this.#closed.signal);
      }
    }
  }

  /** Meanwhile someone else may have taken a key over. */
  #stillOf(lease: string, keys: readonly string[]): string[] {
    return keys.filter((key) => this.#database.get(key)?.lease === lease);
  }

  #sealed(successor: string): Error {
    return unavailable(`the store ${this.#file} is closed for writing: its content moved to ${successor}`);
  }

  /** SQLite's refusals (a full disk, one that cannot be written, a broken file) are `unavailable`. */
  #attempt<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      if (!(cause instanceof Error && 'code' in cause)) throw cause;
      throw unavailable(`the store ${this.#file} cannot be used: ${messageOf(cause)}`, { cause });
    }
  }
}
