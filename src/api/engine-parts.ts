import type { Logger } from 'pino';
import type { ImageBuilder } from '#build/image-builder.ts';
import type { Buildkit } from '#buildkit/buildkit.ts';
import type { SwarmMembership } from '#cluster/control/swarm-membership.ts';
import type { ContainerEngine } from '#engine/containers/container-engine.ts';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { ExecEngine } from '#engine/exec/exec-engine.ts';
import type { ImageArchives } from '#engine/images/image-archives.ts';
import type { ImageStore } from '#engine/images/image-store.ts';
import type { ContainerFilesystems } from '#engine/layers/container-filesystem.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import type { NetworkStore } from '#engine/networks/network-store.ts';
import type { OverlayNetworks } from '#engine/networks/overlay-networks.ts';
import type { ContainerRuntime } from '#engine/runtime/container-runtime.ts';
import type { VolumeStore } from '#engine/volumes/volume-store.ts';
import type { GenericResource } from '#model/task-spec.ts';
import type { ImagePuller } from '#registry/image-puller.ts';
import type { ImagePusher } from '#registry/image-pusher.ts';
import type { Registries } from '#registry/registries.ts';

/** What a client may be told about this daemon itself. */
export interface DaemonFacts {
  readonly dataRoot: string;
  readonly execRoot: string;
  /** Stays the same over restarts. */
  readonly id: string;
  readonly labels: readonly string[];
  readonly cgroupVersion: '1' | '2';
  /** PRETTY_NAME and VERSION_ID of /etc/os-release. */
  readonly operatingSystem: string;
  readonly operatingSystemVersion: string;
  readonly defaultAddressPools: readonly { base: string; size: number }[];
  readonly genericResources: readonly GenericResource[];
  readonly debug: boolean;
}

/** The engine as the API sees it; the daemon puts it together. */
export interface EngineParts {
  readonly containers: ContainerEngine;
  readonly exec: ExecEngine;
  readonly images: ImageStore;
  readonly archives: ImageArchives;
  readonly layers: LayerStore;
  readonly builder: ImageBuilder;
  /** Loaded when the first client of BuildKit's comes. */
  readonly buildkit: () => Promise<Buildkit>;
  readonly registries: Registries;
  readonly puller: ImagePuller;
  readonly pusher: ImagePusher;
  readonly filesystems: ContainerFilesystems;
  readonly networks: NetworkStore;
  readonly overlays: OverlayNetworks;
  readonly volumes: VolumeStore;
  readonly runtime: ContainerRuntime;
  readonly events: EventBus;
  /** This node's part in a swarm. */
  readonly cluster: SwarmMembership;
  readonly daemon: DaemonFacts;
  readonly log: Logger;
}
