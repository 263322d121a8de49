import { type Clock, systemClock } from '#control/clock.ts';
import { invalid, kindOf, unavailable } from '#model/errors.ts';
import { EtcdClient, type EtcdClientOptions } from './etcd-client.ts';
import { watchEtcd } from './etcd-watch.ts';
import { EtcdKeys, revisionIn } from './etcd-wire.ts';
import { type Json, numberIn, objectIn, objectsIn, textIn } from './json-object.ts';
import { keepLease } from './kept-lease.ts';
import type { ChangeBatch, CommitResult, Entry, Store, StoreLease, Transaction } from './store.ts';
import { checkTransaction } from './transaction-rules.ts';

/** etcd's own defaults; members that Drover starts take more: see `ETCD_LIMITS` of etcd-arguments.ts. */
const MAX_OPERATIONS = 128;
const MAX_REQUEST_BYTES = 1536 * 1024;
const PAGE = 5000;
const LIST_ATTEMPTS = 4;
const WATCH_PATIENCE_MS = 15_000;

export interface EtcdStoreOptions extends EtcdClientOptions {
  /** Before every key, so that several clusters can share an etcd: such as `drover/`. None when not given. */
  readonly keyPrefix?: string;
  /** What the members were given as --max-txn-ops (128 when not given) and --max-request-bytes (1.5 MiB). */
  readonly maxOperations?: number;
  readonly maxRequestBytes?: number;
  /** How many entries a listing asks for at a time. 5,000 when not given; fewer where they are large. */
  readonly pageSize?: number;
  /** For so long a watch looks for an endpoint that serves it before it throws: 15 s when not given, more than an election takes. */
  readonly watchPatienceMs?: number;
  readonly clock?: Clock;
}

/**
 * The store of a cluster with several managers: etcd 3.4 and newer. Reads are linearizable. A commit that was sent and not answered is
 * `unavailable` and may have happened. Keeping a lease writes nothing.
 */
export class EtcdStore implements Store, Disposable {
  readonly maxOperations: number;
  readonly client: EtcdClient;
  readonly #keys: EtcdKeys;
  readonly #clock: Clock;
  readonly #maxRequestBytes: number;
  readonly #pageSize: number;
  readonly #watchPatienceMs: number;

  constructor(o: EtcdStoreOptions) {
    this.client = new EtcdClient(o);
    this.maxOperations = o.maxOperations ?? MAX_OPERATIONS;
    this.#keys = new EtcdKeys(o.keyPrefix ?? '');
    this.#clock = o.clock ?? systemClock;
    this.#maxRequestBytes = o.maxRequestBytes ?? MAX_REQUEST_BYTES;
    this.#pageSize = o.pageSize ?? PAGE;
    this.#watchPatienceMs = o.watchPatienceMs ?? WATCH_PATIENCE_MS;
  }

  async get(key: string): Promise<Entry | undefined> {
    const answer = await this.#read({ key: this.#keys.encoded(key) });
    const [kv] = objectsIn(answer, 'kvs');
    return kv === undefined ? undefined : this.#keys.entry(kv);
  }

  async list(prefix: string): Promise<{ readonly revision: number; readonly entries: readonly Entry[] }> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#listOnce(prefix);
      } catch (error) {
        // the revision of the first page was compacted before the last one was read
        if (kindOf(error) !== 'conflict') throw error;
        if (attempt === LIST_ATTEMPTS)
          throw unavailable(`etcd forgets revisions faster than ${prefix} can be listed`, { cause: error });
      }
    }
  }

  async commit(transaction: Transaction): Promise<CommitResult> {
    checkTransaction(transaction, this.maxOperations);
    this.#checkSize(transaction);
    const answer = await this.client.call('kv/txn', this.#keys.transaction(transaction), {
      repeatable: false,
    });
    if (answer['succeeded'] !== true) return { committed: false };
    return { committed: true, revision: revisionIn(answer) };
  }

  watch(prefix: string, revision: number, signal: AbortSignal): AsyncGenerator<ChangeBatch> {
    return watchEtcd({
      ...{ client: this.client, clock: this.#clock, keys: this.#keys, prefix, revision, signal },
      patienceMs: this.#watchPatienceMs,
      currentRevision: async () => revisionIn(await this.#read({ key: this.#keys.encoded('-') })),
    });
  }

  /** etcd counts whole seconds, and at least one and a half election timeouts: it may end the lease later than asked for. */
  async lease(ttlMs: number, signal: AbortSignal): Promise<StoreLease> {
    const grantedMs = this.#clock.monotonicMs();
    const request = { TTL: String(Math.ceil(ttlMs / 1000)) };
    // a lease that was granted without our knowing has no keys and ends by itself
    const id = textIn(await this.client.call('lease/grant', request, { repeatable: true }), 'ID');
    return keepLease({
      ...{ id, ttlMs, grantedMs, clock: this.#clock, signal },
      renew: async (over) => {
        const answer = await this.client.call(
          'lease/keepalive',
          { ID: id },
          { repeatable: true, signal: over, again: true },
        );
        return numberIn(objectIn(answer, 'result'), 'TTL') > 0;
      },
      revoke: async () => {
        try {
          await this.client.call('lease/revoke', { ID: id }, { repeatable: true });
        } catch (error) {
          if (kindOf(error) !== 'not-found') throw error;
        }
      },
    });
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
  }

  async #listOnce(prefix: string): Promise<{ revision: number; entries: Entry[] }> {
    const entries: Entry[] = [];
    let revision = 0;
    let limit = this.#pageSize;
    for (;;) {
      const range = this.#keys.range(prefix, entries.at(-1)?.key);
      const at = revision === 0 ? {} : { revision: String(revision) };
      let answer: Json;
      try {
        answer = await this.#read({ ...range, ...at, limit: String(limit) });
      } catch (error) {
        if (kindOf(error) !== 'invalid' || limit === 1) throw error;
        // the page is larger than an answer may be
        limit = Math.ceil(limit / 8);
        continue;
      }
      revision ||= revisionIn(answer);
      for (const kv of objectsIn(answer, 'kvs')) entries.push(this.#keys.entry(kv));
      if (answer['more'] !== true) return { revision, entries };
    }
  }

  #read(request: Json): Promise<Json> {
    return this.client.call('kv/range', request, { repeatable: true });
  }

  #checkSize({ puts }: Transaction): void {
    let bytes = 0;
    for (const { key, value } of puts) bytes += key.length + Buffer.byteLength(value) + OPERATION_BYTES;
    if (bytes > this.#maxRequestBytes)
      throw invalid(`a transaction of ${bytes} bytes is too large: etcd takes ${this.#maxRequestBytes}`);
  }
}

/** What a write takes in etcd's request beside key and value. */
const OPERATION_BYTES = 32;
