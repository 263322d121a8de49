import { join } from 'node:path';
import { type SealingKey, sealedWith } from '#cluster/ca/sealing.ts';
import { ClusterView } from '#cluster/state/cluster-view.ts';
import { SqliteStore } from '#cluster/store/sqlite-store.ts';
import { StoreRootFiles } from './store-root.ts';

/** Whether a key is the managers' of the store in `directory` (DATA/cluster), which is not open: what it has sealed names it. */
export async function opensStore(
  directory: string,
  kind: 'none' | 'sqlite' | 'etcd',
  key: SealingKey,
): Promise<boolean> {
  const opensRoot = new StoreRootFiles(directory).isOpenedBy(key);
  if (kind === 'etcd' && opensRoot !== undefined) return opensRoot;
  using store = new SqliteStore(join(directory, 'store.db'));
  const view = new ClusterView();
  view.replace(await store.list(''));
  const [swarm] = view.all('swarm');
  return swarm !== undefined && sealedWith(swarm.sealedRootKey) === key.id;
}
