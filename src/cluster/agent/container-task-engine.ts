import { KeyedMutex } from '#control/keyed-mutex.ts';
import type { ContainerEngine, LogOptions } from '#engine/containers/container-engine.ts';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { ImageStore } from '#engine/images/image-store.ts';
import type { LogRecord } from '#engine/runtime/log-reader.ts';
import type { ContainerRecord, MountSpec } from '#model/container.ts';
import { cancelled, DroverError, internal, kindOf, notFound } from '#model/errors.ts';
import type { ImagePuller } from '#registry/image-puller.ts';
import type { AssignedTask } from './assigned-task.ts';
import type { TaskFence } from './fence.ts';
import { type FetchImage, ImageSupply } from './image-supply.ts';
import { containerRequestOf, NODE_ID_LABEL, SERVICE_ID_LABEL } from './task-container.ts';
import type { TaskContainer, TaskEngine } from './task-engine.ts';
import { TaskFiles } from './task-files.ts';
import { TaskIndex } from './task-index.ts';
import { taskContainerOf } from './task-status.ts';

/** A line that a task wrote, and which task. */
export interface TaskLogRecord extends LogRecord {
  readonly taskId: string;
  readonly serviceId: string;
  readonly nodeId: string;
}

/**
 * Tasks as containers of this node's engine. It keeps nothing of its own but an index: what is there is told from containers by their
 * labels and from the directories of secrets, so a daemon that was killed goes on where it was. Made when the container engine has
 * started; containers run on when it is closed.
 */
export class ContainerTaskEngine implements TaskEngine, Disposable {
  readonly #containers: ContainerEngine;
  readonly #images: ImageSupply;
  readonly #files: TaskFiles;
  readonly #index: TaskIndex;
  readonly #fence: TaskFence | undefined;
  /** One start at a time of each task: the second finds what the first has made of it. */
  readonly #starting = new KeyedMutex();
  readonly #preparing = new Map<string, Set<AbortController>>();
  /** Tasks whose containers were stopped from here. */
  readonly #stopped = new Set<string>();

  constructor(o: {
    containers: ContainerEngine;
    images: ImageStore;
    puller: Pick<ImagePuller, 'pull'>;
    events: EventBus;
    execRoot: string;
    /** Asked for images that no registry has. */
    fetchImage?: FetchImage;
    /** Without it single writers are not fenced. */
    fence?: TaskFence;
  }) {
    this.#containers = o.containers;
    this.#images = new ImageSupply(o);
    this.#files = new TaskFiles(o);
    this.#fence = o.fence;
    this.#index = new TaskIndex(o);
    this.#index.watch((taskId) => this.#noticeEnd(taskId));
    this.#removeStrays();
  }

  [Symbol.dispose](): void {
    this.#index[Symbol.dispose]();
  }

  /** What a crash left of tasks that have no container, or none that runs. */
  #removeStrays(): void {
    for (const taskId of this.#files.tasks()) {
      if (this.#find(taskId) === undefined) this.#files.remove(taskId);
    }
    for (const taskId of this.#fence?.guarded() ?? []) this.#noticeEnd(taskId);
  }

  #noticeEnd(taskId: string): void {
    if (this.#find(taskId)?.state.Running !== true && !this.#starting.isBusy(taskId)) {
      this.#fence?.release(taskId);
    }
  }

  async list(): Promise<readonly TaskContainer[]> {
    return this.#index.tasks().flatMap((taskId) => this.#look(taskId) ?? []);
  }

  async inspect(taskId: string): Promise<TaskContainer | undefined> {
    return this.#look(taskId);
  }

  /** `onChange` is called while the engine announces the change: it must not throw, and it is told of what is so already. */
  watch(onChange: (taskId: string) => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    const stop = this.#index.watch(onChange);
    signal.addEventListener('abort', () => stop[Symbol.dispose](), { once: true });
  }

  async prepare(task: AssignedTask, signal: AbortSignal): Promise<void> {
    if (this.#find(task.id) !== undefined) return;
    const request = containerRequestOf(task);
    const image = request.config.Image ?? '';
    const removed = new AbortController();
    const all = this.#preparing.get(task.id) ?? new Set();
    this.#preparing.set(task.id, all.add(removed));
    try {
      const either = AbortSignal.any([signal, removed.signal]);
      await this.#images.ensure(image, { registryAuth: task.registryAuth, signal: either });
      // from here on nothing is waited for: nobody else makes, removes or cancels the task in between
      if (either.aborted) throw cancelled(`preparing task ${task.id} was cancelled`);
      if (this.#find(task.id) !== undefined) return;
      await this.#create(task, (files) => ({
        ...request,
        hostConfig: { ...request.hostConfig, Mounts: [...(request.hostConfig.Mounts ?? []), ...files] },
      }));
    } catch (error) {
      throw asTaskError(error);
    } finally {
      all.delete(removed);
      if (all.size === 0) this.#preparing.delete(task.id);
    }
  }

  async #create(
    task: AssignedTask,
    request: (files: MountSpec[]) => ReturnType<typeof containerRequestOf>,
  ): Promise<void> {
    try {
      await this.#containers.create(request(this.#files.write(task)));
    } catch (error) {
      if (this.#find(task.id) === undefined) this.#files.remove(task.id);
      throw error;
    }
  }

  async start(task: AssignedTask): Promise<TaskContainer> {
    try {
      return await this.#starting.run(task.id, () => this.#start(task));
    } catch (error) {
      throw asTaskError(error);
    } finally {
      this.#noticeEnd(task.id);
    }
  }

  async #start(task: AssignedTask): Promise<TaskContainer> {
    const record = this.#find(task.id);
    if (record === undefined) throw notFound(`No such container: task ${task.id} is not prepared`);
    const isNew = record.state.Status === 'created';
    if (task.singleWriter && (isNew || record.state.Running)) {
      const cgroup = this.#containers.cgroupPath(record.id);
      await this.#fence?.guard({ taskId: task.id, cgroup });
    } else if (!task.singleWriter) this.#fence?.release(task.id);
    if (isNew) {
      // the machine may have been restarted since it was prepared
      this.#files.write(task);
      await unless('not-modified', this.#containers.startContainer(record.id));
    }
    const started = this.#look(task.id);
    if (started === undefined) throw notFound(`No such container: task ${task.id} was removed`);
    return started;
  }

  async stop(task: { id: string; graceMs?: number }): Promise<void> {
    const record = this.#find(task.id);
    if (record === undefined || !record.state.Running) return;
    const timeout = task.graceMs === undefined ? {} : { timeoutSeconds: Math.max(0, task.graceMs) / 1000 };
    this.#stopped.add(task.id);
    const stopping = this.#containers.stopContainer(record.id, timeout);
    await unless('not-modified', unless('not-found', stopping));
  }

  async remove(taskId: string): Promise<void> {
    for (const preparing of this.#preparing.get(taskId) ?? []) preparing.abort();
    const containerId = this.#index.containerOf(taskId);
    if (containerId !== undefined) await unless('not-found', this.#removeContainer(containerId));
    this.#files.remove(taskId);
    this.#stopped.delete(taskId);
    this.#fence?.release(taskId);
  }

  async #removeContainer(id: string): Promise<void> {
    const gone = new AbortController();
    const removed = this.#containers.wait(id, 'removed', gone.signal);
    // it is waited for only where somebody else removes it
    removed.catch(() => undefined);
    try {
      await this.#containers.remove(id, { force: true, volumes: true, link: false });
    } catch (error) {
      if (kindOf(error) !== 'conflict') throw error;
      const { Error: failure } = await removed;
      if (failure !== undefined) throw internal(failure.Message, { cause: error });
    } finally {
      gone.abort();
    }
  }

  /** What a task wrote, with whose it is. `not-found` where there is no container of it, `invalid` where it keeps no log. */
  taskLogs(taskId: string, o: LogOptions): AsyncIterable<TaskLogRecord> {
    const record = this.#find(taskId);
    if (record === undefined) throw notFound(`No such task: ${taskId}`);
    const { Labels } = record.config;
    return withIdentity(this.#containers.logs(record.id, o).records, {
      taskId,
      serviceId: Labels[SERVICE_ID_LABEL] ?? '',
      nodeId: Labels[NODE_ID_LABEL] ?? '',
    });
  }

  #look(taskId: string): TaskContainer | undefined {
    const record = this.#find(taskId);
    if (record === undefined) return undefined;
    return taskContainerOf(record, { isStoppedHere: this.#stopped.has(taskId) });
  }

  #find(taskId: string): ContainerRecord | undefined {
    const id = this.#index.containerOf(taskId);
    // one that is gone may be about to be announced so
    return id !== undefined && this.#containers.has(id) ? this.#containers.resolve(id) : undefined;
  }
}

async function* withIdentity(
  records: AsyncIterable<LogRecord>,
  identity: Pick<TaskLogRecord, 'taskId' | 'serviceId' | 'nodeId'>,
): AsyncGenerator<TaskLogRecord> {
  for await (const record of records) yield { ...record, ...identity };
}

/** Waits; an error of this kind is success. */
async function unless(kind: ReturnType<typeof kindOf>, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (kindOf(error) !== kind) throw error;
  }
}

/** The engine's errors as the agent tells them apart: what no second try mends is `invalid` or `not-found`. */
function asTaskError(error: unknown): unknown {
  if (!(error instanceof DroverError)) return error;
  const { message, hint } = error;
  const details = { cause: error, ...(hint === undefined ? {} : { hint }) };
  switch (error.kind) {
    case 'not-implemented':
    case 'forbidden':
    case 'unauthorized':
      return new DroverError('invalid', message, details);
    case 'conflict':
    case 'not-modified':
      return new DroverError('unavailable', message, details);
    case 'not-found':
    case 'invalid':
    case 'unavailable':
    case 'cancelled':
    case 'internal':
      return error;
  }
}
