import { ClusterView } from '#cluster/state/cluster-view.ts';
import { transactionOf } from '#cluster/state/record-transaction.ts';
import type { ViewChange, Write } from '#cluster/state/tables.ts';
import type {
  Change,
  ChangeBatch,
  CommitResult,
  Entry,
  Store,
  StoreLease,
  Transaction,
} from '#cluster/store/store.ts';
import { invalid, notImplemented } from '#model/errors.ts';
import type { NodeRecord } from '#model/node.ts';
import { ClusterControl } from './cluster-control.ts';
import type { ControlPorts, FollowedView } from './control-ports.ts';
import { firstSwarm } from './swarm-spec.ts';

/** For tests: a store in memory and the view of it, which has a commit at once or, while it is held, later. */
export class FollowedStore implements Store, FollowedView {
  readonly maxOperations = 128;
  readonly view: ClusterView = new ClusterView();
  readonly #entries = new Map<string, Entry>();
  #revision = 0;
  #ids = 0;
  #held: ChangeBatch[] | undefined;
  readonly #listeners = new Set<(changes: readonly ViewChange[]) => void>();
  #waiting: { revision: number; resolve: () => void }[] = [];

  async get(key: string): Promise<Entry | undefined> {
    return this.#entries.get(key);
  }

  async list(prefix: string): Promise<{ revision: number; entries: Entry[] }> {
    const entries = [...this.#entries.values()].filter(({ key }) => key.startsWith(prefix));
    return { revision: this.#revision, entries };
  }

  async commit({ checks, puts, deletes }: Transaction): Promise<CommitResult> {
    const holds = checks.every(({ key, revision }) => (this.#entries.get(key)?.revision ?? 0) === revision);
    if (!holds) return { committed: false };
    this.#revision += 1;
    const revision = this.#revision;
    const changes: Change[] = [];
    for (const key of deletes) {
      if (this.#entries.delete(key)) changes.push({ kind: 'delete', key, revision });
    }
    for (const { key, value } of puts) {
      const entry = { key, value, revision };
      this.#entries.set(key, entry);
      changes.push({ kind: 'put', entry });
    }
    const batch = { revision, changes };
    if (this.#held === undefined) this.#apply(batch);
    else this.#held.push(batch);
    return { committed: true, revision };
  }

  watch(): AsyncIterable<ChangeBatch> {
    throw notImplemented('the fixture has one view');
  }

  lease(): Promise<StoreLease> {
    throw notImplemented('nothing here has a lease');
  }

  async untilRevision(revision: number): Promise<void> {
    if (this.view.revision >= revision) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ revision, resolve });
    await promise;
  }

  /** Calls back with what changes from now on, until the result is disposed of. */
  subscribe(listener: (changes: readonly ViewChange[]) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** IDs that count, and are never the same whichever control asks. */
  nextId(): string {
    return `id${this.#ids++}`.padEnd(25, '0');
  }

  /** From now on the view is old, until {@link release}. */
  hold(): void {
    this.#held ??= [];
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const batch of held) this.#apply(batch);
  }

  /** Writes records as a controller would, which takes no turns. */
  async write(...writes: Write[]): Promise<void> {
    const done = await this.commit(transactionOf(this.view, writes));
    if (!done.committed) throw invalid('the test wrote what is not there');
  }

  #apply(batch: ChangeBatch): void {
    const changes = this.view.apply(batch);
    for (const listener of this.#listeners) listener(changes);
    const ready = this.#waiting.filter(({ revision }) => revision <= this.view.revision);
    this.#waiting = this.#waiting.filter(({ revision }) => revision > this.view.revision);
    for (const { resolve } of ready) resolve();
  }
}

/** 2026-01-01T00:00:00Z, and a second more at each look. */
const START_MS = 1_767_225_600_000;

/** A manager's control over a store in memory, with time and IDs that count. */
export function controlOver(store: FollowedStore, ports: Partial<ControlPorts> = {}): ClusterControl {
  let seconds = 0;
  let tokens = 0;
  return new ClusterControl({
    follower: store,
    store,
    clock: {
      nowMs: () => START_MS + 1000 * seconds++,
      monotonicMs: () => 1000 * seconds,
      // nothing waits for a time here: what it waits for happens first
      sleep: () => new Promise(() => undefined),
    },
    random: { below: () => 0, id: () => store.nextId() },
    sealer: {
      seal: (data, purpose) => `${purpose}:${data.toString('base64')}`,
      unseal: (text, purpose) => Buffer.from(text.slice(purpose.length + 1), 'base64'),
    },
    joinTokens: {
      create: () => `token-${++tokens}`,
      rebind: (token, root) => `${token}@${root}`,
    },
    makeUnlockKey: () => 'unlock key',
    nodeId: FIRST_NODE.ID,
    leader: () => FIRST_NODE.ID,
    localNetwork: (reference) => ['bridge', 'host', 'none', 'mine'].find((name) => name === reference),
    signal: new AbortController().signal,
    ...ports,
  });
}

export const FIRST_NODE: NodeRecord = {
  ID: 'node1'.padEnd(25, '0'),
  CreatedAt: '2026-01-01T00:00:00.000Z',
  UpdatedAt: '2026-01-01T00:00:00.000Z',
  Spec: { Role: 'manager', Availability: 'active', Labels: {} },
  Description: {
    Hostname: 'one',
    Platform: { Architecture: 'x86_64', OS: 'linux' },
    Resources: { NanoCPUs: 2_000_000_000, MemoryBytes: 4_294_967_296 },
    Engine: {
      EngineVersion: '0.1.0',
      Labels: { disk: 'ssd' },
      Plugins: [{ Type: 'Network', Name: 'overlay' }],
    },
    TLSInfo: { TrustRoot: 'root', CertIssuerSubject: 'c3ViamVjdA==', CertIssuerPublicKey: 'a2V5' },
  },
  Status: { State: 'ready', Addr: '10.0.0.1', since: '2026-01-01T00:00:00.000Z' },
  ManagerStatus: { Addr: '10.0.0.1:2377' },
  address: '10.0.0.1:2377',
};

/** A swarm of one node, as `docker swarm init` leaves it. */
export async function oneNodeSwarm(): Promise<FollowedStore> {
  const store = new FollowedStore();
  await store.write(
    ...firstSwarm({
      id: 'swarm'.padEnd(25, '0'),
      ingressId: 'ingress'.padEnd(25, '0'),
      now: '2026-01-01T00:00:00.000Z',
      spec: {},
      defaultAddrPool: [],
      subnetSize: 0,
      dataPathPort: 0,
      rootCertificate: 'root',
      sealedRootKey: 'sealed',
      sealedUnlockKey: 'sealed unlock key',
      joinTokens: { Worker: 'worker', Manager: 'manager' },
    }),
    { table: 'node', put: FIRST_NODE },
  );
  return store;
}
