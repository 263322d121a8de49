/** A value and when it was written last. */
export interface Entry {
  readonly key: string;
  readonly value: string;
  /** The revision of the commit that wrote it: from 1, growing with every commit to the store. */
  readonly revision: number;
  /** The lease that it goes with. Such an entry says who is there now; no backup and no copy of a store has it. */
  readonly lease?: string;
}

/** No key is written twice. A put without a lease takes the key from the lease that it had. */
export interface Transaction {
  /** All have to hold, or nothing is written: `revision` is the entry's, 0 for a key that must not be there. */
  readonly checks: readonly { readonly key: string; readonly revision: number }[];
  readonly puts: readonly { readonly key: string; readonly value: string; readonly lease?: string }[];
  readonly deletes: readonly string[];
}

export type CommitResult =
  | { readonly committed: true; readonly revision: number }
  | { readonly committed: false };

export type Change =
  | { readonly kind: 'put'; readonly entry: Entry }
  | { readonly kind: 'delete'; readonly key: string; readonly revision: number };

/** All changes of one commit (or of several in a row), in order. */
export interface ChangeBatch {
  readonly revision: number;
  readonly changes: readonly Change[];
}

/** Keys that are put with a lease's ID go when it ends. */
export interface StoreLease {
  readonly id: string;
  /** Aborted when the lease is known to be over, or may be: its time has passed since the last answer of the store. */
  readonly lost: AbortSignal;
  /** False as soon as its time has passed, also before a process that stood still came to abort `lost`. */
  isHeld(): boolean;
  /** Ends it now. */
  revoke(): Promise<void>;
}

/**
 * Where a cluster keeps what it is asked for. Linearizable: what a commit wrote, every later read sees. Errors: `unavailable` when
 * the store cannot be reached or has no quorum (a commit may then have happened or not), `invalid` for one that is too large,
 * `not-found` for a put with a lease that is over.
 *
 * Keys are ASCII without control characters, at most 512 bytes; values at most 1.5 MiB; a transaction has at most
 * {@link Store.maxOperations} checks, and as many puts and deletes together.
 */
export interface Store {
  readonly maxOperations: number;

  get(key: string): Promise<Entry | undefined>;

  /** Everything below a prefix, ordered by key, as it was at one revision. */
  list(prefix: string): Promise<{ readonly revision: number; readonly entries: readonly Entry[] }>;

  /** Writes everything or, where a check does not hold, nothing. A delete of what is not there is none. */
  commit(transaction: Transaction): Promise<CommitResult>;

  /**
   * Every change below a prefix after `revision`, in order, without a gap. Ends when `signal` aborts. Throws `conflict` when changes that
   * old are forgotten, and the caller lists again; `unavailable` when the store is lost.
   */
  watch(prefix: string, revision: number, signal: AbortSignal): AsyncIterable<ChangeBatch>;

  /** A lease that is kept alive until it is revoked, `signal` aborts or the store is lost for `ttlMs`. */
  lease(ttlMs: number, signal: AbortSignal): Promise<StoreLease>;
}
