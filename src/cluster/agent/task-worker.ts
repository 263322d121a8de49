import { kindOf, messageOf } from '#model/errors.ts';
import { isTerminal, stateRank, type TaskState, type TaskStatus } from '#model/task.ts';
import type { AssignedTask } from './assigned-task.ts';
import type { TaskContainer, TaskEngine } from './task-engine.ts';

const NANOSECONDS_PER_MS = 1e6;

/**
 * Takes one task from what is to what is wanted, one step at a time, and says what became of it. Level-triggered: every change only
 * wakes it, and it looks at the container anew. It never starts a container twice: what has run is over.
 */
export class TaskWorker {
  readonly #engine: TaskEngine;
  readonly #now: () => string;
  readonly #report: (taskId: string, status: TaskStatus) => void;
  #task: AssignedTask;
  /** What is known to have happened; never goes back. */
  #state: TaskState;
  #preparing: AbortController | undefined;
  #isDirty = false;
  #isWorking = false;
  #isFenced = false;
  #idle: Promise<void> = Promise.resolve();

  constructor(o: {
    task: AssignedTask;
    engine: TaskEngine;
    now: () => string;
    report: (taskId: string, status: TaskStatus) => void;
  }) {
    this.#task = o.task;
    this.#engine = o.engine;
    this.#now = o.now;
    this.#report = o.report;
    this.#state = o.task.state;
  }

  get task(): AssignedTask {
    return this.#task;
  }

  /** What the managers want now. */
  assign(task: AssignedTask): void {
    this.#task = task;
    if (!this.#mayPrepare()) this.#preparing?.abort();
    this.wake();
  }

  /** Ends the task at once, because nobody says any more that it may run. */
  fence(): void {
    this.#isFenced = true;
    this.#preparing?.abort();
    this.wake();
  }

  /** Something may have changed. */
  wake(): void {
    this.#isDirty = true;
    if (this.#isWorking) return;
    this.#isWorking = true;
    this.#idle = this.#work();
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    this.#preparing?.abort();
    await this.#idle;
  }

  async #work(): Promise<void> {
    try {
      while (this.#isDirty) {
        this.#isDirty = false;
        await this.#step();
      }
    } catch (error) {
      this.#tell('failed', 'the engine failed', messageOf(error));
    } finally {
      this.#isWorking = false;
    }
  }

  async #step(): Promise<void> {
    const container = await this.#engine.inspect(this.#task.id);
    if (this.#isFenced) return this.#end(container, 0);
    switch (this.#task.desiredState) {
      case 'shutdown':
      case 'remove':
        return this.#end(container, this.#graceMs());
      case 'ready':
      case 'running':
      case 'complete':
        return this.#advance(container);
    }
  }

  /** SIGTERM, and what it takes; a container that never ran is over as it is. */
  async #end(container: TaskContainer | undefined, graceMs: number): Promise<void> {
    if (container?.state === 'running') await this.#engine.stop({ id: this.#task.id, graceMs });
    if (isTerminal(this.#state)) return;
    const after = await this.#engine.inspect(this.#task.id);
    if (after?.state === 'running') {
      this.#isDirty = true;
      return;
    }
    if (this.#isFenced) this.#tell('failed', 'ended', 'no manager was heard for the fencing time', after);
    else this.#tell('shutdown', 'shutdown', undefined, after);
  }

  async #advance(container: TaskContainer | undefined): Promise<void> {
    if (isTerminal(this.#state)) {
      // somebody started by hand what is over
      if (container?.state === 'running')
        await this.#engine.stop({ id: this.#task.id, graceMs: this.#graceMs() });
      return;
    }
    if (container === undefined && stateRank(this.#state) >= stateRank('ready')) {
      this.#tell('failed', 'failed', 'the container is gone: it was removed by hand, or lost with its node');
      return;
    }
    if (container === undefined) return this.#prepare();
    if (container.state === 'exited') return this.#tellExit(container);
    if (container.state === 'created') return this.#start(container);
    if (container.health === 'unhealthy') {
      await this.#engine.stop({ id: this.#task.id, graceMs: this.#graceMs() });
      this.#tell('failed', 'failed', 'unhealthy container', await this.#engine.inspect(this.#task.id));
      return;
    }
    if (container.health === 'starting') this.#tell('starting', 'starting', undefined, container);
    else this.#tell('running', 'started', undefined, container);
  }

  async #prepare(): Promise<void> {
    this.#tell('preparing', 'preparing');
    const preparing = new AbortController();
    this.#preparing = preparing;
    try {
      await this.#engine.prepare(this.#task, preparing.signal);
      this.#isDirty = true;
    } catch (error) {
      if (preparing.signal.aborted || kindOf(error) === 'cancelled') this.#isDirty = true;
      else this.#tell('rejected', 'preparing', messageOf(error));
    } finally {
      this.#preparing = undefined;
    }
  }

  async #start(container: TaskContainer): Promise<void> {
    this.#tell('ready', 'prepared', undefined, container);
    if (this.#task.desiredState === 'ready') return;
    this.#tell('starting', 'starting', undefined, container);
    try {
      await this.#engine.start(this.#task);
      this.#isDirty = true;
    } catch (error) {
      this.#tell('failed', 'starting', messageOf(error), container);
    }
  }

  #tellExit(container: TaskContainer): void {
    const error = container.exit?.error;
    if (error === undefined) this.#tell('complete', 'finished', undefined, container);
    else this.#tell('failed', 'failed', error, container);
  }

  #tell(State: TaskState, Message: string, Err?: string, container?: TaskContainer): void {
    if (stateRank(State) <= stateRank(this.#state)) return;
    this.#state = State;
    this.#report(this.#task.id, {
      Timestamp: this.#now(),
      State,
      Message,
      ...(Err === undefined ? {} : { Err }),
      ...(container === undefined ? {} : { ContainerStatus: container.status }),
    });
  }

  #mayPrepare(): boolean {
    const { desiredState } = this.#task;
    return desiredState === 'ready' || desiredState === 'running' || desiredState === 'complete';
  }

  #graceMs(): number {
    const { StopGracePeriod = 10e9 } = this.#task.spec.ContainerSpec;
    return StopGracePeriod / NANOSECONDS_PER_MS;
  }
}
