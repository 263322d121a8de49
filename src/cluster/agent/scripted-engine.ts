import { unavailable } from '#model/errors.ts';
import type { AssignedTask } from './assigned-task.ts';
import type { TaskContainer, TaskEngine } from './task-engine.ts';

type Call = 'list' | 'prepare' | 'start' | 'stop' | 'remove' | 'inspect';

/** For tests: an engine whose containers do what the test says, and whose calls fail when it says so. */
export class ScriptedEngine implements TaskEngine {
  readonly containers: Map<string, TaskContainer> = new Map();
  readonly calls: string[] = [];
  /** Thrown by the next calls of a kind, one each. */
  readonly failures: Map<Call, Error[]> = new Map();
  /** Starts do what they do before they fail. */
  startsAnyway = false;
  /** What stop does not end. */
  readonly stubborn: Set<string> = new Set();
  #listeners: ((taskId: string) => void)[] = [];

  fail(call: Call, times: number, error: Error = unavailable('the engine did not answer')): void {
    this.failures.set(call, Array(times).fill(error));
  }

  /** Something happens to a container by itself, or by hand. */
  happens(taskId: string, change: Partial<TaskContainer>): void {
    this.#put(taskId, change);
    for (const listener of this.#listeners) listener(taskId);
  }

  async list(): Promise<readonly TaskContainer[]> {
    this.#call('list');
    return [...this.containers.values()];
  }

  async inspect(taskId: string): Promise<TaskContainer | undefined> {
    this.#call('inspect');
    return this.containers.get(taskId);
  }

  async prepare({ id }: AssignedTask): Promise<void> {
    this.#call('prepare', id);
    this.#put(id, {});
  }

  async start({ id }: AssignedTask): Promise<TaskContainer> {
    if (this.startsAnyway) this.#put(id, { state: 'running', health: 'healthy' });
    this.#call('start', id);
    return this.#put(id, { state: 'running', health: 'healthy' });
  }

  async stop({ id }: { id: string }): Promise<void> {
    this.#call('stop', id);
    const exit = { exitCode: 0, finishedAt: '', error: undefined };
    if (!this.stubborn.has(id)) this.#put(id, { state: 'exited', exit });
  }

  async remove(taskId: string): Promise<void> {
    this.#call('remove', taskId);
    this.containers.delete(taskId);
  }

  watch(onChange: (taskId: string) => void): void {
    this.#listeners.push(onChange);
  }

  #put(taskId: string, change: Partial<TaskContainer>): TaskContainer {
    const status = { ContainerID: `of ${taskId}`, PID: 1, ExitCode: 0 };
    const known = this.containers.get(taskId);
    const made: TaskContainer = {
      ...{ taskId, state: 'created', health: 'starting', status, exit: undefined },
      ...known,
      ...change,
    };
    this.containers.set(taskId, made);
    return made;
  }

  #call(call: Call, taskId?: string): void {
    if (taskId !== undefined) this.calls.push(`${call} ${taskId}`);
    const error = this.failures.get(call)?.shift();
    if (error !== undefined) throw error;
  }
}
