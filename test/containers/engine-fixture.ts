import { createReadStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { BlobStore } from '#engine/blobs/blob-store.ts';
import { ContainerEngine } from '#engine/containers/container-engine.ts';
import { EventBus } from '#engine/events/event-bus.ts';
import type { ExecConfig } from '#engine/exec/exec-config.ts';
import { ExecEngine } from '#engine/exec/exec-engine.ts';
import { ImageArchives } from '#engine/images/image-archives.ts';
import { ImageStore } from '#engine/images/image-store.ts';
import { ContainerFilesystems } from '#engine/layers/container-filesystem.ts';
import { LayerStore } from '#engine/layers/layer-store.ts';
import { LayerWorkers } from '#engine/layers/layer-workers.ts';
import { NetworkStore } from '#engine/networks/network-store.ts';
import { RecordStore } from '#engine/records/record-store.ts';
import { ContainerRuntime } from '#engine/runtime/container-runtime.ts';
import type { RuntimeName } from '#engine/runtime/runtime-chooser.ts';
import { VolumeStore } from '#engine/volumes/volume-store.ts';
import type { ContainerConfig, ContainerRecord, HostConfig } from '#model/container.ts';
import type { EngineEvent } from '#model/event.ts';

const ROOTFS = fileURLToPath(new URL('../../.cache/busybox.tar', import.meta.url));

/** Where an engine keeps what it has; test files that run at the same time have bridges of their own. */
export interface Roots {
  dataRoot: string;
  execRoot: string;
  bridge: keyof typeof BRIDGE_ADDRESSES;
}

/** Far from addresses that a machine or another test would use. */
const BRIDGE_ADDRESSES = {
  dvc0: '10.213.0.1/26',
  dvc1: '10.213.0.65/26',
  dvc2: '10.213.0.129/26',
  dvc3: '10.213.0.193/26',
  dvc4: '10.213.1.1/26',
  dvc5: '10.213.1.65/26',
  dvc6: '10.213.1.129/26',
};

/** An engine without its API, on directories of its own; `die` leaves everything as SIGKILL would. */
export class EngineFixture {
  readonly roots: Roots;
  readonly events: EventBus;
  readonly volumes: VolumeStore;
  readonly containers: ContainerEngine;
  readonly exec: ExecEngine;
  readonly filesystems: ContainerFilesystems;
  readonly runtime: ContainerRuntime;
  readonly records: RecordStore;
  readonly networks: NetworkStore;
  readonly images: ImageStore;
  readonly layers: LayerStore;
  readonly seen: EngineEvent[] = [];
  readonly #archives: ImageArchives;
  readonly #workers = new LayerWorkers();
  /** The engine watches without keeping the process alive; a test that waits for it must. */
  readonly #awake = setInterval(() => undefined, 60_000);

  private constructor(roots: Roots, runtime: ContainerRuntime) {
    const { dataRoot, execRoot, bridge } = roots;
    const log = pino({ level: process.env['DROVER_TEST_LOG'] ?? 'silent' });
    this.roots = roots;
    this.runtime = runtime;
    this.records = new RecordStore(join(dataRoot, 'drover.db'));
    const { records } = this;
    this.events = new EventBus();
    this.events.subscribe((event) => this.seen.push(event));
    const { events } = this;
    const blobs = new BlobStore(dataRoot);
    this.layers = new LayerStore({ dataRoot, records, blobs, workers: this.#workers, log });
    const { layers } = this;
    this.images = new ImageStore({ records, layers, events });
    this.#archives = new ImageArchives({ dataRoot, images: this.images, layers, events });
    this.filesystems = new ContainerFilesystems({ dataRoot, execRoot, layers });
    this.networks = new NetworkStore({
      records,
      events,
      bridge,
      bip: BRIDGE_ADDRESSES[bridge],
      defaultAddressPools: [],
      execRoot,
      dns: [],
      log,
    });
    this.volumes = new VolumeStore({ dataRoot, records, events });
    const { filesystems, networks, volumes } = this;
    this.containers = new ContainerEngine({
      dataRoot,
      execRoot,
      records,
      events,
      images: this.images,
      layers,
      filesystems,
      networks,
      volumes,
      runtime,
      log,
    });
    this.exec = new ExecEngine({ containers: this.containers, runtime, events, log });
  }

  /** A new engine with the `busybox` image. */
  static async make(bridge: Roots['bridge'], preferredRuntime?: RuntimeName): Promise<EngineFixture> {
    const home = mkdtempSync(join(tmpdir(), 'drover-containers-'));
    const roots = { dataRoot: join(home, 'data'), execRoot: join(home, 'exec'), bridge };
    const engine = await EngineFixture.takeOver(roots, preferredRuntime);
    await engine.#archives.import({
      archive: createReadStream(ROOTFS),
      reference: 'busybox',
      message: '',
      changes: ['CMD ["sh"]'],
    });
    return engine;
  }

  /** An engine that goes on with what another one left. */
  static async takeOver(roots: Roots, preferredRuntime?: RuntimeName): Promise<EngineFixture> {
    for (const path of [roots.dataRoot, roots.execRoot]) mkdirSync(path, { recursive: true });
    const log = pino({ level: 'silent' });
    const preferred = preferredRuntime === undefined ? {} : { preferred: preferredRuntime };
    const runtime = await ContainerRuntime.probe({ ...roots, log, ...preferred });
    const engine = new EngineFixture(roots, runtime);
    await engine.networks.start(
      engine.records.list<ContainerRecord>('container').filter(({ state }) => state.Running),
    );
    await engine.containers.start();
    return engine;
  }

  /** What a killed daemon leaves: everything in the kernel and on disk, nobody who watches. */
  async die(): Promise<Roots> {
    await this.#stop();
    this.records[Symbol.dispose]();
    return this.roots;
  }

  async #stop(): Promise<void> {
    clearInterval(this.#awake);
    await this.containers.stop();
    await this.networks.stop();
    this.runtime[Symbol.dispose]();
  }

  /** Removes every container and whatever the engine made. */
  async [Symbol.asyncDispose](): Promise<void> {
    const all = this.containers.list({ all: true, limit: 0, filters: {} });
    await Promise.all(
      all.map(({ id }) => this.containers.remove(id, { force: true, volumes: true, link: false })),
    );
    for (const { Name } of this.volumes.list()) await this.volumes.remove(Name, { force: true, users: [] });
    await this.#stop();
    this.filesystems.unmountAll();
    this.networks.teardown();
    this.records[Symbol.dispose]();
    rmSync(join(this.roots.dataRoot, '..'), { recursive: true, force: true });
  }

  /** Creates a container that has no network unless it asks for one. */
  async create(
    command: string[],
    o: { name?: string; config?: Partial<ContainerConfig>; host?: Partial<HostConfig> } = {},
  ): Promise<string> {
    const { id } = await this.containers.create({
      name: o.name,
      config: { Image: 'busybox', Cmd: command, ...o.config },
      hostConfig: { NetworkMode: 'none', ...o.host },
      endpoints: {},
    });
    return id;
  }

  /** Runs a container to its end; what it wrote and its exit code. */
  async run(
    command: string[],
    o: Parameters<EngineFixture['create']>[1] & { stdin?: string } = {},
  ): Promise<{ id: string; stdout: string; stderr: string; exitCode: number }> {
    const id = await this.create(command, o);
    const session = await this.containers.attach(id, {
      stdin: o.stdin !== undefined,
      stdout: true,
      stderr: true,
      stream: true,
      logs: false,
    });
    const ended = this.containers.wait(id, 'next-exit', AbortSignal.timeout(20_000));
    const output = readAll(session.output);
    session.input?.end(o.stdin);
    await this.containers.startContainer(id);
    const { StatusCode } = await ended;
    return { id, ...(await output), exitCode: StatusCode };
  }

  /** Runs a command in a running container to its end. */
  async runExec(
    id: string,
    command: string[],
    o: Partial<ExecConfig> & { stdin?: string } = {},
  ): Promise<{ stdout: string; stderr: string; exitCode: number | null }> {
    const { stdin, ...asked } = o;
    const execId = this.exec.create(id, {
      ...{ AttachStdin: stdin !== undefined, AttachStdout: true, AttachStderr: true, Tty: false },
      ...{ DetachKeys: '', Cmd: command, Env: [], Privileged: false, User: '', WorkingDir: '' },
      ...asked,
    });
    const session = await this.exec.start(execId, { detach: false, tty: asked.Tty ?? false });
    if (session === undefined) throw new Error(`exec ${execId} is not attached`);
    const output = readAll(session.output);
    session.input?.end(stdin);
    const text = await output;
    while (this.exec.inspect(execId).running) await new Promise((resolve) => setTimeout(resolve, 1));
    return { ...text, exitCode: this.exec.inspect(execId).exitCode };
  }

  state(id: string): ContainerRecord['state'] {
    return this.containers.resolve(id).state;
  }

  /** The actions of a container's events so far. */
  actionsOf(id: string): string[] {
    return this.seen.filter(({ Actor }) => Actor.ID === id).map(({ Action }) => Action);
  }

  /** Resolves when a container's event comes. */
  async event(id: string, action: string): Promise<EngineEvent> {
    const { promise, resolve, reject } = Promise.withResolvers<EngineEvent>();
    using _subscription = this.events.subscribe((event) => {
      if (event.Actor.ID === id && event.Action === action) resolve(event);
    });
    const timer = setTimeout(() => reject(new Error(`no event ${action} of ${id}`)), 20_000);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }
}

export async function readAll(
  output: AsyncIterable<{ stream: 'stdout' | 'stderr'; data: Buffer }>,
): Promise<{ stdout: string; stderr: string }> {
  const text = { stdout: '', stderr: '' };
  for await (const { stream, data } of output) text[stream] += data.toString();
  return text;
}
