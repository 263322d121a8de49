import type { ClusterControl } from '#cluster/control/cluster-control.ts';
import type { ClusterEvent } from '#cluster/control/cluster-events.ts';
import type { ClusterOperator, RestoredCluster, RestoreRequest } from '#cluster/control/cluster-operator.ts';
import { InactiveSwarm } from '#cluster/control/inactive-swarm.ts';
import type {
  SwarmInfo,
  SwarmInitRequest,
  SwarmJoinRequest,
  SwarmMembership,
  SwarmState,
  TaskLogRecord,
  TaskLogRequest,
} from '#cluster/control/swarm-membership.ts';
import type { ClusterNetworkRecord } from '#model/cluster-network.ts';
import { NodeStateFile } from './node-state.ts';

/** Opens the real one; what it consists of is registered for closing. */
type Load = (parts: AsyncDisposableStack) => Promise<SwarmMembership>;

/** A node's part in a swarm that is loaded when there is one: a daemon outside of any does not pay for it. */
export class LazySwarm implements SwarmMembership, AsyncDisposable {
  readonly #load: Load;
  readonly #parts = new AsyncDisposableStack();
  readonly #listeners = new Set<(event: ClusterEvent) => void>();
  #loading: Promise<SwarmMembership> | undefined;
  #current: SwarmMembership = new InactiveSwarm();

  private constructor(load: Load) {
    this.#load = load;
  }

  /** Loads at once where the data root says that the node is in a swarm. */
  static async start(o: { dataRoot: string; load: Load }): Promise<LazySwarm> {
    const swarm = new LazySwarm(o.load);
    if (new NodeStateFile(o.dataRoot).isThere()) await swarm.#loaded();
    return swarm;
  }

  get state(): SwarmState {
    return this.#current.state;
  }

  get nodeId(): string {
    return this.#current.nodeId;
  }

  get nodeAddress(): string {
    return this.#current.nodeAddress;
  }

  info(): SwarmInfo {
    return this.#current.info();
  }

  control(): ClusterControl {
    return this.#current.control();
  }

  operator(): ClusterOperator {
    return this.#current.operator();
  }

  async restore(request: RestoreRequest): Promise<RestoredCluster> {
    return await (await this.#loaded()).restore(request);
  }

  async init(request: SwarmInitRequest): Promise<string> {
    return await (await this.#loaded()).init(request);
  }

  async join(request: SwarmJoinRequest): Promise<void> {
    await (await this.#loaded()).join(request);
  }

  leave(o: { force: boolean }): Promise<void> {
    return this.#current.leave(o);
  }

  unlock(key: string): Promise<void> {
    return this.#current.unlock(key);
  }

  unlockKey(): Promise<string> {
    return this.#current.unlockKey();
  }

  attachableNetwork(reference: string): Promise<ClusterNetworkRecord | undefined> {
    return this.#current.attachableNetwork(reference);
  }

  logs(request: TaskLogRequest): AsyncIterable<TaskLogRecord> {
    return this.#current.logs(request);
  }

  subscribe(listener: (event: ClusterEvent) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loading;
    await this.#parts.disposeAsync();
  }

  #loaded(): Promise<SwarmMembership> {
    this.#loading ??= this.#load(this.#parts).then((membership) => {
      this.#current = membership;
      membership.subscribe((event) => {
        for (const listener of this.#listeners) listener(event);
      });
      return membership;
    });
    return this.#loading;
  }
}
