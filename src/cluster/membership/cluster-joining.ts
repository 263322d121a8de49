import { hostname } from 'node:os';
import { createRequest } from '#cluster/ca/certificate-request.ts';
import { type CertificateAnswer, credentialsOf, requestJoin } from '#cluster/ca/join-protocol.ts';
import { parseJoinToken } from '#cluster/ca/join-token.ts';
import { readKeyFile, writeKeyFile } from '#cluster/ca/key-file.ts';
import type { SwarmJoinRequest } from '#cluster/control/swarm-membership.ts';
import { hasEtcd } from '#cluster/store/etcd-program.ts';
import { openJoinChannel } from '#cluster/transport/join-connection.ts';
import { unavailable } from '#model/errors.ts';
import { type AskedAddresses, remoteAddress, resolveAddresses } from './advertised-address.ts';
import { keysOf } from './manager-key.ts';
import type { Beginning, NodeFiles, NodeMachine } from './node-machine.ts';
import type { NodeState } from './node-state.ts';
import type { RunningNode } from './running-node.ts';

/** How long a node may take to be let in, and a manager to be one. */
const MANAGER_LIMIT_MS = 120_000;
/** How long a worker may take to be heard of by its managers before the join is called done all the same. */
const WORKER_LIMIT_MS = 20_000;

interface JoiningNode {
  readonly machine: NodeMachine;
  readonly files: NodeFiles;
}

/** Shows the token to a manager, and keeps the certificate that it gives. */
export async function joinCluster(request: SwarmJoinRequest, node: JoiningNode): Promise<Beginning> {
  const { caDigest } = parseJoinToken(request.joinToken);
  const remotes = request.remoteAddresses.map(remoteAddress);
  let failure: unknown = unavailable('no manager to join at was named');
  for (const address of remotes) {
    try {
      const addresses = await resolveAddresses(request, { towards: address, isOwn: () => false });
      const answer = await askIn(request, node, { address, caDigest, own: addresses.advertiseAddress });
      const { nodeId, clusterId, managers } = answer;
      const state: NodeState = {
        ...{ version: 1, nodeId, clusterId, ...addresses },
        ...{ managers: [...new Set([...managers, address])], store: 'none' },
      };
      node.files.state.write(state);
      return { state, managerKey: keysOf(answer)?.key };
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

async function askIn(
  request: SwarmJoinRequest & AskedAddresses,
  { machine: { clock }, files }: JoiningNode,
  o: { address: string; caDigest: string; own: string },
): Promise<CertificateAnswer> {
  const signal = AbortSignal.timeout(MANAGER_LIMIT_MS);
  const { key, csr } = await createRequest();
  const channel = await openJoinChannel({ address: o.address, caDigest: o.caDigest, clock, signal });
  const answer = await requestJoin(channel, {
    ...{ token: request.joinToken, csr, hostname: hostname(), address: o.own },
    canManage: await hasEtcd(),
  });
  const credentials = credentialsOf(answer, key, clock.nowMs());
  files.state.remove();
  const keys = keysOf(answer);
  if (keys !== undefined) writeKeyFile(files.keyPath, keys.key, keys.unlockKey);
  files.certificates.write(credentials, keys?.key);
  return answer;
}

/** A node is in when it has heard of the leader; a manager when it has the store too. `unavailable` where that takes too long. */
export async function untilTakingPart(node: RunningNode, { machine, files }: JoiningNode): Promise<void> {
  const wantsToManage = readKeyFile(files.keyPath) !== undefined;
  const signal = AbortSignal.timeout(wantsToManage ? MANAGER_LIMIT_MS : WORKER_LIMIT_MS);
  try {
    if (wantsToManage) await node.manageAsJoined(signal);
    while (!node.hasHeardLeader) await machine.clock.sleep(20, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw unavailable(
      `Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the "docker info" command to see the current swarm status of your node ${node.state.nodeId}.`,
    );
  }
}
