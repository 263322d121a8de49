import { formatUnlockKey } from '#cluster/ca/sealing.ts';
import type {
  BackupContent,
  ClusterOperator,
  ClusterStatus,
  CompactedMember,
  NetworkReasons,
  NodeNetworkCheck,
  ServiceExplanation,
} from '#cluster/control/cluster-operator.ts';
import { notAManager, notInASwarm } from '#cluster/control/control-errors.ts';
import { LEADER_KEY } from '#cluster/state/cluster-view.ts';
import type { Store } from '#cluster/store/store.ts';
import type { Clock } from '#control/clock.ts';
import type { Random } from '#control/random.ts';
import { conflict, kindOf } from '#model/errors.ts';
import { readBackup } from './cluster-backup.ts';
import { askFigures, membersOf, servicesInChange, waitingTasks } from './cluster-status.ts';
import type { ManagerRole } from './manager-role.ts';
import type { ManagerStore } from './manager-store.ts';
import { askWhy, checkNetworks } from './network-inspection.ts';
import type { RunningNode } from './running-node.ts';
import { explainService } from './service-explanation.ts';

/** How long the store may take to answer that counts as one with a quorum. */
const QUORUM_LIMIT_MS = 4000;

export interface SwarmOperatorOptions {
  readonly dataRoot: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly report: (message: string, details: object) => void;
  readonly node: () => RunningNode | undefined;
  readonly isInSwarm: () => boolean;
  /** Throws where this is no manager that can be asked. */
  readonly checkControl: () => void;
  readonly recover: () => Promise<string>;
}

/** What an operator asks of the cluster that this node manages. */
export class SwarmOperator implements ClusterOperator {
  readonly #o: SwarmOperatorOptions;

  constructor(o: SwarmOperatorOptions) {
    this.#o = o;
  }

  async recover({ force }: { force: boolean }): Promise<string> {
    if (!this.#o.isInSwarm()) throw notInASwarm();
    const store = this.#o.node()?.store?.store;
    if (!force && store !== undefined && (await this.#answers(store)))
      throw conflict('the managers have their quorum: there is nothing to recover', {
        hint: 'With --force this manager goes on alone all the same, and the others are managers no more.',
      });
    return await this.#o.recover();
  }

  async backup(): Promise<BackupContent> {
    const { store } = this.#managing();
    return await readBackup(store.store, this.#o.dataRoot, this.#o.random.id());
  }

  async compact(): Promise<CompactedMember[]> {
    const { node, role, store } = this.#managing();
    const before = await membersOf(store, node.state.nodeId);
    await store.compact();
    const after = await membersOf(store, node.state.nodeId);
    return before.map(({ nodeId, bytes: bytesBefore }) => {
      const bytesAfter = after.find((member) => member.nodeId === nodeId)?.bytes;
      const name = role.view.get('node', nodeId)?.Description?.Hostname ?? nodeId;
      return { nodeId, name, bytesBefore, bytesAfter };
    });
  }

  managerKey(): string {
    const { managerKey } = this.#managing().node;
    if (managerKey === undefined) throw notAManager();
    return formatUnlockKey(managerKey);
  }

  async status(): Promise<ClusterStatus> {
    const { node, role, store } = this.#managing();
    const { view, leader } = role;
    const { nodeId, clusterId } = node.state;
    const asksLeader = leader !== undefined && leader.nodeId !== nodeId;
    const [members, controllers] = await Promise.all([
      membersOf(store, nodeId),
      asksLeader ? askFigures(node.transport, leader.address, this.#o.report) : role.figures,
    ]);
    return {
      ...{ clusterId, nodeId, leader: leader?.nodeId, nodes: [...view.all('node')] },
      store: { kind: store.kind, revision: view.revision, problem: role.error, members },
      ...{ controllers, waiting: waitingTasks(view), changing: servicesInChange(view) },
    };
  }

  explain(serviceReference: string): ServiceExplanation {
    return explainService(this.#managing().role.view, serviceReference);
  }

  async checkNetworks(o: { heal: boolean; signal: AbortSignal }): Promise<NodeNetworkCheck[]> {
    const { node, role } = this.#managing();
    return await checkNetworks({ ...o, view: role.view, transport: node.transport });
  }

  async whyUnreachable(o: { from: string; to: string; signal: AbortSignal }): Promise<NetworkReasons[]> {
    const { node, role } = this.#managing();
    return await askWhy({ ...o, view: role.view, transport: node.transport });
  }

  #managing(): { node: RunningNode; role: ManagerRole; store: ManagerStore } {
    this.#o.checkControl();
    const node = this.#o.node();
    const { manager: role, store } = node ?? {};
    if (node === undefined || role === undefined || store === undefined) throw notAManager();
    return { node, role, store };
  }

  /** Whether the store can be read, which without a quorum it cannot. */
  async #answers(store: Store): Promise<boolean> {
    const over = new AbortController();
    const late = this.#o.clock.sleep(QUORUM_LIMIT_MS, over.signal).then(
      () => false,
      () => false,
    );
    const read = store.get(LEADER_KEY).then(
      () => true,
      (error: unknown) => {
        if (kindOf(error) !== 'unavailable') throw error;
        return false;
      },
    );
    try {
      return await Promise.race([read, late]);
    } finally {
      over.abort();
    }
  }
}
