import type { Clock } from '#control/clock.ts';
import { notFound } from '#model/errors.ts';
import { ChangeLog } from './change-log.ts';
import { CommitSignal } from './commit-signal.ts';
import { LeaseTable } from './lease-table.ts';
import { OrderedKeys } from './ordered-keys.ts';
import type { Change, CommitResult, Entry, Transaction } from './store.ts';

const HISTORY = 100_000;

/** What the {@link MemoryStore}s of one simulated cluster share. Every call is done when it returns; a commit costs what it writes. */
export class MemoryDatabase implements Disposable {
  readonly log: ChangeLog;
  readonly committed: CommitSignal = new CommitSignal();
  readonly leases: LeaseTable;
  readonly #entries = new Map<string, Entry>();
  readonly #keys = new OrderedKeys();
  #revision = 0;

  /** Keeps the newest `historyLimit` changes (100,000 when not given) for watches. */
  constructor(o: { clock: Clock; historyLimit?: number }) {
    this.log = new ChangeLog(o.historyLimit ?? HISTORY);
    this.leases = new LeaseTable({ clock: o.clock, expire: (_id, keys) => this.#write([], keys) });
  }

  get revision(): number {
    return this.#revision;
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  list(prefix: string): { revision: number; entries: Entry[] } {
    const entries: Entry[] = [];
    for (const key of this.#keys.below(prefix, (known) => this.#entries.has(known))) {
      const entry = this.#entries.get(key);
      if (entry !== undefined) entries.push(entry);
    }
    return { revision: this.#revision, entries };
  }

  /** `not-found` for a lease that is over. The transaction is known to keep the rules. */
  commit({ checks, puts, deletes }: Transaction): CommitResult {
    for (const { key, revision } of checks)
      if ((this.#entries.get(key)?.revision ?? 0) !== revision) return { committed: false };
    for (const { lease } of puts)
      if (lease !== undefined && !this.leases.has(lease)) throw notFound(`no such lease: ${lease}`);
    this.#write(puts, deletes);
    return { committed: true, revision: this.#revision };
  }

  /** Ends a lease and what goes with it. */
  revoke(lease: string): void {
    this.#write([], this.leases.end(lease));
  }

  [Symbol.dispose](): void {
    this.leases[Symbol.dispose]();
  }

  #write(puts: Transaction['puts'], deletes: readonly string[]): void {
    const there = deletes.filter((key) => this.#entries.has(key));
    if (puts.length === 0 && there.length === 0) return;
    this.#revision += 1;
    const revision = this.#revision;
    const changes: Change[] = [];
    for (const put of puts) {
      const entry: Entry = { ...put, revision };
      if (!this.#entries.has(put.key)) this.#keys.add(put.key);
      this.#entries.set(put.key, entry);
      this.leases.attach(put.key, put.lease);
      changes.push({ kind: 'put', entry });
    }
    for (const key of there) {
      this.#entries.delete(key);
      this.#keys.remove(key);
      this.leases.attach(key, undefined);
      changes.push({ kind: 'delete', key, revision });
    }
    this.log.append({ revision, changes });
    this.committed.announce();
  }
}
