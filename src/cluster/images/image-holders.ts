import { z } from 'zod';
import { firstMessage, parseMessage } from '#cluster/ca/join-protocol.ts';
import { askManager, type ManagerAccess } from '#cluster/transport/manager-question.ts';
import type { ChannelHandler } from '#cluster/transport/transport.ts';
import type { Random } from '#control/random.ts';
import { forbidden, unavailable } from '#model/errors.ts';
import type { NodeRecord } from '#model/node.ts';
import { imageKeys } from './image-keys.ts';

/** A node asks a manager which nodes have an image: one {@link HoldersRequest}, one answer. */
export const HOLDERS_METHOD = 'image-holders';

/** As many are named at once. */
const MOST_HOLDERS = 4;
/** A node that tried so many has done enough. */
export const MOST_TRIED = 16;

export interface HoldersRequest {
  readonly image: string;
  /** IDs of nodes that were tried already. */
  readonly except: readonly string[];
}

/** A node that has the image, as it said itself. */
export interface ImageHolder {
  readonly nodeId: string;
  readonly hostname: string;
  /** `host:port` where it answers. */
  readonly address: string;
}

const REQUEST: z.ZodType<HoldersRequest> = z.object({
  image: z.string().max(1024),
  except: z.array(z.string().max(64)).max(MOST_TRIED),
});

const ANSWER: z.ZodType<{ holders: ImageHolder[] }> = z.object({
  holders: z
    .array(
      z.object({
        nodeId: z.string().max(64),
        hostname: z.string().max(512),
        address: z.string().max(300),
      }),
    )
    .max(MOST_HOLDERS),
});

/** A few of the nodes that are there and have the image, in an order by chance, so that those who ask are spread over them. Pure. */
export function holdersOf(
  nodes: Iterable<NodeRecord>,
  o: HoldersRequest & { readonly random: Pick<Random, 'below'> },
): ImageHolder[] {
  const keys = imageKeys(o.image);
  const has = ({ Description }: NodeRecord): boolean =>
    Description?.images?.some((name) => keys.includes(name)) === true;
  const all = [...nodes].filter(
    (node) => node.Status.State === 'ready' && !o.except.includes(node.ID) && has(node),
  );
  const chosen: ImageHolder[] = [];
  while (chosen.length < MOST_HOLDERS) {
    const [node] = all.splice(o.random.below(Math.max(1, all.length)), 1);
    if (node === undefined) break;
    const { ID: nodeId, address, Description } = node;
    chosen.push({ nodeId, address, hostname: Description?.Hostname ?? nodeId });
  }
  return chosen;
}

/** Serves {@link HOLDERS_METHOD}; `nodes` gives undefined where this node is no manager. */
export function holdersHandler(
  nodes: () => Iterable<NodeRecord> | undefined,
  random: Pick<Random, 'below'>,
): ChannelHandler {
  return async (channel, peer) => {
    if (peer === undefined) throw forbidden('only nodes of the cluster ask for images');
    const request = parseMessage(REQUEST, await firstMessage(channel), 'question for an image');
    const known = nodes();
    if (known === undefined) throw unavailable('this node is no manager');
    const except = [...request.except, peer.nodeId];
    await channel.send({ holders: holdersOf(known, { ...request, except, random }) });
  };
}

/** Asks a manager. Throws as {@link askManager}. */
export async function askHolders(
  access: ManagerAccess,
  request: HoldersRequest,
  signal: AbortSignal,
): Promise<readonly ImageHolder[]> {
  const { holders } = await askManager(access, { method: HOLDERS_METHOD, request, answer: ANSWER }, signal);
  return holders;
}
