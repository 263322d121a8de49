import { z } from 'zod';
import { firstMessage, parseMessage } from '#cluster/ca/join-protocol.ts';
import type { ChannelHandler, Transport } from '#cluster/transport/transport.ts';
import { forbidden, unavailable } from '#model/errors.ts';
import type { StoreInvitation } from './manager-store.ts';
import { SealedStoreRoot } from './store-root.ts';

/** A node that is to be a manager asks one for the store: one answer, how to get into etcd. */
export const MANAGE_METHOD = 'manage';

const INVITATION: z.ZodType<StoreInvitation> = z.object({
  endpoints: z.array(z.string().max(300)).min(1).max(100),
  root: SealedStoreRoot,
});

/** Serves {@link MANAGE_METHOD} to managers; `invite` makes sure that there is an etcd. */
export function manageHandler(invite: () => Promise<StoreInvitation>): ChannelHandler {
  return async (channel, peer) => {
    if (peer?.role !== 'manager') throw forbidden('only managers share the store');
    await channel.send(await invite());
  };
}

/** Asks managers one after the other; `unavailable` with the last one's reason when none answers. */
export async function askToManage(
  transport: Transport,
  managers: readonly string[],
  signal: AbortSignal,
): Promise<StoreInvitation> {
  let failure: unknown = unavailable('no manager is known');
  for (const address of managers) {
    try {
      const channel = await transport.open(address, MANAGE_METHOD, signal);
      try {
        return parseMessage(INVITATION, await firstMessage(channel), 'answer of a manager');
      } finally {
        channel.close();
      }
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}
