import { createHash } from 'node:crypto';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import type { RecordStore } from '#engine/records/record-store.ts';

/** The result of a step, under the key of everything that it depends on. */
export interface CacheRecord {
  key: string;
  /** The layer that the step made; absent where it changed nothing, or is no step with a layer. */
  diffId?: string;
  description: string;
  createdAt: string;
  usedAt: string;
  uses: number;
}

/** What the cache asks of the store of layers. */
type CachedLayers = Pick<LayerStore, 'addReferrer' | 'has' | 'size' | 'sweep'>;

export interface PruneOptions {
  all: boolean;
  /** Milliseconds since the epoch: what was used later stays. */
  usedBeforeMs?: number;
  /** The cache may keep this many bytes, the latest used first. */
  keepBytes?: number;
  accept?: (record: CacheRecord) => boolean;
}

/** Digest of the parts that a step depends on, in their order. */
export function cacheKey(...parts: readonly unknown[]): string {
  return `sha256:${createHash('sha256').update(JSON.stringify(parts)).digest('hex')}`;
}

/** Characters of digests and texts of contexts that are remembered at once: of some thousand builds. */
const LONGEST_FACTS = 4_000_000;

/** What was built before. A layer that is in it is kept until it is pruned. */
export class BuildCache {
  readonly #records: RecordStore;
  readonly #layers: CachedLayers;
  readonly #running = new Map<string, Promise<CacheRecord>>();
  /** The latest used last. They are found anew after a restart. */
  readonly #facts = new Map<string, string>();
  #factLength = 0;
  #bytes: number | undefined;

  constructor(o: { records: RecordStore; layers: CachedLayers }) {
    this.#records = o.records;
    this.#layers = o.layers;
    o.layers.addReferrer(() => this.list().flatMap(({ diffId }) => diffId ?? []));
  }

  /** A record whose layer is still there; noted as used. */
  find(key: string): CacheRecord | undefined {
    const record = this.#records.get<CacheRecord>('build-cache', key);
    if (record === undefined) return undefined;
    if (record.diffId !== undefined && !this.#layers.has(record.diffId)) return undefined;
    const used = { ...record, uses: record.uses + 1, usedAt: new Date().toISOString() };
    this.#records.put('build-cache', key, used);
    return used;
  }

  put(o: { key: string; diffId?: string; description: string; createdAt?: string }): CacheRecord {
    if (o.diffId !== undefined) this.#bytes = undefined;
    const now = new Date().toISOString();
    const record: CacheRecord = { ...o, createdAt: o.createdAt ?? now, usedAt: now, uses: 1 };
    this.#records.put('build-cache', o.key, record);
    return record;
  }

  /** What is known under a key of everything that it depends on; found out where nothing is. */
  async fact(key: string, find: () => Promise<string>): Promise<string> {
    const known = this.knownFact(key);
    if (known !== undefined) return known;
    const fact = await find();
    this.remember(key, fact);
    return fact;
  }

  knownFact(key: string): string | undefined {
    const fact = this.#facts.get(key);
    if (fact !== undefined) this.remember(key, fact);
    return fact;
  }

  /** Until others that were used later need its place. */
  remember(key: string, fact: string): void {
    this.#forget(key);
    this.#facts.set(key, fact);
    this.#factLength += key.length + fact.length;
    for (const oldest of this.#facts.keys()) {
      if (this.#factLength <= LONGEST_FACTS) break;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    const fact = this.#facts.get(key);
    if (fact === undefined) return;
    this.#facts.delete(key);
    this.#factLength -= key.length + fact.length;
  }

  /** Runs `work` for a key unless it is running already, in this build or another: then its result serves both. */
  async once(key: string, work: () => Promise<CacheRecord>): Promise<CacheRecord> {
    const other = this.#running.get(key);
    if (other !== undefined) return await other;
    const own = work();
    this.#running.set(key, own);
    try {
      return await own;
    } finally {
      this.#running.delete(key);
    }
  }

  list(): CacheRecord[] {
    return this.#records.list<CacheRecord>('build-cache');
  }

  /** Bytes of a record's layer. */
  size(record: CacheRecord): number {
    return record.diffId === undefined ? 0 : this.#layers.size(record.diffId);
  }

  /** Bytes of all layers in it, each once. */
  get bytes(): number {
    const layers = (): string[] => [...new Set(this.list().flatMap(({ diffId }) => diffId ?? []))];
    this.#bytes ??= layers().reduce((sum, diffId) => sum + this.#layers.size(diffId), 0);
    return this.#bytes;
  }

  /** Forgets what the options say; gives the keys, and the bytes that were freed. */
  prune(o: PruneOptions): { keys: string[]; bytes: number } {
    const latest = this.list().sort((a, b) => b.usedAt.localeCompare(a.usedAt));
    let kept = 0;
    const keys: string[] = [];
    const before = this.bytes;
    for (const record of latest) {
      const isOld = o.usedBeforeMs === undefined || Date.parse(record.usedAt) < o.usedBeforeMs;
      const isAccepted = o.accept?.(record) ?? true;
      const size = this.size(record);
      const fits = o.keepBytes !== undefined && kept + size <= o.keepBytes;
      if (!isOld || !isAccepted || fits) {
        kept += size;
        continue;
      }
      this.#records.delete('build-cache', record.key);
      keys.push(record.key);
    }
    this.#bytes = undefined;
    const bytes = before - this.bytes;
    this.#layers.sweep();
    return { keys, bytes };
  }
}
