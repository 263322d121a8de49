import { z } from 'zod';
import { firstMessage, parseMessage } from '#cluster/ca/join-protocol.ts';
import type { ChannelHandler, Transport } from '#cluster/transport/transport.ts';
import { forbidden, unavailable } from '#model/errors.ts';

/** A node that is to be a manager asks one for the store: one answer, etcd's client URLs. */
export const MANAGE_METHOD = 'manage';

const ANSWER: z.ZodType<{ endpoints: string[] }> = z.object({
  endpoints: z.array(z.string().max(300)).min(1).max(100),
});

/** Serves {@link MANAGE_METHOD} to managers; `endpoints` makes sure that there is an etcd. */
export function manageHandler(endpoints: () => Promise<string[]>): ChannelHandler {
  return async (channel, peer) => {
    if (peer?.role !== 'manager') throw forbidden('only managers share the store');
    await channel.send({ endpoints: await endpoints() });
  };
}

/** Asks managers one after the other; `unavailable` with the last one's reason when none answers. */
export async function askToManage(
  transport: Transport,
  managers: readonly string[],
  signal: AbortSignal,
): Promise<string[]> {
  let failure: unknown = unavailable('no manager is known');
  for (const address of managers) {
    try {
      const channel = await transport.open(address, MANAGE_METHOD, signal);
      try {
        return parseMessage(ANSWER, await firstMessage(channel), 'answer of a manager').endpoints;
      } finally {
        channel.close();
      }
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}
