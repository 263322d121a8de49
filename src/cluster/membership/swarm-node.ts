import { hostname } from 'node:os';
import { join } from 'node:path';
import { CertificateFiles } from '#cluster/ca/certificate-files.ts';
import { createRequest } from '#cluster/ca/certificate-request.ts';
import { type CertificateAnswer, credentialsOf, requestJoin } from '#cluster/ca/join-protocol.ts';
import { createJoinToken, parseJoinToken } from '#cluster/ca/join-token.ts';
import { readKeyFile, writeKeyFile } from '#cluster/ca/key-file.ts';
import { createAuthority, DEFAULT_LIFE_MS } from '#cluster/ca/root-authority.ts';
import { createRoot } from '#cluster/ca/root-certificate.ts';
import {
  createSealingKey,
  formatUnlockKey,
  parseUnlockKey,
  type SealingKey,
  seal,
  sealKey,
  unsealKey,
} from '#cluster/ca/sealing.ts';
import type { ClusterControl } from '#cluster/control/cluster-control.ts';
import { type ClusterEvent, clusterEventsOf } from '#cluster/control/cluster-events.ts';
import type { ClusterOperator, RestoredCluster, RestoreRequest } from '#cluster/control/cluster-operator.ts';
import {
  alreadyInASwarm,
  leavesLocked,
  lockedSwarm,
  notAManager,
  notInASwarm,
  onAWorker,
} from '#cluster/control/control-errors.ts';
import type {
  SwarmInfo,
  SwarmInitRequest,
  SwarmJoinRequest,
  SwarmMembership,
  SwarmState,
  TaskLogRecord,
  TaskLogRequest,
} from '#cluster/control/swarm-membership.ts';
import { firstSwarm } from '#cluster/control/swarm-spec.ts';
import { ClusterView } from '#cluster/state/cluster-view.ts';
import { transactionOf } from '#cluster/state/record-transaction.ts';
import { hasEtcd } from '#cluster/store/etcd-program.ts';
import { SqliteStore } from '#cluster/store/sqlite-store.ts';
import { parseAddress } from '#cluster/transport/address.ts';
import { openJoinChannel } from '#cluster/transport/join-connection.ts';
import { KeyedMutex } from '#control/keyed-mutex.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import { conflict, DroverError, kindOf, messageOf, unavailable } from '#model/errors.ts';
import type { NodeRecord } from '#model/node.ts';
import { type AskedAddresses, remoteAddress, resolveAddresses } from './advertised-address.ts';
import { ROOT_KEY_PURPOSE } from './cluster-authority.ts';
import {
  MOST_WRITES,
  restoreCluster,
  withoutFences,
  withoutOtherManagers,
  withReceived,
} from './cluster-backup.ts';
import { serveFigures } from './cluster-status.ts';
import { keysOf } from './manager-key.ts';
import type { ManagerRole } from './manager-role.ts';
import { type NetworkInspection, serveInspection } from './network-inspection.ts';
import { leaveUnstarted } from './node-leave.ts';
import type { NodeFiles, NodeMachine } from './node-machine.ts';
import { type NodeState, NodeStateFile } from './node-state.ts';
import { RunningNode } from './running-node.ts';
import { SwarmOperator } from './swarm-operator.ts';
import { readTaskLogs, serveTaskLogs, type TaskLogSource } from './task-log-protocol.ts';

/** How long init, join and leave may take. */
const CHANGE_LIMIT_MS = 120_000;
/** How long a worker may take to be heard of by its managers before the join is called done all the same. */
const JOIN_LIMIT_MS = 20_000;

/** Of an init that founds nothing. */
const NOTHING_ASKED: SwarmInitRequest = {
  ...{ listenAddress: '', advertiseAddress: '', dataPathAddress: '', availability: 'active' },
  ...{ spec: {}, defaultAddrPool: [], subnetSize: 0, dataPathPort: 0, forceNewCluster: false },
};

/** What a node begins with. */
interface Beginning {
  readonly state: NodeState;
  /** A manager's; on the disk it may lie sealed already. */
  readonly managerKey: SealingKey | undefined;
}

export interface SwarmNodeOptions {
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly machine: NodeMachine;
  readonly logs: TaskLogSource;
  readonly inspection: NetworkInspection;
}

/** This node's part in a swarm, over the daemon's life: from none to a manager and back. One change at a time. */
export class SwarmNode implements SwarmMembership, AsyncDisposable {
  readonly #machine: NodeMachine;
  readonly #logs: TaskLogSource;
  readonly #inspection: NetworkInspection;
  readonly #files: NodeFiles;
  readonly #mutex = new KeyedMutex();
  readonly #operator: ClusterOperator;
  readonly #dataRoot: string;
  readonly #listeners = new Set<(event: ClusterEvent) => void>();
  #state: SwarmState = 'inactive';
  #error = '';
  /** Where the node was begun from; what is so now {@link #current} tells. */
  #known: NodeState | undefined;
  #node: RunningNode | undefined;

  private constructor(o: SwarmNodeOptions) {
    this.#machine = o.machine;
    this.#logs = o.logs;
    this.#inspection = o.inspection;
    const state = new NodeStateFile(o.dataRoot);
    this.#files = {
      state,
      certificates: new CertificateFiles(join(state.directory, 'certificates')),
      keyPath: join(state.directory, 'manager.key'),
      etcdMemory: join(o.execRoot, 'etcd'),
    };
    this.#dataRoot = o.dataRoot;
    this.#operator = new SwarmOperator({
      ...{ dataRoot: o.dataRoot, ...o.machine },
      isInSwarm: () => this.#state !== 'inactive',
      node: () => this.#node,
      checkControl: () => void this.control(),
      recover: () => this.init({ ...NOTHING_ASKED, forceNewCluster: true }),
    });
  }

  /** Goes on where the daemon before this one was. What keeps it from that is said by {@link info}, and keeps no container from running. */
  static async start(o: SwarmNodeOptions): Promise<SwarmNode> {
    const node = new SwarmNode(o);
    const state = node.#files.state.read();
    if (state !== undefined) await node.#resume(state);
    return node;
  }

  get state(): SwarmState {
    return this.#state;
  }

  get #current(): NodeState | undefined {
    return this.#node?.state ?? this.#known;
  }

  get nodeId(): string {
    return this.#known?.nodeId ?? '';
  }

  get nodeAddress(): string {
    return this.#known === undefined ? '' : parseAddress(this.#known.advertiseAddress).host;
  }

  info(): SwarmInfo {
    const manager = this.#node?.manager;
    const refusal = this.#node?.refusal ?? '';
    const view = manager?.view;
    const managers = [...(view?.all('node') ?? [])].flatMap(({ ID, ManagerStatus }) =>
      ManagerStatus === undefined ? [] : [{ nodeId: ID, address: ManagerStatus.Addr }],
    );
    const known = (this.#current?.managers ?? []).map((address) => ({ nodeId: '', address }));
    return {
      // a node that was removed is none of the cluster any more, whatever it runs
      state: refusal !== '' && manager === undefined ? 'error' : this.#state,
      nodeId: this.nodeId,
      nodeAddress: this.nodeAddress,
      controlAvailable: manager !== undefined,
      error: this.#error || (manager?.error ?? refusal),
      managers: manager === undefined ? known : managers,
    };
  }

  control(): ClusterControl {
    if (this.#state === 'locked') throw lockedSwarm();
    if (this.#state === 'inactive' || this.#node === undefined) throw notAManager();
    const { manager } = this.#node;
    if (manager === undefined) throw this.#current?.store === 'none' ? onAWorker() : notAManager();
    return manager.control;
  }

  async init(request: SwarmInitRequest): Promise<string> {
    return await this.#mutex.run('membership', async () => {
      const current = this.#current;
      if (request.forceNewCluster && current !== undefined) return await this.#goOnAlone(current);
      if (this.#state !== 'inactive') throw alreadyInASwarm();
      const { state, ...keys } = await this.#found(request);
      await this.#run(state, keys);
      await this.#node?.manager?.ready(AbortSignal.timeout(CHANGE_LIMIT_MS));
      return state.nodeId;
    });
  }

  operator(): ClusterOperator {
    return this.#operator;
  }

  async restore({ content, ...request }: RestoreRequest): Promise<RestoredCluster> {
    return await this.#mutex.run('membership', async () => {
      if (this.#state !== 'inactive') throw alreadyInASwarm();
      const { clock, random } = this.#machine;
      const isOwn = (name: string): boolean => this.#machine.isOwnInterface(name);
      const addresses = await resolveAddresses(request, { isOwn });
      const place = { directory: this.#dataRoot, id: random.id() };
      const { state, managerKey, count } = await withReceived(content, place, (file) =>
        restoreCluster({ ...{ files: this.#files, clock, random, file, addresses }, key: request.key }),
      );
      await this.#run(state, { managerKey });
      await this.#node?.manager?.ready(AbortSignal.timeout(CHANGE_LIMIT_MS));
      return { nodeId: state.nodeId, clusterId: state.clusterId, count };
    });
  }

  async join(request: SwarmJoinRequest): Promise<void> {
    await this.#mutex.run('membership', async () => {
      if (this.#state !== 'inactive') throw alreadyInASwarm();
      const { state, ...keys } = await this.#letIn(request);
      await this.#run(state, keys);
      await this.#untilTakingPart(state, request);
    });
  }

  async leave({ force }: { force: boolean }): Promise<void> {
    await this.#mutex.run('membership', async () => {
      if (this.#state === 'inactive') throw notInASwarm();
      if (!force && this.#state === 'locked') throw leavesLocked();
      if (!force && this.#node?.manager !== undefined)
        throw managerLeaves(this.#node.manager.managers().length);
      if (this.#node !== undefined) await this.#node.leave();
      else if (this.#known !== undefined) await leaveUnstarted(this.#machine, this.#files, this.#known);
      this.#node = undefined;
      this.#files.state.remove();
      this.#known = undefined;
      this.#set('inactive');
    });
  }

  async unlock(key: string): Promise<void> {
    await this.#mutex.run('membership', async () => {
      const state = this.#known;
      const kept = readKeyFile(this.#files.keyPath);
      if (this.#state !== 'locked' || state === undefined || kept === undefined || !('sealed' in kept))
        throw conflict('swarm is not locked');
      await this.#resume(state, opened(kept.sealed, key));
    });
  }

  async unlockKey(): Promise<string> {
    this.control();
    const unlockKey = this.#node?.manager?.unlockKey;
    return unlockKey === undefined ? '' : formatUnlockKey(unlockKey);
  }

  async attachableNetwork(reference: string): Promise<ClusterNetworkRecord | undefined> {
    try {
      return await this.#machine.attachments.network(reference);
    } catch (error) {
      if (kindOf(error) === 'internal') throw error;
      return undefined;
    }
  }

  logs(request: TaskLogRequest): AsyncIterable<TaskLogRecord> {
    this.control();
    const node = this.#node;
    const manager = node?.manager;
    if (node === undefined || manager === undefined) throw notAManager();
    const { view, listen } = { view: manager.view, listen: manager.listen.bind(manager) };
    return readTaskLogs({ view, listen, transport: node.transport, request });
  }

  subscribe(listener: (event: ClusterEvent) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mutex.run('membership', async () => {
      await this.#node?.[Symbol.asyncDispose]();
      this.#node = undefined;
    });
  }

  #set(state: SwarmState, error = ''): void {
    this.#state = state;
    this.#error = error;
  }

  /** `key` is the managers', where the swarm was locked. */
  async #resume(state: NodeState, key?: SealingKey): Promise<void> {
    this.#known = state;
    try {
      const isSealed = key === undefined && 'sealed' in (readKeyFile(this.#files.keyPath) ?? {});
      // a worker that has no manager's certificate yet gets the key once more
      const isNeeded = state.store !== 'none' || this.#files.certificates.isSealed;
      if (isSealed && isNeeded) return this.#set('locked');
      await this.#run(state, { managerKey: key });
    } catch (error) {
      this.#set('error', messageOf(error));
      this.#machine.report('this node does not take part in its swarm', { error: messageOf(error) });
    }
  }

  async #run(state: NodeState, o: { forceNew?: boolean; managerKey: SealingKey | undefined }): Promise<void> {
    this.#known = state;
    this.#set('pending');
    const node = await RunningNode.start({
      machine: this.#machine,
      files: this.#files,
      state,
      ...o,
      onChange: (changes) => this.#announce(changes),
    });
    serveTaskLogs(node.transport, this.#logs);
    serveInspection(node.transport, this.#inspection);
    serveFigures(node.transport, () => node.manager?.figures ?? []);
    this.#node = node;
    this.#set('active');
  }

  #announce(changes: Parameters<typeof clusterEventsOf>[0]): void {
    for (const event of clusterEventsOf(changes)) for (const listener of this.#listeners) listener(event);
  }

  /** Makes a cluster of one: its CA, its keys, its store with this node in it. */
  async #found(request: SwarmInitRequest): Promise<Beginning> {
    const { clock, random } = this.#machine;
    const isOwn = (name: string): boolean => this.#machine.isOwnInterface(name);
    const addresses = await resolveAddresses(request, { isOwn });
    const clusterId = random.id();
    const nodeId = random.id();
    const ingressId = random.id();
    const root = await createRoot(clusterId, clock.nowMs());
    const key = createSealingKey();
    const unlockKey = createSealingKey();
    const now = new Date(clock.nowMs()).toISOString();
    const tokens = { Worker: createJoinToken(root.certificate), Manager: createJoinToken(root.certificate) };
    const writes = firstSwarm({
      ...request,
      ...{ id: clusterId, ingressId, now, rootCertificate: root.certificate, joinTokens: tokens },
      sealedRootKey: seal(Buffer.from(root.key), key, ROOT_KEY_PURPOSE),
      sealedUnlockKey: sealKey(unlockKey, key),
    });
    const authority = createAuthority({ clusterId, root, lifeMs: DEFAULT_LIFE_MS, clock });
    const { host } = parseAddress(addresses.advertiseAddress);
    const own = await createRequest();
    const issued = await authority.issue(own.csr, nodeId, 'manager', [host]);
    const node: NodeRecord = {
      ID: nodeId,
      CreatedAt: now,
      UpdatedAt: now,
      Spec: { Role: 'manager', Availability: request.availability, Labels: {} },
      Status: { State: 'unknown', Addr: addresses.dataPathAddress, since: now },
      ManagerStatus: { Addr: addresses.advertiseAddress },
      address: addresses.advertiseAddress,
    };
    // what a try before this one left is nobody's
    this.#files.state.remove();
    this.#files.certificates.write({ key: own.key, ...issued }, key);
    const isLocked = request.spec.EncryptionConfig?.AutoLockManagers === true;
    writeKeyFile(this.#files.keyPath, key, isLocked ? unlockKey : undefined);
    using store = new SqliteStore(join(this.#files.state.directory, 'store.db'), { clock });
    await store.commit(transactionOf(new ClusterView(), [...writes, { table: 'node', put: node }]));
    const state = this.#keep({ nodeId, clusterId, ...addresses, managers: [], store: 'sqlite' });
    return { state, managerKey: key };
  }

  /** Shows the token to a manager, and keeps the certificate that it gives. */
  async #letIn(request: SwarmJoinRequest): Promise<Beginning> {
    const { caDigest } = parseJoinToken(request.joinToken);
    const remotes = request.remoteAddresses.map(remoteAddress);
    let failure: unknown = unavailable('no manager to join at was named');
    for (const address of remotes) {
      try {
        const addresses = await resolveAddresses(request, { towards: address, isOwn: () => false });
        const answer = await this.#askIn(request, { address, caDigest, own: addresses.advertiseAddress });
        const { nodeId, clusterId, managers } = answer;
        const known = [...new Set([...managers, address])];
        const state = this.#keep({ nodeId, clusterId, ...addresses, managers: known, store: 'none' });
        return { state, managerKey: keysOf(answer)?.key };
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async #askIn(
    request: SwarmJoinRequest & AskedAddresses,
    o: { address: string; caDigest: string; own: string },
  ): Promise<CertificateAnswer> {
    const { clock } = this.#machine;
    const signal = AbortSignal.timeout(CHANGE_LIMIT_MS);
    const { key, csr } = await createRequest();
    const channel = await openJoinChannel({ address: o.address, caDigest: o.caDigest, clock, signal });
    const answer = await requestJoin(channel, {
      ...{ token: request.joinToken, csr, hostname: hostname(), address: o.own },
      canManage: await hasEtcd(),
    });
    const credentials = credentialsOf(answer, key, clock.nowMs());
    this.#files.state.remove();
    const keys = keysOf(answer);
    if (keys !== undefined) writeKeyFile(this.#files.keyPath, keys.key, keys.unlockKey);
    this.#files.certificates.write(credentials, keys?.key);
    return answer;
  }

  #keep(state: Omit<NodeState, 'version'>): NodeState {
    const kept = { version: 1, ...state } as const;
    this.#files.state.write(kept);
    return kept;
  }

  /** A node is in when it has heard of the leader; a manager when it has the store too. */
  async #untilTakingPart(state: NodeState, request: SwarmJoinRequest): Promise<void> {
    const { clock } = this.#machine;
    const wantsToManage = readKeyFile(this.#files.keyPath) !== undefined;
    const signal = AbortSignal.timeout(wantsToManage ? CHANGE_LIMIT_MS : JOIN_LIMIT_MS);
    try {
      if (wantsToManage) await this.#node?.manageAsJoined(signal);
      if (request.availability !== 'active') this.#machine.report('availability is set by a manager', {});
      while (this.#node?.hasHeardLeader === false) await clock.sleep(20, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
      throw unavailable(
        `Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the "docker info" command to see the current swarm status of your node ${state.nodeId}.`,
      );
    }
  }

  #manager(): ManagerRole | undefined {
    return this.#node?.manager;
  }

  /** The others are lost: this manager's store becomes the cluster's only one, and they are managers no more. */
  async #goOnAlone(state: NodeState): Promise<string> {
    if (this.#state === 'locked') throw lockedSwarm();
    if (state.store === 'none') throw onAWorker();
    const key = this.#node?.managerKey;
    await this.#node?.[Symbol.asyncDispose]();
    this.#node = undefined;
    const alone = this.#keep({ ...state, managers: [state.advertiseAddress] });
    await this.#run(alone, { forceNew: true, managerKey: key });
    const manager = this.#manager();
    if (manager === undefined) throw notAManager();
    await manager.ready(AbortSignal.timeout(CHANGE_LIMIT_MS));
    // before that the lease of the leader that was lost has to end
    const limit = AbortSignal.timeout(CHANGE_LIMIT_MS);
    while (manager.leader?.nodeId !== state.nodeId) await this.#machine.clock.sleep(50, limit);
    await manager.write(() => withoutOtherManagers(manager.view, state.nodeId));
    const fenced = new Set(withoutFences(manager.view).map(({ put }) => put.ID));
    while (fenced.size > 0) {
      const next = new Set([...fenced].slice(0, MOST_WRITES));
      await manager.write(() => withoutFences(manager.view).filter(({ put }) => next.has(put.ID)));
      for (const id of next) fenced.delete(id);
    }
    return state.nodeId;
  }
}

/** The managers' key, sealed on this node's disk with the unlock key that somebody gives. */
function opened(sealed: string, unlockKey: string): SealingKey {
  try {
    return unsealKey(sealed, [parseUnlockKey(unlockKey)]);
  } catch (cause) {
    const kind = kindOf(cause);
    if (kind !== 'invalid' && kind !== 'forbidden') throw cause;
    throw wrongKey(cause);
  }
}

/** Docker's words. */
function wrongKey(cause: unknown): Error {
  return new DroverError('unauthorized', 'swarm could not be unlocked: invalid key provided', { cause });
}

function managerLeaves(managers: number): Error {
  const message =
    managers === 1
      ? 'You are attempting to leave the swarm on a node that is participating as a manager. Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message.'
      : `You are attempting to leave the swarm on a node that is participating as a manager. Removing this node leaves ${managers - 1} managers out of ${managers}. Use \`--force\` to leave all the same, or demote it first.`;
  return unavailable(message);
}
