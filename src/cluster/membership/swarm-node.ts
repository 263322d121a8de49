import { readKeyFile } from '#cluster/ca/key-file.ts';
import { formatUnlockKey, type SealingKey } from '#cluster/ca/sealing.ts';
import type { ClusterControl } from '#cluster/control/cluster-control.ts';
import { type ClusterEvent, clusterEventsOf } from '#cluster/control/cluster-events.ts';
import type { ClusterOperator, RestoredCluster, RestoreRequest } from '#cluster/control/cluster-operator.ts';
import {
  alreadyInASwarm,
  leavesLocked,
  lockedSwarm,
  managerLeaves,
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
import { parseAddress } from '#cluster/transport/address.ts';
import { KeyedMutex } from '#control/keyed-mutex.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import { conflict, kindOf, messageOf } from '#model/errors.ts';
import { resolveAddresses } from './advertised-address.ts';
import { restoreCluster, withReceived } from './cluster-backup.ts';
import { foundCluster } from './cluster-founding.ts';
import { joinCluster, untilTakingPart } from './cluster-joining.ts';
import { serveFigures } from './cluster-status.ts';
import { openManagerKey } from './manager-key.ts';
import { type NetworkInspection, serveInspection } from './network-inspection.ts';
import { leaveUnstarted } from './node-leave.ts';
import { type NodeFiles, type NodeMachine, nodeFilesOf } from './node-machine.ts';
import type { NodeState } from './node-state.ts';
import { RunningNode } from './running-node.ts';
import { becomeSoleManager } from './sole-manager.ts';
import { SwarmOperator } from './swarm-operator.ts';
import { readTaskLogs, serveTaskLogs, type TaskLogSource } from './task-log-protocol.ts';

/** How long init, join and leave may take. */
const CHANGE_LIMIT_MS = 120_000;
/** Of an init that founds nothing. */
const NOTHING_ASKED: SwarmInitRequest = {
  ...{ listenAddress: '', advertiseAddress: '', dataPathAddress: '', availability: 'active' },
  ...{ spec: {}, defaultAddrPool: [], subnetSize: 0, dataPathPort: 0, forceNewCluster: false },
};

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
    this.#files = nodeFilesOf(o);
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
      const { state, ...keys } = await foundCluster(request, { machine: this.#machine, files: this.#files });
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
      const joining = { machine: this.#machine, files: this.#files };
      const { state, ...keys } = await joinCluster(request, joining);
      const node = await this.#run(state, keys);
      if (request.availability !== 'active') this.#machine.report('availability is set by a manager', {});
      await untilTakingPart(node, joining);
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
      await this.#resume(state, openManagerKey(kept.sealed, key));
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

  async #run(
    state: NodeState,
    o: { forceNew?: boolean; managerKey: SealingKey | undefined },
  ): Promise<RunningNode> {
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
    return node;
  }

  #announce(changes: Parameters<typeof clusterEventsOf>[0]): void {
    for (const event of clusterEventsOf(changes)) for (const listener of this.#listeners) listener(event);
  }

  /** The others are lost: this manager's store becomes the cluster's only one, and they are managers no more. */
  async #goOnAlone(state: NodeState): Promise<string> {
    if (this.#state === 'locked') throw lockedSwarm();
    if (state.store === 'none') throw onAWorker();
    const key = this.#node?.managerKey;
    await this.#node?.[Symbol.asyncDispose]();
    this.#node = undefined;
    const alone = { ...state, managers: [state.advertiseAddress] };
    this.#files.state.write(alone);
    const { manager } = await this.#run(alone, { forceNew: true, managerKey: key });
    if (manager === undefined) throw notAManager();
    const { clock } = this.#machine;
    await becomeSoleManager(manager, { nodeId: state.nodeId, clock, limitMs: CHANGE_LIMIT_MS });
    return state.nodeId;
  }
}
