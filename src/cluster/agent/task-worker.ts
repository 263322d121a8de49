import { backoffMs } from '#control/backoff.ts';
import type { Clock } from '#control/clock.ts';
import { pause } from '#control/pause.ts';
import { kindOf, messageOf, unavailable } from '#model/errors.ts';
import { isTerminal, stateRank, type TaskState, type TaskStatus } from '#model/task.ts';
import type { AssignedTask } from './assigned-task.ts';
import { driftOf } from './drift.ts';
import type { TaskContainer, TaskEngine } from './task-engine.ts';

const NANOSECONDS_PER_MS = 1e6;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5000;
/** What hinders a start may be over soon; after so many tries another node may do better. */
const START_ATTEMPTS = 5;

/**
 * Takes one task from what is to what is wanted, one step at a time, and says what became of it. Level-triggered: every change only
 * wakes it, and it looks at the container anew. It never starts a container twice: what has run is over. It never says that a task
 * is over while its container may run: where the engine does not answer, it asks again.
 */
export class TaskWorker {
  readonly #engine: TaskEngine;
  readonly #clock: Clock;
  readonly #report: (taskId: string, status: TaskStatus) => void;
  readonly #onFenced: (taskId: string, number: number) => void;
  readonly #log: (message: string, details: object) => void;
  readonly #over: AbortSignal;
  readonly #leaving = new AbortController();
  #task: AssignedTask;
  /** What is known to have happened; never goes back. */
  #state: TaskState;
  #preparing: AbortController | undefined;
  #waiting: AbortController | undefined;
  #isDirty = false;
  #isWorking = false;
  #isFenced = false;
  /** Whether the engine ends it with the node's lease; undefined while that is not known: a daemon before this one may have said so. */
  #isGuarded: boolean | undefined;
  #confirmed: number | undefined;
  #failedStarts = 0;
  /** Of the process that was seen to run. */
  #pid: number | undefined;
  #idle: Promise<void> = Promise.resolve();

  constructor(o: {
    task: AssignedTask;
    engine: TaskEngine;
    clock: Clock;
    report: (taskId: string, status: TaskStatus) => void;
    /** Hears that the task ends with the node's lease, with the number that the leader wants to hear then. */
    onFenced: (taskId: string, number: number) => void;
    log: (message: string, details: object) => void;
    /** Aborted when the daemon ends; containers run on. */
    signal: AbortSignal;
  }) {
    this.#task = o.task;
    this.#engine = o.engine;
    this.#clock = o.clock;
    this.#report = o.report;
    this.#onFenced = o.onFenced;
    this.#log = o.log;
    this.#over = AbortSignal.any([o.signal, this.#leaving.signal]);
    this.#state = o.task.state;
  }

  get task(): AssignedTask {
    return this.#task;
  }

  /** What the managers want now. */
  assign(task: AssignedTask): void {
    this.#task = task;
    // who asks once more has not heard it
    this.#confirmed = undefined;
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
    this.#waiting?.abort();
    if (this.#isWorking || this.#over.aborted) return;
    this.#isWorking = true;
    this.#idle = this.#work();
  }

  /** Gives the task up as it is; resolves when nothing is under way any more. */
  async settled(): Promise<void> {
    this.#leaving.abort();
    this.#preparing?.abort();
    this.#waiting?.abort();
    await this.#idle;
  }

  async #work(): Promise<void> {
    let failures = 0;
    while (this.#isDirty && !this.#over.aborted) {
      this.#isDirty = false;
      try {
        await this.#step();
        failures = 0;
      } catch (error) {
        if (this.#over.aborted) break;
        this.#log('a step of a task failed', { taskId: this.#task.id, error: messageOf(error) });
        this.#isDirty = true;
        await this.#wait(failures++);
      }
    }
    this.#isWorking = false;
  }

  /** Until it is time to try again, or something changed. */
  async #wait(attempt: number): Promise<void> {
    const waiting = new AbortController();
    this.#waiting = waiting;
    const ms = backoffMs({ attempt, firstMs: FIRST_RETRY_MS, maxMs: LONGEST_RETRY_MS });
    try {
      await pause(this.#clock, ms, AbortSignal.any([waiting.signal, this.#over]));
    } finally {
      this.#waiting = undefined;
    }
  }

  async #step(): Promise<void> {
    const container = await this.#engine.inspect(this.#task.id);
    // what is made later is guarded when it is started
    if (container === undefined) this.#confirmFence();
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
    const after = container?.state === 'running' ? await this.#stop(graceMs) : container;
    if (this.#isFenced) this.#tell('failed', 'ended', 'no manager was heard for the fencing time', after);
    else this.#tell('shutdown', 'shutdown', undefined, after);
  }

  /** The container when it does not run any more; `unavailable` while it does. */
  async #stop(graceMs: number): Promise<TaskContainer | undefined> {
    await this.#engine.stop({ id: this.#task.id, graceMs });
    const after = await this.#engine.inspect(this.#task.id);
    if (after?.state === 'running') throw unavailable('the container still runs after it was stopped');
    return after;
  }

  async #advance(container: TaskContainer | undefined): Promise<void> {
    if (isTerminal(this.#state)) {
      // somebody started by hand what is over
      if (container?.state === 'running') await this.#stop(this.#graceMs());
      return;
    }
    if (container === undefined && stateRank(this.#state) >= stateRank('ready')) {
      this.#tell('failed', 'failed', 'the container is gone: it was removed by hand, or lost with its node');
      return;
    }
    if (container === undefined) return this.#prepare();
    if (container.state === 'exited') return this.#tellExit(container);
    if (container.state === 'created') return this.#start(container);
    if (this.#task.singleWriter !== this.#isGuarded) await this.#startOrGuard();
    if (this.#isGuarded === true) this.#confirmFence();
    const failure = this.#failureOf(container);
    if (failure !== undefined) {
      this.#tell('failed', 'failed', failure, await this.#stop(this.#graceMs()));
      return;
    }
    if (container.health === 'starting') this.#tell('starting', 'starting', undefined, container);
    else this.#tell('running', 'started', undefined, container);
  }

  /** Why a container that runs is not to go on. */
  #failureOf(container: TaskContainer): string | undefined {
    const { PID } = container.status;
    this.#pid ??= PID;
    if (PID !== this.#pid) return 'the container was restarted by hand';
    return (
      driftOf(this.#task, container) ?? (container.health === 'unhealthy' ? 'unhealthy container' : undefined)
    );
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
      else if (!this.#over.aborted) this.#tell('rejected', 'preparing', messageOf(error));
    } finally {
      this.#preparing = undefined;
    }
  }

  async #start(container: TaskContainer): Promise<void> {
    this.#tell('ready', 'prepared', undefined, container);
    if (this.#task.desiredState === 'ready') return;
    this.#tell('starting', 'starting', undefined, container);
    try {
      await this.#startOrGuard();
      this.#isDirty = true;
    } catch (error) {
      // whether it runs all the same is seen, and not concluded
      const after = await this.#engine.inspect(this.#task.id);
      this.#failedStarts += 1;
      if (after?.state === 'running') this.#isDirty = true;
      else if (kindOf(error) === 'unavailable' && this.#failedStarts < START_ATTEMPTS) throw error;
      else this.#tell('failed', 'starting', messageOf(error), after ?? container);
    }
  }

  async #startOrGuard(): Promise<void> {
    const { singleWriter } = this.#task;
    await this.#engine.start(this.#task);
    this.#isGuarded = singleWriter;
  }

  #confirmFence(): void {
    const { id, singleWriter, confirmFence } = this.#task;
    if (!singleWriter || confirmFence === undefined || confirmFence === this.#confirmed) return;
    this.#confirmed = confirmFence;
    this.#onFenced(id, confirmFence);
  }

  #tellExit(container: TaskContainer): void {
    const error = container.exit?.error;
    if (error === undefined) this.#tell('complete', 'finished', undefined, container);
    else this.#tell('failed', 'failed', error, container);
  }

  #tell(State: TaskState, Message: string, Err?: string, container?: TaskContainer): void {
    if (isTerminal(this.#state) || stateRank(State) <= stateRank(this.#state)) return;
    this.#state = State;
    this.#report(this.#task.id, {
      Timestamp: new Date(this.#clock.nowMs()).toISOString(),
      State,
      Message,
      ...(Err === undefined ? {} : { Err }),
      ...(container === undefined ? {} : { ContainerStatus: container.status }),
      ...(container?.ports === undefined ? {} : { PortStatus: { Ports: [...container.ports] } }),
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
