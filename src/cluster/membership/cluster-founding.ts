import { join } from 'node:path';
import { createRequest } from '#cluster/ca/certificate-request.ts';
import { createExternalAuthority } from '#cluster/ca/external-authority.ts';
import type { CertificateAuthority } from '#cluster/ca/join-handler.ts';
import { createJoinToken } from '#cluster/ca/join-token.ts';
import { writeKeyFile } from '#cluster/ca/key-file.ts';
import { createAuthority, DEFAULT_LIFE_MS } from '#cluster/ca/root-authority.ts';
import { checkedRoot, createRoot, type NextRoot } from '#cluster/ca/root-certificate.ts';
import { createSealingKey, seal, sealKey } from '#cluster/ca/sealing.ts';
import { checkedExternals, firstExternalRoot } from '#cluster/control/external-authorities.ts';
import type { SwarmInitRequest } from '#cluster/control/swarm-membership.ts';
import { firstSwarm } from '#cluster/control/swarm-spec.ts';
import { ClusterView } from '#cluster/state/cluster-view.ts';
import { transactionOf } from '#cluster/state/record-transaction.ts';
import { SqliteStore } from '#cluster/store/sqlite-store.ts';
import { parseAddress } from '#cluster/transport/address.ts';
import type { Clock } from '#control/clock.ts';
import type { NodeRecord } from '#model/node.ts';
import { resolveAddresses } from './advertised-address.ts';
import { ROOT_KEY_PURPOSE } from './cluster-authority.ts';
import type { Beginning, NodeFiles, NodeMachine } from './node-machine.ts';
import type { NodeState } from './node-state.ts';

/** Makes a cluster of one: its CA, where no external one signs, its keys, its store with this node in it. */
export async function foundCluster(
  request: SwarmInitRequest,
  { machine, files }: { readonly machine: NodeMachine; readonly files: NodeFiles },
): Promise<Beginning> {
  const { clock, random } = machine;
  const isOwn = (name: string): boolean => machine.isOwnInterface(name);
  const addresses = await resolveAddresses(request, { isOwn });
  const clusterId = random.id();
  const nodeId = random.id();
  const ingressId = random.id();
  const { root, authority } = await firstAuthority(request.spec, clusterId, clock);
  const key = createSealingKey();
  const unlockKey = createSealingKey();
  const now = new Date(clock.nowMs()).toISOString();
  const tokens = { Worker: createJoinToken(root.certificate), Manager: createJoinToken(root.certificate) };
  const writes = firstSwarm({
    ...request,
    ...{ id: clusterId, ingressId, now, rootCertificate: root.certificate, joinTokens: tokens },
    sealedRootKey: root.key === undefined ? '' : seal(Buffer.from(root.key), key, ROOT_KEY_PURPOSE),
    sealedUnlockKey: sealKey(unlockKey, key),
  });
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
  files.state.remove();
  files.certificates.write({ key: own.key, ...issued }, key);
  const isLocked = request.spec.EncryptionConfig?.AutoLockManagers === true;
  writeKeyFile(files.keyPath, key, isLocked ? unlockKey : undefined);
  using store = new SqliteStore(join(files.state.directory, 'store.db'), { clock });
  await store.commit(transactionOf(new ClusterView(), [...writes, { table: 'node', put: node }]));
  const state: NodeState = {
    ...{ version: 1, nodeId, clusterId, ...addresses },
    ...{ managers: [], store: 'sqlite' },
  };
  files.state.write(state);
  return { state, managerKey: key };
}

/** Who signs from the beginning on: the cluster with a root of its own, or external CAs, of whose root the key is never here. */
async function firstAuthority(
  spec: SwarmInitRequest['spec'],
  clusterId: string,
  clock: Clock,
): Promise<{ root: NextRoot; authority: CertificateAuthority }> {
  const externals = spec.CAConfig?.ExternalCAs ?? [];
  const given = firstExternalRoot(externals);
  if (given === undefined) {
    const root = await createRoot(clusterId, clock.nowMs());
    return { root, authority: createAuthority({ clusterId, root, lifeMs: DEFAULT_LIFE_MS, clock }) };
  }
  const root = checkedRoot({ certificate: given, key: undefined }, clock.nowMs());
  const { certificate: rootCertificate } = root;
  const urls = checkedExternals(externals, rootCertificate).map(({ URL: url = '' }) => url);
  const authority = { urls, rootCertificate, client: undefined };
  return { root, authority: createExternalAuthority({ clusterId, authority, clock }) };
}
