import type { ImageExchange } from '#cluster/images/image-exchange.ts';
import { HOLDERS_METHOD, holdersHandler } from '#cluster/images/image-holders.ts';
import { NodeStanding, STANDING_METHOD, standingHandler } from '#cluster/images/node-standing.ts';
import type { Transport } from '#cluster/transport/transport.ts';
import type { Clock } from '#control/clock.ts';
import type { Random } from '#control/random.ts';
import type { ManagerRole } from './manager-role.ts';

/** Serves what the nodes of the cluster ask each other about images, and managers about nodes, until the result is disposed of. */
export function shareImages(o: {
  readonly images: Pick<ImageExchange, 'join'>;
  readonly transport: Transport;
  /** `host:port` of those that this node knows. */
  readonly managers: () => readonly string[];
  /** Undefined while this node is a worker. */
  readonly manager: () => ManagerRole | undefined;
  readonly clock: Clock;
  readonly random: Random;
}): Disposable {
  const { transport, managers } = o;
  transport.serve(
    HOLDERS_METHOD,
    holdersHandler(() => o.manager()?.view.all('node'), o.random),
  );
  transport.serve(
    STANDING_METHOD,
    standingHandler((nodeId) => o.manager()?.isAllowed(nodeId, 'worker')),
  );
  const access = { transport, managers };
  const standing = new NodeStanding(access, o.clock);
  return o.images.join({
    ...access,
    // a manager's transport has asked already
    checkNode: async (nodeId, signal) => {
      if (o.manager() === undefined) await standing.check(nodeId, signal);
    },
  });
}
