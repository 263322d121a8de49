import type { Logger } from 'pino';
import { PRODUCT_VERSION } from '#api/product.ts';
import { ContainerTaskEngine } from '#cluster/agent/container-task-engine.ts';
import { Fence } from '#cluster/agent/fence.ts';
import { NodeDescriber } from '#cluster/agent/node-description.ts';
import { ContainerPlaces } from '#cluster/attachments/container-places.ts';
import { NodeAttachments } from '#cluster/attachments/node-attachments.ts';
import { pinImage } from '#cluster/images/image-descriptor.ts';
import { ImageExchange } from '#cluster/images/image-exchange.ts';
import { SwarmNode } from '#cluster/membership/swarm-node.ts';
import { systemClock } from '#control/clock.ts';
import { systemRandom } from '#control/random.ts';
import type { ContainerEngine } from '#engine/containers/container-engine.ts';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { ImageStore } from '#engine/images/image-store.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import type { NetworkStore } from '#engine/networks/network-store.ts';
import type { OverlayNetworks } from '#engine/networks/overlay-networks.ts';
import type { VolumeStore } from '#engine/volumes/volume-store.ts';
import type { EventType } from '#model/event.ts';
import type { NetworkPlan } from '#model/network-plan.ts';
import type { ImagePuller } from '#registry/image-puller.ts';
import type { DaemonOptions } from './daemon-options.ts';

/** How long the registry of a service's image may take to say which one it is. */
const PIN_LIMIT_MS = 20_000;

/** After which a container may have no use for its places on the cluster's networks any more, or another name there. */
const ENDS: Partial<Record<EventType, readonly string[]>> = {
  container: ['die', 'stop', 'destroy', 'rename'],
  network: ['disconnect'],
};

/** What of the engine a node of a swarm uses. */
export interface SwarmMachineParts {
  readonly containers: ContainerEngine;
  readonly images: ImageStore;
  readonly layers: LayerStore;
  readonly puller: ImagePuller;
  readonly volumes: VolumeStore;
  readonly networks: NetworkStore;
  readonly overlays: OverlayNetworks;
  readonly events: EventBus;
}

/** The node's part in a swarm over this daemon's engine; what it is put together of is registered for closing in `stack`. */
export async function openSwarm(
  parts: SwarmMachineParts,
  { dataRoot, execRoot, labels, genericResources }: DaemonOptions,
  log: Logger,
  stack: AsyncDisposableStack,
): Promise<SwarmNode> {
  const { images, puller, events, networks, overlays, volumes } = parts;
  const report = (message: string, details: object): void => log.info(details, message);
  const clocks = { clock: systemClock, random: systemRandom };
  const fence = new Fence({ execRoot });
  const exchange = new ImageExchange({ ...parts, ...clocks, dataRoot, report });
  const tasks = stack.use(
    new ContainerTaskEngine({
      ...{ ...parts, execRoot, fence },
      fetchImage: (reference, signal) => exchange.fetch(reference, signal),
    }),
  );
  const describer = stack.use(
    new NodeDescriber({
      ...{ images, volumes, events, labels, genericResources },
      engineVersion: PRODUCT_VERSION,
      encryption: overlays.encryption,
    }),
  );
  const attachments = new NodeAttachments({
    ...{ containers: new ContainerPlaces(parts), plan: () => overlays.plan, report, clock: systemClock },
  });
  stack.use(
    events.subscribe(({ Type, Action }) => {
      if (ENDS[Type]?.includes(Action) === true) attachments.look();
    }),
  );
  const inspection = {
    encryption: overlays.encryption,
    get plan(): NetworkPlan {
      return overlays.plan;
    },
    check: async (o: { heal: boolean }): Promise<string[]> => {
      const found = [...(await overlays.check(o)), ...attachments.differences()];
      if (o.heal) attachments.look();
      return found;
    },
  };
  const machine = {
    ...{ engine: tasks, fence, images: exchange, attachments, report, ...clocks },
    networks: {
      apply: (plan: NetworkPlan) => overlays.apply(plan).finally(() => attachments.planApplied()),
      heal: () => inspection.check({ heal: true }),
    },
    resolveImage: (image: string, registryAuth: string | undefined) =>
      pinImage({ puller, images }, { image, registryAuth, signal: AbortSignal.timeout(PIN_LIMIT_MS) }),
    describe: async () => describer.describe(),
    watchDescription: (onChange: () => void, signal: AbortSignal) => describer.watch(onChange, signal),
    localNetwork: (reference: string) => localNetworkOf(networks, reference),
    isOwnInterface: (name: string) => networks.list().some(({ bridgeName }) => bridgeName === name),
  };
  const node = stack.use(await SwarmNode.start({ dataRoot, execRoot, logs: tasks, inspection, machine }));
  networks.attachments.open(attachments);
  return node;
}

/** The name of a network of this host that tasks may be on as it is. */
function localNetworkOf(networks: NetworkStore, reference: string): string | undefined {
  const found = networks
    .list()
    .find(({ Id, Name, Driver }) => Driver !== 'overlay' && (Id === reference || Name === reference));
  return found?.Name;
}
