import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ContainerTaskEngine } from '#cluster/agent/container-task-engine.ts';
import { Fence } from '#cluster/agent/fence.ts';
import type { TaskContainer } from '#cluster/agent/task-engine.ts';
import { processStartTime } from '#linux/process-identity.ts';
import { notFound } from '#model/errors.ts';
import type { ImagePuller } from '#registry/image-puller.ts';
import { EngineFixture, type Roots } from '../containers/engine-fixture.ts';

/** An engine that runs tasks, and knows no registry. */
export class TaskEngineFixture {
  readonly engine: EngineFixture;
  readonly tasks: ContainerTaskEngine;
  readonly fence: Fence;
  readonly changed: string[] = [];
  readonly #closed = new AbortController();
  #puller: Pick<ImagePuller, 'pull'> = {
    pull: async ({ reference }) => {
      throw notFound(`pull access denied for ${reference.familiar}`);
    },
  };

  private constructor(engine: EngineFixture) {
    this.engine = engine;
    this.fence = new Fence(engine.roots);
    this.tasks = new ContainerTaskEngine({
      containers: engine.containers,
      images: engine.images,
      events: engine.events,
      execRoot: engine.roots.execRoot,
      fence: this.fence,
      puller: { pull: (request) => this.#puller.pull(request) },
    });
    this.tasks.watch((taskId) => this.changed.push(taskId), this.#closed.signal);
  }

  /** Pulls by this from now on; before, there is no registry. */
  usePuller(puller: Pick<ImagePuller, 'pull'>): void {
    this.#puller = puller;
  }

  static async make(bridge: 'dvc5' | 'dvc6' = 'dvc5'): Promise<TaskEngineFixture> {
    return new TaskEngineFixture(await EngineFixture.make(bridge));
  }

  static async takeOver(roots: Roots): Promise<TaskEngineFixture> {
    return new TaskEngineFixture(await EngineFixture.takeOver(roots));
  }

  /** What a killed daemon leaves. */
  async die(): Promise<Roots> {
    this.#close();
    return await this.engine.die();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { taskId } of await this.tasks.list()) await this.tasks.remove(taskId);
    this.#close();
    const keeper = keeperOf(this.engine.roots);
    await this.engine[Symbol.asyncDispose]();
    while (keeper !== undefined && processStartTime(keeper) !== undefined) await delay(10);
  }

  #close(): void {
    this.#closed.abort();
    this.tasks[Symbol.dispose]();
  }

  /** The task as soon as `holds` does of it, told by the engine's own announcements. */
  async until(
    taskId: string,
    holds: (task: TaskContainer | undefined) => boolean,
  ): Promise<TaskContainer | undefined> {
    using stop = new DisposableStack();
    const { promise, resolve, reject } = Promise.withResolvers<TaskContainer | undefined>();
    const look = (): void => {
      this.tasks.inspect(taskId).then((task) => {
        if (holds(task)) resolve(task);
      }, reject);
    };
    const watching = new AbortController();
    stop.defer(() => watching.abort());
    this.tasks.watch((changed) => {
      if (changed === taskId) look();
    }, watching.signal);
    const limit = setTimeout(() => reject(new Error(`task ${taskId} did not come to it`)), 20_000);
    stop.defer(() => clearTimeout(limit));
    look();
    return await promise;
  }
}

/** The process that ends single writers; undefined where there is none. */
export function keeperOf({ execRoot }: Roots): number | undefined {
  const file = join(execRoot, 'fence/keeper');
  return existsSync(file) ? Number(readFileSync(file, 'utf8').split(' ')[1]) : undefined;
}
