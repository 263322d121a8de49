import type { CloudView, NodeView } from '#cloud/cloud-view.ts';
import { waitFor } from '#cloud/waiting.ts';
import { unavailable } from '#model/errors.ts';
import { ApiClient } from './api-client.ts';

const LISTEN = '0.0.0.0:2377';
const SWARM_PORT = 2377;
const JOIN_LIMIT_MS = 120_000;

/**
 * Makes one swarm of a cloud's nodes through Docker's API: the first is its first manager, the others join by the tokens. Nodes that
 * are members already stay. `unavailable` where a daemon refuses; what has joined until then stays joined.
 */
export async function joinSwarm(cloud: CloudView): Promise<void> {
  const [first, ...others] = cloud.nodes;
  if (first === undefined) return;
  try {
    const client = clientOf(first);
    if ((await localState(first)) === 'inactive')
      await client.call('POST', '/swarm/init', { ListenAddr: LISTEN, AdvertiseAddr: first.address });
    const { JoinTokens: tokens } = await client.call<{ JoinTokens: { Manager: string; Worker: string } }>(
      'GET',
      '/swarm',
    );
    const join = async (node: NodeView): Promise<void> => {
      // `pending` is one that an earlier call has asked
      if ((await localState(node)) === 'inactive')
        await clientOf(node).call('POST', '/swarm/join', {
          ListenAddr: LISTEN,
          AdvertiseAddr: node.address,
          RemoteAddrs: [`${first.address}:${SWARM_PORT}`],
          JoinToken: node.role === 'manager' ? tokens.Manager : tokens.Worker,
        });
      const limit = { what: `${node.name} is a member of the swarm`, limitMs: JOIN_LIMIT_MS };
      await waitFor(async () => ((await localState(node)) === 'active' ? true : undefined), limit);
    };
    // One after the other: each manager changes what the managers have to agree on.
    for (const node of others.filter(({ role }) => role === 'manager')) await join(node);
    await Promise.all(others.filter(({ role }) => role === 'worker').map(join));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw unavailable(`the nodes of ${cloud.name} run, but make no swarm: ${reason}`, {
      cause,
      hint: `With --no-swarm they stay apart; drover cloud down ${cloud.name} takes them away.`,
    });
  }
}

/** `inactive`, `pending`, `active`, `locked` or `error`: whether a node is a member of a swarm. */
async function localState(node: NodeView): Promise<string> {
  const { Swarm } = await clientOf(node).call<{ Swarm: { LocalNodeState: string } }>('GET', '/info');
  return Swarm.LocalNodeState;
}

function clientOf({ socket }: NodeView): ApiClient {
  return new ApiClient(`unix://${socket}`);
}
