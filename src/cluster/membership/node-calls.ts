import { z } from 'zod';
import { firstMessage, parseMessage } from '#cluster/ca/join-protocol.ts';
import type { ClusterView } from '#cluster/state/cluster-view.ts';
import { within } from '#cluster/transport/deadline.ts';
import type { Transport } from '#cluster/transport/transport.ts';
import type { Clock } from '#control/clock.ts';
import { forbidden } from '#model/errors.ts';
import type { NodeRecord } from '#model/node.ts';

/** A manager tells a node that does not come where managers are now. */
const CALL_METHOD = 'managers';
const CALL_EVERY_MS = 10_000;
const CALL_LIMIT_MS = 2000;
/** So many nodes are called at a time. */
const PARALLEL = 32;

const CALL: z.ZodType<{ managers: string[] }> = z.object({
  managers: z.array(z.string().max(300)).min(1).max(100),
});

/** Hears of managers at other addresses, from a manager. */
export function serveCalls(transport: Transport, meet: (managers: readonly string[]) => void): void {
  transport.serve(CALL_METHOD, async (channel, peer) => {
    if (peer?.role !== 'manager') throw forbidden('only a manager says where managers are');
    meet(parseMessage(CALL, await firstMessage(channel), 'call of a manager').managers);
  });
}

/**
 * While this manager leads, calls nodes that do not come: after a restore or a recovery they may know no manager that is there. Until
 * `signal` aborts. A node that does not answer is called again.
 */
export async function callNodes(o: {
  readonly view: ClusterView;
  readonly transport: Transport;
  readonly nodeId: string;
  readonly isLeader: () => boolean;
  readonly managers: () => string[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): Promise<void> {
  while (!o.signal.aborted) {
    await o.clock.sleep(CALL_EVERY_MS, o.signal).catch(() => undefined);
    if (o.signal.aborted || !o.isLeader()) continue;
    const missing = [...o.view.all('node')].filter(
      ({ ID, Status }) => ID !== o.nodeId && Status.State !== 'ready',
    );
    const managers = o.managers();
    const call = async (): Promise<void> => {
      for (let node = missing.pop(); node !== undefined; node = missing.pop())
        await callOne(o, node, managers);
    };
    if (managers.length > 0) await Promise.all(Array.from({ length: PARALLEL }, call));
  }
}

async function callOne(
  o: { readonly transport: Transport; readonly clock: Clock; readonly signal: AbortSignal },
  { ID, address }: NodeRecord,
  managers: readonly string[],
): Promise<void> {
  try {
    await within(o.clock, CALL_LIMIT_MS, o.signal, `calling node ${ID}`, async (signal) => {
      const channel = await o.transport.open(address, CALL_METHOD, signal, ID);
      try {
        await channel.send({ managers });
        for await (const _ of channel.messages);
      } finally {
        channel.close();
      }
    });
  } catch {
    // it is away, which is what its record says; the next round calls it again
    return;
  }
}
