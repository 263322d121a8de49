import { rmSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { SealingKey } from '#cluster/ca/sealing.ts';
import {
  ETCD_LIMITS,
  type EtcdMemberOptions,
  type EtcdTlsFiles,
  QUOTA_BYTES,
} from '#cluster/store/etcd-arguments.ts';
import { EtcdClient } from '#cluster/store/etcd-client.ts';
import { joinEtcd, leaveEtcd } from '#cluster/store/etcd-join.ts';
import { EtcdMember, removeMember } from '#cluster/store/etcd-member.ts';
import { freeSpace, keepSpace } from '#cluster/store/etcd-space.ts';
import { EtcdStore } from '#cluster/store/etcd-store.ts';
import { tlsOf } from '#cluster/store/etcd-tls.ts';
import { SqliteStore } from '#cluster/store/sqlite-store.ts';
import type { Store } from '#cluster/store/store.ts';
import { moveStore } from '#cluster/store/store-move.ts';
import { parseAddress } from '#cluster/transport/address.ts';
import type { Clock } from '#control/clock.ts';
import { type SealedStoreRoot, StoreRootFiles } from './store-root.ts';

/** etcd listens on the ports behind the node's own: for its clients and for its members. */
const CLIENT_PORT_OFFSET = 2;
const PEER_PORT_OFFSET = 3;

/** What a manager gives to one that is to share its store. */
export interface StoreInvitation {
  /** Client URLs of etcd. */
  readonly endpoints: readonly string[];
  readonly root: SealedStoreRoot;
}

/** The root of etcd's certificates on this manager, made where it is missing. */
export async function storeRootOf(o: ManagerStoreOptions): Promise<SealedStoreRoot> {
  return await storeRoot(o).found(o.clusterId, o.key, o.clock);
}

/** Where the etcd of a manager answers, from the `host:port` that the manager advertises. */
export function etcdUrlsOf(advertiseAddress: string): { clientUrl: string; peerUrl: string } {
  const { host, port } = parseAddress(advertiseAddress);
  const bare = isIP(host) === 6 ? `[${host}]` : host;
  return {
    clientUrl: `https://${bare}:${port + CLIENT_PORT_OFFSET}`,
    peerUrl: `https://${bare}:${port + PEER_PORT_OFFSET}`,
  };
}

/** Where a manager's store lies, and answers. */
interface StorePlace {
  /** DATA/cluster. */
  readonly directory: string;
  /** Where etcd finds its key and its certificates: in memory alone. */
  readonly etcdMemory: string;
  readonly nodeId: string;
  readonly advertiseAddress: string;
}

export interface ManagerStoreOptions extends StorePlace {
  readonly clusterId: string;
  /** The managers'. */
  readonly key: SealingKey;
  readonly clock: Clock;
  readonly report: (message: string, details: object) => void;
}

/**
 * A manager's store: SQLite while it is the only one, etcd with others. Disposing of it closes the store and leaves etcd running, as
 * containers are; {@link remove} ends it.
 */
export class ManagerStore implements AsyncDisposable {
  readonly store: Store;
  readonly kind: 'sqlite' | 'etcd';
  readonly #parts: AsyncDisposableStack;
  readonly #member: EtcdMember | undefined;
  readonly #isAlone: boolean;

  private constructor(o: {
    store: Store;
    kind: 'sqlite' | 'etcd';
    member: EtcdMember | undefined;
    isAlone?: boolean;
    parts: AsyncDisposableStack;
  }) {
    this.store = o.store;
    this.#isAlone = o.isAlone ?? false;
    this.kind = o.kind;
    this.#member = o.member;
    this.#parts = o.parts;
  }

  /** The store of a manager that is alone. */
  static openSqlite(o: ManagerStoreOptions): ManagerStore {
    const parts = new AsyncDisposableStack();
    const store = parts.use(new SqliteStore(sqliteFile(o), { clock: o.clock }));
    return new ManagerStore({ store, kind: 'sqlite', member: undefined, parts });
  }

  /** The store of a manager that was one of several before; it need not have a quorum yet. */
  static async openEtcd(o: ManagerStoreOptions): Promise<ManagerStore> {
    await certify(o);
    return ManagerStore.#onEtcd(o, await EtcdMember.open(memberOptions(o), supervision(o)));
  }

  /** Becomes one of several: `endpoints` are the client URLs of those that are there. Safe to repeat. */
  static async joinEtcd(
    o: ManagerStoreOptions,
    { endpoints, root }: StoreInvitation,
    signal: AbortSignal,
  ): Promise<ManagerStore> {
    storeRoot(o).write(root);
    await certify(o);
    using through = clientOf(o, endpoints);
    const member = await joinEtcd(memberOptions(o), { ...supervision(o), through, signal });
    return ManagerStore.#onEtcd(o, member);
  }

  /**
   * From SQLite to an etcd of one member, when a second manager comes: the old store is sealed, then copied. Cut off anywhere, it is
   * finished by being repeated. `signal` gives up waiting for etcd.
   */
  static async moveToEtcd(o: ManagerStoreOptions, signal: AbortSignal): Promise<ManagerStore> {
    await certify(o);
    const member = await EtcdMember.found(memberOptions(o), supervision(o));
    await using undo = new AsyncDisposableStack();
    undo.use(member);
    await member.ready(signal);
    const moved = undo.use(ManagerStore.#onEtcd(o, member));
    using old = new SqliteStore(sqliteFile(o), { clock: o.clock });
    await moveStore({ from: old, to: moved.store, successor: etcdUrlsOf(o.advertiseAddress).clientUrl });
    undo.move();
    return moved;
  }

  /** True where a move to etcd began and was not finished. */
  get isMoving(): boolean {
    return this.store instanceof SqliteStore && this.store.successor !== undefined;
  }

  /** This manager goes on alone with what it has, when the others are lost for good. */
  static async recoverEtcd(o: ManagerStoreOptions, signal: AbortSignal): Promise<ManagerStore> {
    await certify(o);
    const member = await EtcdMember.recover(memberOptions(o), { ...supervision(o), signal });
    return ManagerStore.#onEtcd(o, member, { isAlone: true });
  }

  /**
   * Where managers are now, `host:port` each: their etcds are asked while the own one does not answer. One that goes on alone asks nobody
   * else until it is started again: the others may still be what they were.
   */
  reach(managers: readonly string[]): void {
    if (!(this.store instanceof EtcdStore) || this.#member === undefined || this.#isAlone) return;
    const urls = managers.map((address) => etcdUrlsOf(address).clientUrl);
    const endpoints = [...new Set([this.#member.options.clientUrl, ...urls])];
    const { client } = this.store;
    // the same again would make it turn back to one that does not answer
    if (endpoints.join() !== client.endpoints.join()) client.endpoints = endpoints;
  }

  /** Asks this manager's etcd about its members; undefined where there is none. */
  get etcd(): EtcdClient | undefined {
    return this.#member?.client;
  }

  /** Makes the store as small as what it keeps, on every member; the one that works on it serves nothing meanwhile. */
  async compact(): Promise<void> {
    if (this.store instanceof SqliteStore) this.store.compact();
    if (this.#member !== undefined) await freeSpace(this.#member.client);
  }

  /** Leaves the others, where there are any that can say so. Nothing on disk changes. */
  async leave(o: ManagerStoreOptions, others: readonly string[], signal: AbortSignal): Promise<void> {
    if (this.#member === undefined || others.length === 0) return;
    using through = clientOf(o, others);
    await leaveEtcd(etcdUrlsOf(o.advertiseAddress).peerUrl, { through, signal, clock: o.clock });
  }

  /** Ends what runs of a manager's store here, and removes what is on disk; nobody is told. Repeating it changes nothing. */
  static async discard(o: StorePlace & Pick<ManagerStoreOptions, 'clock'>): Promise<void> {
    await removeMember(memberOptions(o), o.clock);
    storeRoot(o).remove();
    for (const ending of ['', '-wal', '-shm']) rmSync(`${sqliteFile(o)}${ending}`, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync();
  }

  static #onEtcd(o: ManagerStoreOptions, member: EtcdMember, how: { isAlone?: boolean } = {}): ManagerStore {
    const parts = new AsyncDisposableStack();
    const over = new AbortController();
    const keeping = keepSpace({
      ...{ client: member.client, name: o.nodeId, quotaBytes: QUOTA_BYTES },
      ...{ clock: o.clock, signal: over.signal, report: o.report },
    });
    // what it waits for of etcd ends with the member's client
    parts.defer(() => keeping);
    parts.use(member);
    parts.defer(() => over.abort());
    const { clientUrl } = etcdUrlsOf(o.advertiseAddress);
    const store = parts.use(
      new EtcdStore({ endpoints: [clientUrl], tls: tlsOf(tlsFiles(o)), clock: o.clock, ...ETCD_LIMITS }),
    );
    return new ManagerStore({ store, kind: 'etcd', member, parts, ...how });
  }
}

function sqliteFile(o: StorePlace): string {
  return join(o.directory, 'store.db');
}

function memberOptions(o: StorePlace): EtcdMemberOptions {
  return {
    ...etcdUrlsOf(o.advertiseAddress),
    directory: join(o.directory, 'etcd'),
    name: o.nodeId,
    tls: tlsFiles(o),
  };
}

function storeRoot(o: StorePlace): StoreRootFiles {
  return new StoreRootFiles({ directory: o.directory, memory: o.etcdMemory });
}

async function certify(o: ManagerStoreOptions): Promise<void> {
  await storeRoot(o).certify({ ...o, host: parseAddress(o.advertiseAddress).host });
}

function tlsFiles(o: StorePlace): EtcdTlsFiles {
  const { certificates } = storeRoot(o);
  return {
    ca: certificates.path('roots'),
    cert: certificates.path('certificate'),
    key: certificates.path('key'),
  };
}

function clientOf(o: ManagerStoreOptions, endpoints: readonly string[]): EtcdClient {
  return new EtcdClient({ endpoints, tls: tlsOf(tlsFiles(o)) });
}

function supervision(o: ManagerStoreOptions): { clock: Clock; report: (message: string) => void } {
  return { clock: o.clock, report: (message) => o.report(message, {}) };
}
