import type { RecordStore } from '#engine/records/record-store.ts';
import type { NetworkPlan, PlannedNetwork } from '#model/network-plan.ts';

/** Under this key is the plan without its networks, which have records of their own. */
const NODE = 'node';
/** Of a node that is in no cluster. */
export const EMPTY_PLAN: NetworkPlan = {
  nodeId: '',
  dataPathAddress: '',
  dataPathPort: 0,
  networks: [],
  ports: [],
  ingressNetworkId: undefined,
};

/** The last plan of a node, a record a network: a change writes what has changed. */
export class PlanRecords {
  readonly #records: RecordStore;
  /** By key, as it is written. */
  readonly #written = new Map<string, string>();

  constructor(records: RecordStore) {
    this.#records = records;
  }

  load(): NetworkPlan {
    const node = this.#records.get<NetworkPlan>('network-plan', NODE);
    if (node === undefined) return EMPTY_PLAN;
    const networks = this.#records
      .list<PlannedNetwork | NetworkPlan>('network-plan')
      .filter((record) => 'vni' in record);
    const { nodeId, dataPathAddress, dataPathPort, ports, ingressNetworkId } = node;
    const plan = { nodeId, dataPathAddress, dataPathPort, ports, ingressNetworkId, networks };
    for (const [key, record] of recordsOf(plan)) this.#written.set(key, JSON.stringify(record));
    return plan;
  }

  save(plan: NetworkPlan): void {
    const records = recordsOf(plan);
    this.#records.transaction(() => {
      for (const key of [...this.#written.keys()]) if (!records.has(key)) this.#delete(key);
      for (const [key, record] of records) {
        const text = JSON.stringify(record);
        if (this.#written.get(key) === text) continue;
        this.#records.put('network-plan', key, record);
        this.#written.set(key, text);
      }
    });
  }

  #delete(key: string): void {
    this.#records.delete('network-plan', key);
    this.#written.delete(key);
  }
}

/** Keys are in memory and in the kernel alone: what a node has on its disk opens no network. */
function withoutKeys({ encryption: _encryption, ...plan }: NetworkPlan): NetworkPlan {
  return plan;
}

function recordsOf(plan: NetworkPlan): Map<string, PlannedNetwork | NetworkPlan> {
  return new Map<string, PlannedNetwork | NetworkPlan>([
    [NODE, { ...withoutKeys(plan), networks: [] }],
    ...plan.networks.map((network) => [network.id, network] as const),
  ]);
}
