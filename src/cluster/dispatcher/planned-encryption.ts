import { primaryKey } from '#cluster/controllers/network-keys.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import type { PlannedEncryption, PlannedNetwork, PlannedSecurePeer } from '#model/network-plan.ts';
import type { NodeRecord } from '#model/node.ts';
import type { NetworkKey } from '#model/swarm.ts';

/** 32 bytes of a key, base64. Throws where it cannot be opened. */
export type OpenNetworkKey = (key: NetworkKey) => string;

/** What a node may send by, as it says itself; empty for one that cannot encrypt. */
export function saltsOf(node: NodeRecord | undefined): readonly string[] {
  return node?.Description?.encryption?.salts ?? [];
}

/** What a node needs for its encrypted networks; undefined where it has none, or there are no keys yet. */
export function plannedEncryption(
  view: ClusterView,
  node: NodeRecord,
  networks: readonly PlannedNetwork[],
  { keys, openKey }: { keys: readonly NetworkKey[]; openKey: OpenNetworkKey },
): PlannedEncryption | undefined {
  const encrypted = networks.filter((network) => network.encrypted);
  const primary = primaryKey(keys);
  if (encrypted.length === 0 || primary === undefined) return undefined;
  const peers = new Map<string, PlannedSecurePeer>();
  for (const { nodeId, address } of encrypted.flatMap((network) => network.peers))
    peers.set(nodeId, { nodeId, address, salts: saltsOf(view.get('node', nodeId)) });
  return {
    keys: keys.map((key) => ({ id: key.id, key: openKey(key) })),
    primary: primary.id,
    salts: saltsOf(node),
    peers: [...peers.values()].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1)),
  };
}
