import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { createApiServer } from '#api/api-server.ts';
import type { EngineParts } from '#api/engine-parts.ts';
import { PRODUCT_VERSION } from '#api/product.ts';
import { ImageBuilder } from '#build/image-builder.ts';
import type { Buildkit } from '#buildkit/buildkit.ts';
import { TaskFiles } from '#cluster/agent/task-files.ts';
import { InactiveSwarm } from '#cluster/control/inactive-swarm.ts';
import type { SwarmMembership } from '#cluster/control/swarm-membership.ts';
import { LazySwarm } from '#cluster/membership/lazy-swarm.ts';
import { BlobStore } from '#engine/blobs/blob-store.ts';
import { ContainerEngine } from '#engine/containers/container-engine.ts';
import { EventBus } from '#engine/events/event-bus.ts';
import { ExecEngine } from '#engine/exec/exec-engine.ts';
import { ImageArchives } from '#engine/images/image-archives.ts';
import { ImageStore } from '#engine/images/image-store.ts';
import { parseReference } from '#engine/images/reference.ts';
import { ContainerFilesystems } from '#engine/layers/container-filesystem.ts';
import { LayerStore } from '#engine/layers/layer-store.ts';
import { LayerWorkers } from '#engine/layers/layer-workers.ts';
import { NetworkStore } from '#engine/networks/network-store.ts';
import { OverlayNetworks } from '#engine/networks/overlay-networks.ts';
import { RecordStore } from '#engine/records/record-store.ts';
import { ContainerRuntime } from '#engine/runtime/container-runtime.ts';
import { VolumeStore } from '#engine/volumes/volume-store.ts';
import { cgroupMode } from '#linux/cgroups.ts';
import type { ContainerRecord } from '#model/container.ts';
import { RegistryArtifacts } from '#registry/artifact-transfer.ts';
import { BlobDownloads } from '#registry/blob-download.ts';
import { ImagePuller } from '#registry/image-puller.ts';
import { ImagePusher } from '#registry/image-pusher.ts';
import { Registries } from '#registry/registries.ts';
import type { RegistryService } from '#registry/registry.ts';
import { CERTIFICATE_DIRECTORIES, type RegistrySettings } from '#registry/registry-endpoints.ts';
import type { DaemonOptions } from './daemon-options.ts';
import { DataRootLock } from './data-root-lock.ts';
import { engineId, operatingSystem } from './host-facts.ts';
import { Pidfile } from './pidfile.ts';
import { SocketListener } from './socket-listener.ts';

const TEARDOWN_LIMIT_MS = 60_000;

/** The program: its parts, started in order and closed in reverse. Containers outlive it. */
export class Daemon implements AsyncDisposable {
  readonly #parts: AsyncDisposableStack;

  private constructor(parts: AsyncDisposableStack) {
    this.#parts = parts;
  }

  /** Resolves when every socket answers. What was started before an error is closed again; a `cluster` that is given is its owner's to close. */
  static async start(options: DaemonOptions, log: Logger, cluster?: SwarmMembership): Promise<Daemon> {
    await using starting = new AsyncDisposableStack();
    const parts = await startEngine({ options, log, cluster, stack: starting });
    for (const path of options.sockets) {
      const { group, groupAsked } = options;
      starting.use(await SocketListener.open(createApiServer(parts), { path, group, groupAsked }));
      log.info(`API listen on ${path}`);
    }
    return new Daemon(starting.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync();
  }
}

/** Ends every container of a data root and takes what it has in the kernel away; what is on disk stays. */
export async function tearDown(options: DaemonOptions, log: Logger): Promise<undefined> {
  await using stack = new AsyncDisposableStack();
  // also what keeps the process alive: the engine's own watchers do not
  const limit = setTimeout(() => {
    throw new Error(`the tear-down took longer than ${TEARDOWN_LIMIT_MS} ms`);
  }, TEARDOWN_LIMIT_MS);
  stack.defer(() => clearTimeout(limit));
  const parts = await startEngine({ options, log, cluster: new InactiveSwarm(), stack });
  const running = parts.containers.list({ all: false, limit: 0, filters: {} });
  await Promise.all(running.map(({ id }) => parts.containers.stopContainer(id, { timeoutSeconds: 0 })));
  await parts.containers.stop();
  parts.filesystems.unmountAll();
  await parts.networks.stop();
  parts.overlays.teardown();
  parts.networks.teardown();
  const files = new TaskFiles(options);
  for (const taskId of files.tasks()) files.remove(taskId);
  // what ends single writers has nothing left to end, and goes
  rmSync(join(options.execRoot, 'fence'), { recursive: true, force: true });
  log.info({ containers: running.length }, 'torn down');
}

async function startRegistry(
  options: DaemonOptions,
  parts: { blobs: BlobStore; downloads: BlobDownloads; settings: RegistrySettings; log: Logger },
  stack: AsyncDisposableStack,
): Promise<RegistryService | undefined> {
  const { registryAddress: address, registryConfig: configFile, dataRoot } = options;
  if (address === undefined) return undefined;
  // Loaded where it is wanted: a daemon without it idles in less memory.
  const registry = await import('#registry/registry.ts');
  const service = stack.use(await registry.RegistryService.open({ ...parts, address, configFile, dataRoot }));
  parts.log.info(`registry listens on port ${service.port}`);
  return service;
}

async function startEngine(o: {
  options: DaemonOptions;
  log: Logger;
  /** Instead of what the data root says. */
  cluster: SwarmMembership | undefined;
  stack: AsyncDisposableStack;
}): Promise<EngineParts> {
  const { options, log, stack } = o;
  const { dataRoot, execRoot } = options;
  mkdirSync(dataRoot, { recursive: true, mode: 0o710 });
  mkdirSync(execRoot, { recursive: true, mode: 0o711 });
  stack.use(new DataRootLock(dataRoot));
  stack.use(new Pidfile(options.pidfile));
  log.info({ version: PRODUCT_VERSION, dataRoot, execRoot, pid: process.pid }, 'starting');
  const records = stack.use(new RecordStore(join(dataRoot, 'drover.db')));
  const events = new EventBus();
  const blobs = new BlobStore(dataRoot);
  const workers = stack.use(new LayerWorkers());
  const layers = new LayerStore({ dataRoot, records, blobs, workers, log });
  const images = new ImageStore({ records, layers, events });
  images.recover();
  const archives = new ImageArchives({ dataRoot, images, layers, events });
  const downloads = new BlobDownloads(dataRoot);
  downloads.recover();
  const settings = {
    mirrors: options.registryMirrors,
    insecure: options.insecureRegistries,
    certificateDirectories: CERTIFICATE_DIRECTORIES,
  };
  const own = await startRegistry(options, { blobs, downloads, settings, log }, stack);
  const registries = new Registries({ settings, own });
  const puller = new ImagePuller({ images, layers, events, registries, downloads });
  const pusher = new ImagePusher({ images, layers, events, registries });
  const filesystems = new ContainerFilesystems({ dataRoot, execRoot, layers });
  const runtime = stack.use(
    await ContainerRuntime.probe({
      execRoot,
      dataRoot,
      log,
      ...(options.runtime === undefined ? {} : { preferred: options.runtime }),
      ...(options.cgroupParent === undefined ? {} : { cgroupParent: options.cgroupParent }),
    }),
  );
  const networks = new NetworkStore({
    records,
    events,
    bridge: options.bridge,
    bip: options.bip,
    defaultAddressPools: options.defaultAddressPools,
    execRoot,
    dns: options.dns,
    log,
  });
  stack.defer(() => networks.stop());
  await networks.start(records.list<ContainerRecord>('container').filter(({ state }) => state.Running));
  const overlays = stack.use(new OverlayNetworks({ records, networks, bridge: options.bridge, log }));
  overlays.start();
  const volumes = new VolumeStore({ dataRoot, records, events });
  const containers = new ContainerEngine({
    dataRoot,
    execRoot,
    records,
    events,
    images,
    layers,
    filesystems,
    networks,
    volumes,
    runtime,
    defaultUlimits: options.defaultUlimits,
    log,
  });
  stack.defer(() => containers.stop());
  await containers.start();
  const builder = new ImageBuilder({
    dataRoot,
    execRoot,
    records,
    layers,
    images,
    events,
    filesystems,
    networks,
    runtime,
    pull: async ({ reference, platform, report, signal, request }) => {
      const parsed = parseReference(reference);
      const credentials = await request.credentials(parsed.name.split('/', 1)[0] ?? '');
      return await puller.pull({ reference: parsed, platform, report, signal, credentials });
    },
    artifacts: new RegistryArtifacts({ registries, puller, layers }),
    version: PRODUCT_VERSION,
    log,
  });
  builder.recover();
  const contexts = join(dataRoot, 'build-contexts');
  layers.discard(contexts);
  const buildkit = lazyBuildkit({ builder, layers, contexts }, stack);
  const exec = stack.use(new ExecEngine({ containers, runtime, events, log }));
  const swarm = { containers, images, layers, puller, volumes, networks, overlays, events };
  const cluster =
    o.cluster ??
    stack.use(
      await LazySwarm.start({
        dataRoot,
        // Loaded where there is one: a daemon outside of any idles in less memory.
        load: async (parts) => (await import('./swarm-part.ts')).openSwarm(swarm, options, log, parts),
      }),
    );
  // in a cluster or not: from here on it is known who can be asked
  networks.attachments.open(undefined);
  stack.use(
    cluster.subscribe(({ type, action, id, attributes }) =>
      events.publish(type, action, id, attributes, 'swarm'),
    ),
  );
  const system = operatingSystem();
  const daemon = {
    dataRoot,
    execRoot,
    id: engineId(dataRoot),
    labels: options.labels,
    cgroupVersion: cgroupMode() === 'v2' ? ('2' as const) : ('1' as const),
    operatingSystem: system.name,
    operatingSystemVersion: system.version,
    defaultAddressPools: options.defaultAddressPools,
    genericResources: options.genericResources,
    debug: options.logLevel === 'debug',
  };
  return {
    containers,
    exec,
    images,
    archives,
    registries,
    puller,
    pusher,
    builder,
    buildkit,
    layers,
    filesystems,
    networks,
    overlays,
    volumes,
    runtime,
    events,
    cluster,
    daemon,
    log,
  };
}

/** A daemon that no client of BuildKit's talks to idles in less memory. */
function lazyBuildkit(
  o: { builder: ImageBuilder; layers: LayerStore; contexts: string },
  stack: AsyncDisposableStack,
): () => Promise<Buildkit> {
  let loading: Promise<Buildkit> | undefined;
  let loaded: Buildkit | undefined;
  stack.defer(() => loaded?.[Symbol.dispose]());
  const load = async (): Promise<Buildkit> => {
    const { openBuildkit } = await import('./buildkit-part.ts');
    loaded = openBuildkit(o);
    return loaded;
  };
  return () => {
    loading ??= load();
    return loading;
  };
}
