import type { Logger } from 'pino';
import type { Clock } from '#control/clock.ts';
import type { KeyedMutex } from '#control/keyed-mutex.ts';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { ImageStore } from '#engine/images/image-store.ts';
import type { ContainerFilesystems } from '#engine/layers/container-filesystem.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import type { LayerWorkers } from '#engine/layers/layer-workers.ts';
import type { NetworkStore } from '#engine/networks/network-store.ts';
import type { ContainerRuntime } from '#engine/runtime/container-runtime.ts';
import type { VolumeStore } from '#engine/volumes/volume-store.ts';
import type { Ulimit } from '#model/container.ts';
import type { ContainerTable } from './container-table.ts';
import type { LiveContainer } from './live-container.ts';

/** What everything in this folder works with. */
export interface ContainerParts {
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly table: ContainerTable;
  readonly events: EventBus;
  readonly images: ImageStore;
  readonly layers: LayerStore;
  readonly filesystems: ContainerFilesystems;
  readonly networks: NetworkStore;
  readonly volumes: VolumeStore;
  readonly runtime: ContainerRuntime;
  /** Of containers that set none of that name. */
  readonly defaultUlimits: readonly Ulimit[];
  /** Threads that work on containers' files at the pace of clients: apart from those that others wait for. */
  readonly copies: LayerWorkers;
  readonly log: Logger;
  readonly clock: Clock;
  /** One operation at a time on each container, by its ID. */
  readonly mutex: KeyedMutex;
  /** The living part of a container; made at its first use. */
  live(id: string): LiveContainer;
  /** Forgets the living part of a container that is removed. */
  forget(id: string): void;
}
