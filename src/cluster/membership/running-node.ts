import { Agent, type WriterLease } from '#cluster/agent/agent.ts';
import type { TaskEngine, TaskNetworks } from '#cluster/agent/task-engine.ts';
import { ATTACHMENTS_METHOD, attachmentsHandler } from '#cluster/attachments/attachment-protocol.ts';
import type { NodeAttachments } from '#cluster/attachments/node-attachments.ts';
import {
  type CertificateFiles,
  type CheckedCredentials,
  checkCredentials,
} from '#cluster/ca/certificate-files.ts';
import { readOpenKey } from '#cluster/ca/key-file.ts';
import type { SealingKey } from '#cluster/ca/sealing.ts';
import type { ImageExchange } from '#cluster/images/image-exchange.ts';
import type { ViewListener } from '#cluster/state/view-follower.ts';
import { hasEtcd, noEtcd } from '#cluster/store/etcd-program.ts';
import { parseAddress } from '#cluster/transport/address.ts';
import { TlsTransport } from '#cluster/transport/tls-transport.ts';
import type { Clock } from '#control/clock.ts';
import { KeyedMutex } from '#control/keyed-mutex.ts';
import type { Random } from '#control/random.ts';
import { kindOf, messageOf, unavailable } from '#model/errors.ts';
import type { NodeDescription, NodeRole } from '#model/node.ts';
import { shareImages } from './image-sharing.ts';
import { askToManage, MANAGE_METHOD, manageHandler } from './manage-protocol.ts';
import { ManagerKey } from './manager-key.ts';
import { ManagerRole } from './manager-role.ts';
import {
  etcdUrlsOf,
  ManagerStore,
  type ManagerStoreOptions,
  type StoreInvitation,
  storeRootOf,
} from './manager-store.ts';
import { serveCalls } from './node-calls.ts';
import { NodeCertificate } from './node-certificate.ts';
import { endTasks } from './node-leave.ts';
import type { NodeState, NodeStateFile } from './node-state.ts';

/** What a change of role may take: etcd takes a member in, or lets one go. */
const ROLE_CHANGE_LIMIT_MS = 120_000;
const RETRY_MS = 2000;
/** How long the other managers may take to let this one go: to write it down, and to take it out of their store. */
const LEAVE_LIMIT_MS = 15_000;
/** How long the others may take to say that this manager is none any more, before it starts its store all the same. */
const DISOWN_LIMIT_MS = 3000;
/** How long a first etcd may take to serve. */
const ETCD_START_LIMIT_MS = 30_000;

/** What a node in a cluster needs of its machine. */
export interface NodeMachine {
  readonly engine: TaskEngine;
  readonly networks: TaskNetworks;
  /** What ends single writers though this process hangs or is dead. */
  readonly fence?: WriterLease;
  describe(): Promise<NodeDescription>;
  /** Calls back when the description may have changed, until `signal` aborts. */
  watchDescription(onChange: () => void, signal: AbortSignal): void;
  /** Serves this machine's images to the other nodes, and fetches theirs. */
  readonly images: Pick<ImageExchange, 'join'>;
  /** Puts this machine's plain containers on the cluster's networks. */
  readonly attachments: Pick<NodeAttachments, 'join' | 'leave' | 'network'>;
  /** `NAME:TAG@DIGEST` of an image, as its registry says it, or this machine where none does. */
  resolveImage(image: string, registryAuth: string | undefined): Promise<string>;
  /** The name of a network of this host, by its name or ID. */
  localNetwork(reference: string): string | undefined;
  /** True for the interfaces of containers' networks. */
  isOwnInterface(name: string): boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly report: (message: string, details: object) => void;
}

/** The files of a node. */
export interface NodeFiles {
  readonly state: NodeStateFile;
  readonly certificates: CertificateFiles;
  /** Where a manager's key lies. */
  readonly keyPath: string;
  /** Where etcd finds its key and its certificates: in memory alone, and there as long as etcd may run. */
  readonly etcdMemory: string;
}

/**
 * A node's life in a cluster, from its being let in to its leaving or the daemon's end: its listener, its agent, its certificate, and
 * while it is a manager the manager's part. Changes of role come one after the other.
 */
export class RunningNode implements AsyncDisposable {
  readonly #machine: NodeMachine;
  readonly #files: NodeFiles;
  readonly #onChange: ViewListener;
  readonly #ending = new AbortController();
  readonly #mutex = new KeyedMutex();
  readonly #transport: TlsTransport;
  #state: NodeState;
  readonly #certificate: NodeCertificate;
  readonly #managerKey: ManagerKey;
  #agent: Agent | undefined;
  #managing: { readonly store: ManagerStore; readonly role: ManagerRole } | undefined;
  #running: Promise<unknown> = Promise.resolve();
  /** Undefined until the leader has said what this node is to be. */
  #roleAsked: NodeRole | undefined;
  #hasHeardLeader = false;
  #refusal = '';
  #exchange: Disposable | undefined;
  #attaching: AsyncDisposable | undefined;

  private constructor(o: {
    machine: NodeMachine;
    files: NodeFiles;
    state: NodeState;
    credentials: CheckedCredentials;
    managerKey: SealingKey | undefined;
    onChange: ViewListener;
  }) {
    this.#machine = o.machine;
    this.#files = o.files;
    this.#state = o.state;
    this.#managerKey = new ManagerKey({
      ...o.machine,
      ...{ path: o.files.keyPath, key: o.managerKey, signal: this.#ending.signal },
    });
    this.#onChange = o.onChange;
    this.#roleAsked = o.credentials.identity.role;
    this.#transport = new TlsTransport({
      credentials: o.credentials,
      isAllowed: (nodeId, role) => this.#managing?.role.isAllowed(nodeId, role) ?? true,
      clock: o.machine.clock,
      report: (error, where) => o.machine.report(`${where} failed`, { error: messageOf(error) }),
    });
    this.#certificate = new NodeCertificate({
      ...{
        ...o.machine,
        files: o.files.certificates,
        credentials: o.credentials,
        transport: this.#transport,
      },
      // itself last: who is no manager any more may not know it
      managers: () => this.#managersKnown().reverse(),
      onManagerKeys: (keys) => {
        // who manages has it, and knows what it is sealed with at first hand
        if (this.#managing === undefined) this.#managerKey.take(keys);
      },
      inTurn: (work) => this.#mutex.run('role', work),
    });
  }

  /**
   * Goes on with what the files say: as a worker, or as a manager on its store. `forbidden` for certificates that cannot be used,
   * `unavailable` where its address is taken.
   */
  static async start(o: {
    machine: NodeMachine;
    files: NodeFiles;
    state: NodeState;
    onChange: ViewListener;
    /** The managers', where it lies sealed on the disk. */
    managerKey: SealingKey | undefined;
    /** This manager goes on alone: the others are lost. */
    forceNew?: boolean;
  }): Promise<RunningNode> {
    const { certificates, keyPath } = o.files;
    const managerKey = o.managerKey ?? readOpenKey(keyPath);
    const found = certificates.read(managerKey);
    if (found === undefined) throw unavailable('the node has no certificate');
    const credentials = checkCredentials(found, o.machine.clock.nowMs());
    // one from before managers' keys were sealed
    if (credentials.identity.role === 'manager' && !certificates.isSealed)
      certificates.write(credentials, managerKey);
    const node = new RunningNode({ ...o, managerKey, credentials });
    try {
      await node.#start(o.forceNew === true);
      return node;
    } catch (error) {
      await node[Symbol.asyncDispose]();
      throw error;
    }
  }

  get state(): NodeState {
    return this.#state;
  }

  get transport(): TlsTransport {
    return this.#transport;
  }

  /** True once a leader has answered. */
  get hasHeardLeader(): boolean {
    return this.#hasHeardLeader;
  }

  /** Why the managers do not take it for one of the cluster; empty while they do. */
  get refusal(): string {
    return this.#refusal;
  }

  /** Resolves when a node that joined as a manager is one. */
  async manageAsJoined(signal: AbortSignal): Promise<void> {
    while (this.#managing === undefined) await this.#machine.clock.sleep(50, signal);
    await this.#managing.role.ready(signal);
  }

  /** Where it keeps the cluster; undefined while it is a worker. */
  get store(): ManagerStore | undefined {
    return this.#managing?.store;
  }

  /** The managers' key; undefined where it is not here. */
  get managerKey(): SealingKey | undefined {
    return this.#managerKey.known;
  }

  /** Undefined while it is a worker. */
  get manager(): ManagerRole | undefined {
    return this.#managing?.role;
  }

  /** Undoes what makes it a node: leaves the managers where it can, ends all tasks. The files are the caller's to remove. */
  async leave(): Promise<void> {
    await this.#mutex.run('role', async () => {
      if (this.#state.store !== 'none') await this.#stopManaging();
    });
    await this.#machine.attachments.leave();
    await this[Symbol.asyncDispose]();
    await endTasks(this.#machine, this.#state);
  }

  /** Containers, etcd and what is in the kernel go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    this.#exchange?.[Symbol.dispose]();
    await this.#attaching?.[Symbol.asyncDispose]();
    await this.#running;
    const managing = this.#managing;
    this.#managing = undefined;
    await managing?.role[Symbol.asyncDispose]();
    await this.#transport[Symbol.asyncDispose]();
    await managing?.store[Symbol.asyncDispose]();
  }

  async #start(forceNew: boolean): Promise<void> {
    const { host, port } = parseAddress(this.#state.listenAddress);
    try {
      await this.#transport.listen(host, port);
    } catch (cause) {
      throw unavailable(`cannot listen on ${this.#state.listenAddress}: ${messageOf(cause)}`, { cause });
    }
    this.#transport.serve(
      MANAGE_METHOD,
      manageHandler(() => this.#storeForAnother()),
    );
    const { state } = this;
    if (state.store === 'etcd' && !forceNew && (await this.#isDisowned())) {
      // the leader says what is to become of it
      this.#roleAsked = undefined;
      this.#machine.report('the managers went on without this one: its store is not started', {});
    } else if (state.store !== 'none') await this.#resumeManaging(forceNew);
    else if (this.#roleAsked === 'manager') void this.#follow('manager');
    this.#exchange = shareImages({
      ...{ ...this.#machine, transport: this.#transport, managers: () => this.#managersKnown() },
      manager: () => this.#managing?.role,
    });
    this.#attachContainers();
    const { signal } = this.#ending;
    this.#agent = new Agent({
      transport: this.#transport,
      ...this.#machine,
      address: this.#state.dataPathAddress,
      managers: this.#managersKnown(),
      describe: async () => this.#certificate.described(await this.#machine.describe()),
      watchDescription: (onChange, until) => {
        this.#machine.watchDescription(onChange, until);
        this.#certificate.watch(onChange, until);
      },
      onSettings: ({ managers, role, roots }) => {
        if (roots !== undefined) this.#certificate.rootsAre(roots);
        this.#told(managers, role);
      },
      onRefused: (reason) => {
        this.#refusal = reason;
      },
      log: this.#machine.report,
    });
    const agent = this.#agent;
    serveCalls(this.#transport, (managers) => {
      this.#save({ managers });
      agent.meet(this.#managersKnown());
    });
    this.#running = Promise.all([agent.run(signal), this.#certificate.keep(signal)]);
  }

  /** What nodes ask managers about their plain containers, and this one too. */
  #attachContainers(): void {
    const { clock, attachments } = this.#machine;
    const transport = this.#transport;
    transport.serve(
      ATTACHMENTS_METHOD,
      attachmentsHandler(() => this.#managing?.role.control.attachments, clock),
    );
    this.#attaching = attachments.join({ transport, managers: () => this.#managersKnown() });
  }

  #managersKnown(): string[] {
    const own = this.#state.store === 'none' ? [] : [this.#state.advertiseAddress];
    return [...new Set([...own, ...this.#state.managers])];
  }

  #told(managers: readonly string[], role: NodeRole): void {
    this.#hasHeardLeader = true;
    this.#refusal = '';
    if (managers.length > 0 && managers.join() !== this.#state.managers.join()) this.#save({ managers });
    if (role === this.#roleAsked) return;
    this.#roleAsked = role;
    this.#follow(role).catch((error: unknown) =>
      this.#machine.report('the change of role failed', { role, error: messageOf(error) }),
    );
  }

  /** Becomes what the cluster says, and tries until it is, or the cluster says something else. */
  async #follow(role: NodeRole): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted && this.#roleAsked === role) {
      try {
        await this.#mutex.run('role', () => this.#become(role));
        return;
      } catch (error) {
        this.#machine.report('the change of role did not succeed yet', { role, error: messageOf(error) });
        await this.#machine.clock.sleep(RETRY_MS, signal).catch(() => undefined);
      }
    }
  }

  async #become(role: NodeRole): Promise<void> {
    if (this.#roleAsked !== role) return;
    // the key comes with the certificate; one that is locked in on the disk of a node that never managed is asked for again
    const lacksKey = role === 'manager' && this.#managerKey.known === undefined;
    if (this.#certificate.role !== role || lacksKey) await this.#certificate.renew(role, this.#ending.signal);
    if (role === 'manager' && this.#managing === undefined) await this.#startManaging();
    if (role === 'worker' && this.#state.store !== 'none') await this.#stopManaging();
  }

  /** Joins the managers' store, and takes part. */
  async #startManaging(): Promise<void> {
    const signal = AbortSignal.any([this.#ending.signal, AbortSignal.timeout(ROLE_CHANGE_LIMIT_MS)]);
    const others = this.#state.managers.filter((address) => address !== this.#state.advertiseAddress);
    const invitation = await askToManage(this.#transport, others, signal);
    const store = await ManagerStore.joinEtcd(this.#storeOptions(), invitation, signal);
    this.#save({ store: 'etcd' });
    await this.#manage(store);
  }

  /**
   * Whether another manager says that this one is none any more: then its store must not run, for it may be half of a quorum that was
   * given up. Who does not answer says nothing.
   */
  async #isDisowned(): Promise<boolean> {
    const signal = AbortSignal.any([this.#ending.signal, AbortSignal.timeout(DISOWN_LIMIT_MS)]);
    const others = this.#state.managers.filter((address) => address !== this.#state.advertiseAddress);
    const answers = others.map(async (address) => {
      try {
        await askToManage(this.#transport, [address], signal);
        return false;
      } catch (error) {
        return kindOf(error) === 'forbidden';
      }
    });
    return (await Promise.all(answers)).includes(true);
  }

  async #resumeManaging(forceNew: boolean): Promise<void> {
    const options = this.#storeOptions();
    const limit = AbortSignal.any([this.#ending.signal, AbortSignal.timeout(ROLE_CHANGE_LIMIT_MS)]);
    if (this.#state.store === 'etcd') {
      const store = forceNew
        ? await ManagerStore.recoverEtcd(options, limit)
        : await ManagerStore.openEtcd(options);
      await this.#manage(store);
      return;
    }
    const store = ManagerStore.openSqlite(options);
    if (!store.isMoving) return await this.#manage(store);
    await store[Symbol.asyncDispose]();
    await this.#manage(await this.#moved(limit));
  }

  /** For a second manager: the store moves to etcd where it is not there yet. */
  async #storeForAnother(): Promise<StoreInvitation> {
    return await this.#mutex.run('role', async () => {
      const managing = this.#managing;
      if (managing === undefined) throw unavailable('this node is no manager');
      if (managing.store.kind === 'sqlite') {
        if (!(await hasEtcd())) throw noEtcd('the manager that was asked');
        this.#machine.report('the store moves to etcd, for there will be several managers', {});
        await this.#moveToEtcd(managing);
      }
      const managers = this.#managing?.role.managers() ?? [];
      const addresses = [...new Set([this.#state.advertiseAddress, ...managers])];
      return {
        endpoints: addresses.map((address) => etcdUrlsOf(address).clientUrl),
        root: await storeRootOf(this.#storeOptions()),
      };
    });
  }

  /** Nobody manages meanwhile. Where etcd does not come up, the old store goes on: it is sealed only when the new one serves. */
  async #moveToEtcd(managing: { store: ManagerStore; role: ManagerRole }): Promise<void> {
    await managing.role[Symbol.asyncDispose]();
    await managing.store[Symbol.asyncDispose]();
    this.#managing = undefined;
    try {
      await this.#manage(await this.#moved(AbortSignal.timeout(ETCD_START_LIMIT_MS)));
    } catch (error) {
      const old = ManagerStore.openSqlite(this.#storeOptions());
      if (!old.isMoving) await this.#manage(old);
      else await old[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #moved(signal: AbortSignal): Promise<ManagerStore> {
    const store = await ManagerStore.moveToEtcd(this.#storeOptions(), signal);
    this.#save({ store: 'etcd' });
    return store;
  }

  async #manage(store: ManagerStore): Promise<void> {
    const { nodeId, clusterId, advertiseAddress } = this.#state;
    const role = new ManagerRole({
      ...{ nodeId, clusterId, advertiseAddress },
      ...{ store: store.store, transport: this.#transport, key: this.#managerKey.key },
      credentials: () => this.#certificate.credentials,
      ...this.#machine,
      localNetwork: (reference) => this.#machine.localNetwork(reference),
      resolveImage: (image, registryAuth) => this.#machine.resolveImage(image, registryAuth),
      heard: () => this.#agent?.heard,
      onChange: this.#onChange,
    });
    this.#managing = { store, role };
    if (store.etcd !== undefined) role.keepStoreMembers(store.etcd);
    role.listen((changes) => {
      if (changes.some(({ table }) => table === 'node')) store.reach(role.managers());
      if (changes.some(({ table }) => table === 'swarm')) this.#managerKey.lockWith(role.unlockKey);
    }, this.#ending.signal);
    this.#announce(role).catch((error: unknown) =>
      this.#machine.report('the manager is not announced', { error: messageOf(error) }),
    );
  }

  /** Says in the node's record that it manages, as soon as the record is known. */
  async #announce(role: ManagerRole): Promise<void> {
    const { signal } = this.#ending;
    await role.ready(signal);
    await role.changeNode((node) => ({ ...node, ManagerStatus: { Addr: this.#state.advertiseAddress } }));
  }

  /**
   * Leaves the managers, where there are any that can let it go, and forgets their store. Those that cannot be reached, or have no quorum,
   * do not keep it: who leads them later finds a member that is no manager.
   */
  async #stopManaging(): Promise<void> {
    const options = this.#storeOptions();
    const managing = this.#managing;
    const known = [...(managing?.role.managers() ?? []), ...this.#state.managers];
    const others = [...new Set(known)].filter((address) => address !== this.#state.advertiseAddress);
    if (managing !== undefined && others.length > 0) {
      const signal = AbortSignal.timeout(LEAVE_LIMIT_MS);
      const saying = managing.role.changeNode(({ ManagerStatus: _, ...node }) => node, signal);
      await saying.catch((error: unknown) => this.#leftBehind(error));
    }
    this.#managing = undefined;
    await managing?.role[Symbol.asyncDispose]();
    const endpoints = others.map((address) => etcdUrlsOf(address).clientUrl);
    const leaving = managing?.store.leave(options, endpoints, AbortSignal.timeout(LEAVE_LIMIT_MS));
    await leaving?.catch((error: unknown) => this.#leftBehind(error));
    await managing?.store[Symbol.asyncDispose]();
    await ManagerStore.discard(options);
    this.#managerKey.forget();
    this.#save({ store: 'none' });
  }

  #leftBehind(error: unknown): void {
    this.#machine.report('the other managers did not let this one go in order', { error: messageOf(error) });
  }

  #storeOptions(): ManagerStoreOptions {
    return {
      directory: this.#files.state.directory,
      etcdMemory: this.#files.etcdMemory,
      nodeId: this.#state.nodeId,
      advertiseAddress: this.#state.advertiseAddress,
      clusterId: this.#state.clusterId,
      key: this.#managerKey.key,
      clock: this.#machine.clock,
      report: this.#machine.report,
    };
  }

  #save(change: Partial<NodeState>): void {
    this.#state = { ...this.#state, ...change };
    this.#files.state.write(this.#state);
  }
}
