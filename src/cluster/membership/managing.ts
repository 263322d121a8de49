import type { HeardLeader } from '#cluster/agent/agent.ts';
import type { NodeCredentials } from '#cluster/ca/certificate-files.ts';
import type { ViewListener } from '#cluster/state/view-follower.ts';
import { hasEtcd, noEtcd } from '#cluster/store/etcd-program.ts';
import type { Transport } from '#cluster/transport/transport.ts';
import { kindOf, messageOf, unavailable } from '#model/errors.ts';
import { askToManage } from './manage-protocol.ts';
import type { ManagerKey } from './manager-key.ts';
import { ManagerRole } from './manager-role.ts';
import {
  etcdUrlsOf,
  ManagerStore,
  type ManagerStoreOptions,
  type StoreInvitation,
  storeRootOf,
} from './manager-store.ts';
import type { NodeFiles, NodeMachine } from './node-machine.ts';
import type { KeptNodeState } from './node-state.ts';

/** What a change of role may take: etcd takes a member in, or lets one go. */
const ROLE_CHANGE_LIMIT_MS = 120_000;
/** How long the other managers may take to let this one go: to write it down, and to take it out of their store. */
const LEAVE_LIMIT_MS = 15_000;
/** How long the others may take to say that this manager is none any more, before it starts its store all the same. */
const DISOWN_LIMIT_MS = 3000;
/** How long a first etcd may take to serve. */
const ETCD_START_LIMIT_MS = 30_000;

/** What a node has while it manages. */
interface ManagerParts {
  readonly store: ManagerStore;
  readonly role: ManagerRole;
}

export interface ManagingOptions {
  readonly machine: NodeMachine;
  readonly files: Pick<NodeFiles, 'state' | 'etcdMemory'>;
  readonly state: KeptNodeState;
  readonly transport: Transport;
  readonly managerKey: ManagerKey;
  /** This node's own. */
  readonly credentials: () => NodeCredentials;
  /** When this node's agent last heard of who led. */
  readonly heard: () => HeardLeader | undefined;
  readonly onChange: ViewListener;
  /** Aborts when the node ends. */
  readonly signal: AbortSignal;
}

/**
 * A node's being a manager: how it begins, goes on after a restart, takes others in, and ends. Whoever calls one of these waits until the one
 * before is done.
 */
export class Managing {
  readonly #o: ManagingOptions;
  readonly #state: KeptNodeState;
  #parts: ManagerParts | undefined;

  constructor(o: ManagingOptions) {
    this.#o = o;
    this.#state = o.state;
  }

  /** Undefined while it manages nothing: as a worker, and while its store moves. */
  get parts(): ManagerParts | undefined {
    return this.#parts;
  }

  /** Whether there is a manager's store here, in use or not. */
  get isManager(): boolean {
    return this.#state.current.store !== 'none';
  }

  /** The caller ends them, for the node ends. Etcd goes on. */
  release(): ManagerParts | undefined {
    const parts = this.#parts;
    this.#parts = undefined;
    return parts;
  }

  /** Joins the managers' store, and takes part. */
  async begin(): Promise<void> {
    const signal = AbortSignal.any([this.#o.signal, AbortSignal.timeout(ROLE_CHANGE_LIMIT_MS)]);
    const invitation = await askToManage(this.#o.transport, this.#state.otherManagers, signal);
    const store = await ManagerStore.joinEtcd(this.#storeOptions(), invitation, signal);
    this.#state.change({ store: 'etcd' });
    await this.#manage(store);
  }

  /**
   * Whether another manager says that this one is none any more: then its store must not run, for it may be half of a quorum that was
   * given up. Who does not answer says nothing.
   */
  async isDisowned(): Promise<boolean> {
    const signal = AbortSignal.any([this.#o.signal, AbortSignal.timeout(DISOWN_LIMIT_MS)]);
    const answers = this.#state.otherManagers.map(async (address) => {
      try {
        await askToManage(this.#o.transport, [address], signal);
        return false;
      } catch (error) {
        return kindOf(error) === 'forbidden';
      }
    });
    return (await Promise.all(answers)).includes(true);
  }

  /** Goes on with the store that is here; with `forceNew` alone, for the others are lost. */
  async resume(forceNew: boolean): Promise<void> {
    const options = this.#storeOptions();
    const limit = AbortSignal.any([this.#o.signal, AbortSignal.timeout(ROLE_CHANGE_LIMIT_MS)]);
    if (this.#state.current.store === 'etcd') {
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
  async storeForAnother(): Promise<StoreInvitation> {
    const parts = this.#parts;
    if (parts === undefined) throw unavailable('this node is no manager');
    if (parts.store.kind === 'sqlite') {
      if (!(await hasEtcd())) throw noEtcd('the manager that was asked');
      this.#o.machine.report('the store moves to etcd, for there will be several managers', {});
      await this.#moveToEtcd(parts);
    }
    const managers = this.#parts?.role.managers() ?? [];
    const addresses = [...new Set([this.#state.current.advertiseAddress, ...managers])];
    return {
      endpoints: addresses.map((address) => etcdUrlsOf(address).clientUrl),
      root: await storeRootOf(this.#storeOptions()),
    };
  }

  /** Nobody manages meanwhile. Where etcd does not come up, the old store goes on: it is sealed only when the new one serves. */
  async #moveToEtcd({ role, store }: ManagerParts): Promise<void> {
    await role[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
    this.#parts = undefined;
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
    this.#state.change({ store: 'etcd' });
    return store;
  }

  async #manage(store: ManagerStore): Promise<void> {
    const { nodeId, clusterId, advertiseAddress } = this.#state.current;
    const role = new ManagerRole({
      ...{ nodeId, clusterId, advertiseAddress },
      ...{ store: store.store, transport: this.#o.transport, key: this.#o.managerKey.key },
      credentials: this.#o.credentials,
      ...this.#o.machine,
      localNetwork: (reference) => this.#o.machine.localNetwork(reference),
      resolveImage: (image, registryAuth) => this.#o.machine.resolveImage(image, registryAuth),
      heard: this.#o.heard,
      onChange: this.#o.onChange,
    });
    this.#parts = { store, role };
    if (store.etcd !== undefined) role.keepStoreMembers(store.etcd);
    role.listen((changes) => {
      if (changes.some(({ table }) => table === 'node')) store.reach(role.managers());
      if (changes.some(({ table }) => table === 'swarm')) this.#o.managerKey.lockWith(role.unlockKey);
    }, this.#o.signal);
    this.#announce(role).catch((error: unknown) =>
      this.#o.machine.report('the manager is not announced', { error: messageOf(error) }),
    );
  }

  /** Says in the node's record that it manages, as soon as the record is known. */
  async #announce(role: ManagerRole): Promise<void> {
    await role.ready(this.#o.signal);
    await role.changeNode((node) => ({
      ...node,
      ManagerStatus: { Addr: this.#state.current.advertiseAddress },
    }));
  }

  /**
   * Leaves the managers, where there are any that can let it go, and forgets their store. Those that cannot be reached, or have no quorum,
   * do not keep it: who leads them later finds a member that is no manager.
   */
  async end(): Promise<void> {
    const options = this.#storeOptions();
    const parts = this.#parts;
    const known = [...(parts?.role.managers() ?? []), ...this.#state.current.managers];
    const others = [...new Set(known)].filter((address) => address !== this.#state.current.advertiseAddress);
    if (parts !== undefined && others.length > 0) {
      const signal = AbortSignal.timeout(LEAVE_LIMIT_MS);
      const saying = parts.role.changeNode(({ ManagerStatus: _, ...node }) => node, signal);
      await saying.catch((error: unknown) => this.#leftBehind(error));
    }
    this.#parts = undefined;
    await parts?.role[Symbol.asyncDispose]();
    const endpoints = others.map((address) => etcdUrlsOf(address).clientUrl);
    const leaving = parts?.store.leave(options, endpoints, AbortSignal.timeout(LEAVE_LIMIT_MS));
    await leaving?.catch((error: unknown) => this.#leftBehind(error));
    await parts?.store[Symbol.asyncDispose]();
    await ManagerStore.discard(options);
    this.#o.managerKey.forget();
    this.#state.change({ store: 'none' });
  }

  #leftBehind(error: unknown): void {
    this.#o.machine.report('the other managers did not let this one go in order', {
      error: messageOf(error),
    });
  }

  #storeOptions(): ManagerStoreOptions {
    const { nodeId, clusterId, advertiseAddress } = this.#state.current;
    const { machine, files, managerKey } = this.#o;
    return {
      ...{ nodeId, clusterId, advertiseAddress },
      ...{ directory: files.state.directory, etcdMemory: files.etcdMemory, key: managerKey.key },
      ...{ clock: machine.clock, report: machine.report },
    };
  }
}
