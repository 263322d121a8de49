import type { Logger } from 'pino';
import { type Clock, systemClock } from '#control/clock.ts';
import { KeyedMutex } from '#control/keyed-mutex.ts';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { ImageStore } from '#engine/images/image-store.ts';
import type { ContainerFilesystems } from '#engine/layers/container-filesystem.ts';
import type { FileChange } from '#engine/layers/directory-changes.ts';
import type { LayerStore } from '#engine/layers/layer-store.ts';
import { LayerWorkers } from '#engine/layers/layer-workers.ts';
import type { NetworkStore } from '#engine/networks/network-store.ts';
import type { RecordStore } from '#engine/records/record-store.ts';
import type { ContainerRuntime } from '#engine/runtime/container-runtime.ts';
import { type LogRecord, readLog } from '#engine/runtime/log-reader.ts';
import type { VolumeStore } from '#engine/volumes/volume-store.ts';
import type { ContainerRecord, EndpointSettings, HostConfig, Ulimit } from '#model/container.ts';
import { conflict, invalid, notImplemented } from '#model/errors.ts';
import type { Filters } from '#model/filters.ts';
import type { Image } from '#model/image.ts';
import { type AttachSession, StreamSession } from './attach-session.ts';
import { type CommitRequest, commitContainer } from './container-commit.ts';
import { type CreateRequest, createContainer } from './container-create.ts';
import { publishContainerEvent } from './container-events.ts';
import { ContainerFiles, containerChanges } from './container-files.ts';
import { ContainerLifecycle } from './container-lifecycle.ts';
import { listContainers } from './container-list.ts';
import { connectToNetwork, renewAddress, takeOffNetwork } from './container-networks.ts';
import type { ContainerParts } from './container-parts.ts';
import { pruneContainers } from './container-prune.ts';
import { cgroupPath } from './container-start.ts';
import { hasProcess } from './container-state.ts';
import { followStats, type StatsStep, statsNow } from './container-stats.ts';
import {
  checkStoppable,
  killContainer,
  killProcess,
  type StopOptions,
  stopProcess,
} from './container-stop.ts';
import { ContainerTable, type StoredContainer } from './container-table.ts';
import { listProcesses } from './container-top.ts';
import { changeResources } from './container-update.ts';
import { keepsLog } from './host-config.ts';
import { LiveContainer, type WaitResult } from './live-container.ts';
import type { ProcessTable } from './process-table.ts';
import { recoverContainers } from './recovery.ts';

/** Each is a thread while a client takes or sends files; who comes then waits. */
const MOST_COPIES = 32;

export type WaitCondition = 'not-running' | 'next-exit' | 'removed';

export interface LogOptions {
  follow: boolean;
  stdout: boolean;
  stderr: boolean;
  sinceNs?: bigint | undefined;
  untilNs?: bigint | undefined;
  tail: number | 'all';
  signal: AbortSignal;
}

/**
 * Containers as Docker knows them. Each call takes a reference: an ID, an unambiguous beginning of one, or a name.
 *
 * One operation at a time changes a container; kill, wait, attach, logs and everything that only looks do not wait
 * for it. Every step leaves records from which `start` finds its way, should the daemon die after it.
 */
export class ContainerEngine {
  readonly #parts: ContainerParts;
  readonly #lifecycle: ContainerLifecycle;

  constructor(o: {
    dataRoot: string;
    execRoot: string;
    records: RecordStore;
    events: EventBus;
    images: ImageStore;
    layers: LayerStore;
    filesystems: ContainerFilesystems;
    networks: NetworkStore;
    volumes: VolumeStore;
    runtime: ContainerRuntime;
    /** Of containers that set none of that name; nobody is limited without it. */
    defaultUlimits?: readonly Ulimit[];
    log: Logger;
    clock?: Clock;
  }) {
    const { records, clock = systemClock, defaultUlimits = [], ...rest } = o;
    const living = new Map<string, LiveContainer>();
    this.#parts = {
      ...rest,
      clock,
      copies: new LayerWorkers({ limit: MOST_COPIES }),
      defaultUlimits,
      table: new ContainerTable(records),
      mutex: new KeyedMutex(),
      live: (id) => {
        const known = living.get(id);
        if (known !== undefined) return known;
        const made = new LiveContainer();
        living.set(id, made);
        return made;
      },
      forget: (id) => living.delete(id),
    };
    this.#lifecycle = new ContainerLifecycle(this.#parts);
  }

  /** Adopts what was there before; see {@link recoverContainers}. */
  async start(): Promise<void> {
    await recoverContainers(this.#parts, this.#lifecycle);
    this.#lifecycle.patrol();
  }

  /** Stops watching. Containers run on, and what was being cleaned up after is waited for. */
  async stop(): Promise<void> {
    this.#lifecycle.stop();
    await Promise.all(this.#parts.table.all().map(({ id }) => this.#parts.live(id).cleanup));
    this.#parts.copies[Symbol.dispose]();
  }

  create(o: CreateRequest): Promise<{ id: string; warnings: string[] }> {
    return createContainer(this.#parts, o);
  }

  /** Throws `No such container: x`. What is returned is the container's own record: to be read, not changed. */
  resolve(reference: string): ContainerRecord {
    return this.#parts.table.resolve(reference);
  }

  /** Whether there is a container of this ID. */
  has(id: string): boolean {
    return this.#parts.table.has(id);
  }

  /** Where a running container's root file system is mounted. */
  rootPath(id: string): string {
    return this.#parts.filesystems.mergedPath(id);
  }

  /** Where a container's processes are in the cgroup tree, whether it runs or not. */
  cgroupPath(reference: string): string {
    return cgroupPath(this.#parts, this.#parts.table.resolve(reference));
  }

  list(o: { all: boolean; limit: number; filters: Filters }): ContainerRecord[] {
    const { table, images } = this.#parts;
    const made = table.all().filter(({ unfinished }) => unfinished !== 'create');
    return listContainers(made, o, {
      container: (reference) => table.resolve(reference),
      imageId: (reference) => {
        try {
          return images.resolve(reference).id;
        } catch {
          // no image is no container's ancestor
          return undefined;
        }
      },
    });
  }

  async startContainer(reference: string): Promise<void> {
    await this.#exclusively(reference, async (record) => {
      this.#lifecycle.checkStartable(record);
      await this.#lifecycle.start(record, { byPolicy: false });
    });
  }

  async stopContainer(reference: string, o: StopOptions): Promise<void> {
    await this.#exclusively(reference, async (record) => {
      checkStoppable(record);
      await stopProcess(this.#parts, this.#lifecycle, record, o);
    });
  }

  async restartContainer(reference: string, o: StopOptions): Promise<void> {
    await this.#exclusively(reference, async (record) => {
      const live = this.#parts.live(record.id);
      live.keepAtExit = true;
      try {
        if (record.state.Running) await stopProcess(this.#parts, this.#lifecycle, record, o);
        this.#lifecycle.checkStartable(record);
        await this.#lifecycle.start(record, { byPolicy: false });
      } finally {
        live.keepAtExit = false;
      }
      publishContainerEvent(this.#parts.events, 'restart', record);
    });
  }

  async kill(reference: string, signal: string): Promise<void> {
    await killContainer(this.#parts, this.#lifecycle, this.#parts.table.resolve(reference), signal);
  }

  async pause(reference: string): Promise<void> {
    await this.#exclusively(reference, async (record) => {
      const { state, id } = record;
      if (!hasProcess(state)) throw conflict(`container ${id} is not running`);
      if (state.Paused) throw conflict(`container ${id} is already paused`);
      await this.#pause(record);
    });
  }

  async unpause(reference: string): Promise<void> {
    await this.#exclusively(reference, async (record) => {
      if (!record.state.Paused) throw conflict(`Container ${record.id} is not paused`);
      await this.#resume(record);
    });
  }

  async #pause(record: StoredContainer): Promise<void> {
    await this.#parts.runtime.pause(record.id);
    this.#setPaused(record, true);
  }

  async #resume(record: StoredContainer): Promise<void> {
    await this.#parts.runtime.resume(record.id);
    this.#setPaused(record, false);
  }

  async #goOn(record: StoredContainer): Promise<void> {
    delete record.pausedForCommit;
    // It may have been killed meanwhile.
    if (record.state.Paused) await this.#resume(record);
    else this.#parts.table.save(record);
  }

  /** `docker commit`. With `pause` a running container stands still while what it wrote is copied. */
  async commit(reference: string, o: CommitRequest & { pause: boolean }): Promise<Image> {
    const { table, mutex, events } = this.#parts;
    const { id } = table.resolve(reference);
    return await mutex.run(id, async () => {
      const record = table.resolve(id);
      await using paused = new AsyncDisposableStack();
      if (o.pause && hasProcess(record.state) && !record.state.Paused) {
        paused.defer(() => this.#goOn(record));
        record.pausedForCommit = true;
        table.save(record);
        await this.#pause(record);
      }
      const image = await commitContainer(this.#parts, record, { ...o, paused });
      publishContainerEvent(events, 'commit', record, {
        comment: o.comment,
        imageID: image.id,
        imageRef: o.reference,
      });
      return image;
    });
  }

  /** Nothing to note when the process has ended on the way. */
  #setPaused(record: StoredContainer, paused: boolean): void {
    if (!hasProcess(record.state)) return;
    record.state = { ...record.state, Paused: paused, Status: paused ? 'paused' : 'running' };
    this.#parts.table.save(record);
    publishContainerEvent(this.#parts.events, paused ? 'pause' : 'unpause', record);
  }

  async rename(reference: string, name: string): Promise<void> {
    await this.#exclusively(reference, async (record) => {
      const bare = name.replace(/^\//, '');
      const oldName = record.name;
      if (bare === oldName) {
        throw invalid('Renaming a container with the same name as its current name');
      }
      this.#parts.table.rename(record, bare);
      this.#parts.networks.rename(record, oldName);
      publishContainerEvent(this.#parts.events, 'rename', record, { oldName: `/${oldName}` });
    });
  }

  async update(reference: string, change: Partial<HostConfig>): Promise<void> {
    await this.#exclusively(reference, async (record) => {
      await changeResources(this.#parts, record, change);
      publishContainerEvent(this.#parts.events, 'update', record);
    });
  }

  /** Removes a container; one that runs only with `force`, which kills it without waiting for a stop under way. */
  async remove(reference: string, o: { force: boolean; volumes: boolean; link: boolean }): Promise<void> {
    if (o.link) throw notImplemented('removing links is not there yet: legacy links are not supported');
    const { table, mutex } = this.#parts;
    const record = table.resolve(reference);
    const live = this.#parts.live(record.id);
    if (live.removing) throw conflict(`removal of container ${reference} is already in progress`);
    if (o.force) await this.#forceEnd(record);
    await mutex.run(record.id, async () => {
      if (o.force) await this.#forceEnd(record);
      const { state, name } = record;
      if (state.Running && table.has(record.id)) {
        throw conflict(
          `cannot remove container "/${name}": container is ${state.Status}: stop the container before removing or force remove`,
        );
      }
      await this.#lifecycle.remove(record, { volumes: o.volumes });
    });
  }

  async #forceEnd(record: StoredContainer): Promise<void> {
    if (!record.state.Running) return;
    record.stoppedByUser = true;
    this.#lifecycle.callOffRestart(record);
    await killProcess(this.#parts, record);
  }

  /** Subscribes before it returns, so that whatever happens after the call is seen. */
  wait(reference: string, condition: WaitCondition, signal: AbortSignal): Promise<WaitResult> {
    const record = this.#parts.table.resolve(reference);
    const live = this.#parts.live(record.id);
    switch (condition) {
      case 'not-running':
        return record.state.Running
          ? live.nextExit(signal)
          : Promise.resolve({ StatusCode: record.state.ExitCode });
      case 'next-exit':
        return live.nextExit(signal);
      case 'removed':
        return live.nextRemoval(signal);
    }
  }

  /** A container that does not run yet is attached at its next start. */
  async attach(
    reference: string,
    o: { stdin: boolean; stdout: boolean; stderr: boolean; stream: boolean; logs: boolean },
  ): Promise<AttachSession> {
    const { table, runtime, events } = this.#parts;
    const record = table.resolve(reference);
    const { state, config, id } = record;
    if (state.Paused) throw conflict(`container ${id} is paused, unpause the container before attach`);
    if (state.Restarting) {
      throw conflict(`container ${id} is restarting, wait until the container is running`);
    }
    const running = hasProcess(state);
    // the log of a running container goes on where the replay ends, without a gap or a repetition
    const replays = o.logs && keepsLog(record.hostConfig);
    const followsLog = replays && o.stream && running;
    const following = new AbortController();
    const replay = (): AsyncIterable<LogRecord> =>
      this.#readLog(record, { tail: 'all', follow: followsLog, signal: following.signal });
    const session = new StreamSession({
      tty: config.Tty,
      stdin: o.stdin && o.stream && config.OpenStdin,
      stdout: o.stdout,
      stderr: o.stderr,
      followsLog,
      onClose: () => following.abort(),
      ...(replays ? { replay: replay() } : {}),
    });
    if (!o.stream) session.endAfterReplay();
    else if (running) session.connect(runtime.attach(id));
    else this.#parts.live(id).addSession(session);
    publishContainerEvent(events, 'attach', record);
    return session;
  }

  logs(reference: string, o: LogOptions): { tty: boolean; records: AsyncIterable<LogRecord> } {
    const record = this.#parts.table.resolve(reference);
    if (!keepsLog(record.hostConfig)) {
      throw invalid('configured logging driver does not support reading');
    }
    return { tty: record.config.Tty, records: onlyAsked(this.#readLog(record, o), o) };
  }

  #readLog(
    record: StoredContainer,
    o: Pick<LogOptions, 'follow' | 'tail'> & Partial<Pick<LogOptions, 'sinceNs' | 'untilNs' | 'signal'>>,
  ): AsyncIterable<LogRecord> {
    return readLog({
      path: this.#parts.filesystems.logPath(record.id),
      follow: o.follow,
      tail: o.tail,
      ...(o.sinceNs === undefined ? {} : { sinceNs: o.sinceNs }),
      ...(o.untilNs === undefined ? {} : { untilNs: o.untilNs }),
      ended: () => !record.state.Running,
      signal: o.signal ?? new AbortController().signal,
    });
  }

  async resize(reference: string, size: { height: number; width: number }): Promise<void> {
    const record = this.#parts.table.resolve(reference);
    if (!hasProcess(record.state)) throw conflict(`container ${record.id} is not running`);
    this.#parts.runtime.resize(record.id, size);
    publishContainerEvent(this.#parts.events, 'resize', record, {
      height: String(size.height),
      width: String(size.width),
    });
  }

  async top(reference: string, psArguments: string): Promise<ProcessTable> {
    const record = this.#parts.table.resolve(reference);
    if (!hasProcess(record.state)) throw conflict(`container ${record.id} is not running`);
    const table = await listProcesses(this.#parts.runtime.processes(record.id), psArguments);
    publishContainerEvent(this.#parts.events, 'top', record);
    return table;
  }

  /** A container's files as it sees them, to copy out of or into; to be disposed of. */
  openFiles(reference: string, o: { readOnly: boolean }): Promise<ContainerFiles> {
    const record = this.#parts.table.resolve(reference);
    return ContainerFiles.open(this.#parts, record, { withMounts: true, readOnly: o.readOnly });
  }

  /** What `docker export` sends: without what is mounted into the container. To be disposed of. */
  async exportFiles(reference: string): Promise<ContainerFiles> {
    const record = this.#parts.table.resolve(reference);
    const files = await ContainerFiles.open(this.#parts, record, { withMounts: false, readOnly: true });
    publishContainerEvent(this.#parts.events, 'export', record);
    return files;
  }

  /** What a container changed of what its image has, by path. */
  changes(reference: string): Promise<FileChange[]> {
    return containerChanges(this.#parts, this.#parts.table.resolve(reference));
  }

  /** What a container uses, each second; see {@link followStats}. */
  followStats(reference: string, signal: AbortSignal): AsyncGenerator<StatsStep> {
    return followStats(this.#parts, this.#parts.table.resolve(reference), signal);
  }

  /** What a container uses now. */
  stats(reference: string, o: { withPrevious: boolean; signal: AbortSignal }): Promise<StatsStep> {
    return statsNow(this.#parts, this.#parts.table.resolve(reference), o);
  }

  prune(o: { filters: Filters }): Promise<{ ContainersDeleted: string[] | null; SpaceReclaimed: number }> {
    return pruneContainers(this.#parts, o.filters, (id) =>
      this.remove(id, { force: false, volumes: false, link: false }),
    );
  }

  async connectNetwork(
    reference: string,
    network: string,
    settings: Partial<EndpointSettings>,
  ): Promise<void> {
    await this.#exclusively(reference, async (record) => {
      if (record.state.Dead || record.state.Status === 'removing') {
        throw conflict(
          'container is marked for removal and cannot be connected or disconnected to the network',
        );
      }
      await connectToNetwork(this.#parts, record, network, settings);
    });
  }

  /** A running container's address on a network of the cluster is somebody else's: it gets another one. What comes of it is thrown. */
  async renewAddress(reference: string, networkId: string): Promise<void> {
    await this.#exclusively(reference, (record) => renewAddress(this.#parts, record, networkId));
  }

  /** A running container is off a network of the cluster until its next start: this host has left the cluster. */
  async takeOff(reference: string, networkId: string): Promise<void> {
    await this.#exclusively(reference, async (record) => {
      takeOffNetwork(this.#parts, record, networkId);
    });
  }

  async disconnectNetwork(reference: string, network: string, force: boolean): Promise<void> {
    await this.#exclusively(reference, async (record) => {
      record.networks = this.#parts.networks.disconnect(record, network, force);
      this.#parts.table.save(record);
    });
  }

  /** Runs `work` when nobody else changes the container, on the container as it is then. */
  async #exclusively(reference: string, work: (record: StoredContainer) => Promise<void>): Promise<void> {
    const { table, mutex } = this.#parts;
    const { id } = table.resolve(reference);
    await mutex.run(id, () => work(table.resolve(id)));
  }
}

async function* onlyAsked(
  records: AsyncIterable<LogRecord>,
  o: { stdout: boolean; stderr: boolean },
): AsyncGenerator<LogRecord> {
  for await (const record of records) if (o[record.stream]) yield record;
}
