import { createReadStream, createWriteStream, mkdirSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createRequest } from '#cluster/ca/certificate-request.ts';
import { writeKeyFile } from '#cluster/ca/key-file.ts';
import { parseUnlockKey, type SealingKey, sealedWith } from '#cluster/ca/sealing.ts';
import type { BackupContent } from '#cluster/control/cluster-operator.ts';
import { ClusterView } from '#cluster/state/cluster-view.ts';
import { transactionOf } from '#cluster/state/record-transaction.ts';
import type { Write } from '#cluster/state/tables.ts';
import { SqliteStore } from '#cluster/store/sqlite-store.ts';
import type { Store } from '#cluster/store/store.ts';
import { restoreBackup, writeBackup } from '#cluster/store/store-backup.ts';
import { parseAddress } from '#cluster/transport/address.ts';
import type { Clock } from '#control/clock.ts';
import type { Random } from '#control/random.ts';
import { conflict, forbidden, invalid } from '#model/errors.ts';
import type { NodeRecord } from '#model/node.ts';
import type { SwarmRecord } from '#model/swarm.ts';
import { isTerminal, type TaskRecord } from '#model/task.ts';
import type { Addresses } from './advertised-address.ts';
import { authorityOf } from './cluster-authority.ts';
import { unlockKeyOf } from './manager-key.ts';
import type { NodeFiles } from './node-machine.ts';
import type { NodeState } from './node-state.ts';

/** One commit takes so many records. */
export const MOST_WRITES = 1000;

/** Saves a store into a file of `directory` (0600), which goes when its content was read. */
export async function readBackup(store: Store, directory: string, id: string): Promise<BackupContent> {
  const file = join(directory, `backup-${id}.partial`);
  const header = await writeBackup(store, file);
  return { ...header, bytes: statSync(file).size, content: contentOf(file) };
}

async function* contentOf(file: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of createReadStream(file)) if (Buffer.isBuffer(chunk)) yield chunk;
  } finally {
    await rm(file, { force: true });
  }
}

/** Keeps a backup in a file of `directory` (0600) while `work` reads it. */
export async function withReceived<T>(
  content: AsyncIterable<Uint8Array>,
  o: { directory: string; id: string },
  work: (file: string) => Promise<T>,
): Promise<T> {
  const file = join(o.directory, `restore-${o.id}.partial`);
  try {
    await pipeline(content, createWriteStream(file, { mode: 0o600, flags: 'wx' }));
    return await work(file);
  } finally {
    await rm(file, { force: true });
  }
}

/**
 * Makes this machine the one manager of the cluster that a backup is of: a node of its own, with the cluster's CA, on a store that has all the
 * backup has. Who managed before is a worker by its record; nodes at this one's address go, for it is taken. Nothing stays of a try that
 * fails. `forbidden` for a key that does not fit.
 */
export async function restoreCluster(o: {
  readonly files: NodeFiles;
  readonly clock: Clock;
  readonly random: Random;
  /** The backup. */
  readonly file: string;
  readonly key: string;
  readonly addresses: Addresses;
}): Promise<{ state: NodeState; managerKey: SealingKey; count: number }> {
  const key = parseUnlockKey(o.key);
  const { directory } = o.files.state;
  // what a try before this one left is nobody's
  o.files.state.remove();
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    using store = new SqliteStore(join(directory, 'store.db'), { clock: o.clock });
    const { count } = await restoreBackup(o.file, store);
    const state = await takeOver(o, store, key);
    o.files.state.write(state);
    return { state, managerKey: key, count };
  } catch (error) {
    o.files.state.remove();
    throw error;
  }
}

async function takeOver(
  o: Parameters<typeof restoreCluster>[0],
  store: SqliteStore,
  key: SealingKey,
): Promise<NodeState> {
  const view = new ClusterView();
  view.replace(await store.list(''));
  const [swarm] = view.all('swarm');
  if (swarm === undefined) throw invalid('the backup has no cluster in it');
  const nodeId = o.random.id();
  const { advertiseAddress } = o.addresses;
  const own = await createRequest();
  checkKey(view, swarm, key);
  const authority = authorityOf(swarm, { key, clock: o.clock, credentials: () => undefined });
  writeKeyFile(o.files.keyPath, key, unlockKeyOf(swarm, key));
  const { host } = parseAddress(advertiseAddress);
  const issued = await authority.issue(own.csr, nodeId, 'manager', [host]);
  o.files.certificates.write({ key: own.key, ...issued }, key);
  const now = new Date(o.clock.nowMs()).toISOString();
  const write = async (writes: readonly Write[]): Promise<void> => {
    const done = await store.commit(transactionOf(view, writes));
    if (!done.committed) throw conflict('the store was changed while the backup was restored');
  };
  await write([...withoutOtherManagers(view, nodeId, advertiseAddress), ownNode(o, nodeId, now)]);
  const unfenced = withoutFences(view);
  while (unfenced.length > 0) await write(unfenced.splice(0, MOST_WRITES));
  return {
    version: 1,
    nodeId,
    clusterId: swarm.ID,
    ...o.addresses,
    managers: [advertiseAddress],
    store: 'sqlite',
  };
}

function ownNode({ addresses }: { addresses: Addresses }, ID: string, now: string): Write {
  const { advertiseAddress, dataPathAddress } = addresses;
  const put: NodeRecord = {
    ...{ ID, CreatedAt: now, UpdatedAt: now, address: advertiseAddress },
    Spec: { Role: 'manager', Availability: 'active', Labels: {} },
    Status: { State: 'unknown', Addr: dataPathAddress, since: now },
    ManagerStatus: { Addr: advertiseAddress },
  };
  return { table: 'node', put };
}

/** By whatever in the backup is sealed: where an external CA signs, the CA's key is not in it. */
function checkKey(view: ClusterView, swarm: SwarmRecord, key: SealingKey): void {
  const { sealedRootKey, sealedUnlockKey = '', networkKeys = [] } = swarm;
  const sealed = [...networkKeys, ...view.all('secret')].map((each) => each.sealed);
  const texts = [sealedRootKey, sealedUnlockKey, ...sealed];
  if (texts.every((text) => text === '' || sealedWith(text) === key.id)) return;
  throw forbidden('the key does not fit this backup', {
    hint: 'It is the one that `drover cluster key` showed when the backup was made.',
  });
}

/**
 * What an older state of the store says of fences may not be so any more: nodes were told otherwise since. They say again what they end
 * by themselves when they come.
 */
export function withoutFences(view: ClusterView): { readonly table: 'task'; readonly put: TaskRecord }[] {
  return [...view.all('task')].flatMap(({ fenced, ...put }) =>
    fenced === undefined || isTerminal(put.Status.State) ? [] : [{ table: 'task' as const, put }],
  );
}

/**
 * Nodes that managed before become workers: a manager that comes back finds that it is none any more. Records at `takenAddress` go: a
 * machine has one node.
 */
export function withoutOtherManagers(view: ClusterView, nodeId: string, takenAddress?: string): Write[] {
  return [...view.all('node')].flatMap(({ ManagerStatus, ...node }): Write[] => {
    if (node.ID === nodeId) return [];
    if (node.address === takenAddress) return [{ table: 'node', delete: node.ID }];
    if (ManagerStatus === undefined && node.Spec.Role === 'worker') return [];
    return [{ table: 'node', put: { ...node, Spec: { ...node.Spec, Role: 'worker' } } }];
  });
}
