import type { ContainerEngine } from '#engine/containers/container-engine.ts';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { EngineEvent } from '#model/event.ts';
import { TASK_ID_LABEL } from './task-container.ts';

/** What makes a task's container another one than it was; health comes with its outcome. */
const CHANGES: readonly string[] = [
  ...['create', 'start', 'die', 'oom', 'destroy'],
  ...['pause', 'unpause', 'rename', 'update'],
];

/** What comes before the container's record says so. */
const ANNOUNCED_EARLY: readonly string[] = ['connect', 'disconnect'];

/** Which container is which task's, by label, kept by the engine's events from what is there when it is made. */
export class TaskIndex implements Disposable {
  readonly #containerOfTask = new Map<string, string>();
  readonly #listeners = new Set<(taskId: string) => void>();
  readonly #containers: Pick<ContainerEngine, 'has' | 'resolve'>;
  readonly #subscription: Disposable;

  constructor(o: { containers: ContainerEngine; events: EventBus }) {
    this.#containers = o.containers;
    this.#subscription = o.events.subscribe((event) => this.#apply(event));
    for (const { id, config } of o.containers.list({ all: true, limit: 0, filters: {} })) {
      const taskId = config.Labels[TASK_ID_LABEL];
      if (taskId !== undefined) this.#containerOfTask.set(taskId, id);
    }
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
    this.#listeners.clear();
  }

  containerOf(taskId: string): string | undefined {
    return this.#containerOfTask.get(taskId);
  }

  tasks(): string[] {
    return [...this.#containerOfTask.keys()];
  }

  /** Calls back for each change of a task's container, when the index knows of it already. */
  watch(onChange: (taskId: string) => void): Disposable {
    // a listener of its own, so that the same function can watch twice
    const listener = (taskId: string): void => onChange(taskId);
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  #apply(event: EngineEvent): void {
    if (event.Type === 'network') this.#applyToNetwork(event);
    else this.#applyToContainer(event);
  }

  #applyToNetwork({ Action, Actor }: EngineEvent): void {
    const id = Actor.Attributes['container'] ?? '';
    if (!ANNOUNCED_EARLY.includes(Action) || !this.#containers.has(id)) return;
    const taskId = this.#containers.resolve(id).config.Labels[TASK_ID_LABEL];
    if (taskId === undefined || this.#containerOfTask.get(taskId) !== id) return;
    queueMicrotask(() => this.#tell(taskId));
  }

  #tell(taskId: string): void {
    for (const listener of [...this.#listeners]) listener(taskId);
  }

  #applyToContainer({ Type, Action, Actor }: EngineEvent): void {
    const taskId = Type === 'container' ? Actor.Attributes[TASK_ID_LABEL] : undefined;
    if (taskId === undefined) return;
    // a container that somebody gave the label of a task that has one is not it
    if (Action === 'create' && !this.#hasContainer(taskId)) this.#containerOfTask.set(taskId, Actor.ID);
    if (this.#containerOfTask.get(taskId) !== Actor.ID) return;
    if (Action === 'destroy') this.#containerOfTask.delete(taskId);
    if (CHANGES.includes(Action) || Action.startsWith('health_status')) this.#tell(taskId);
  }

  /** False also for one that is gone, and about to be announced so. */
  #hasContainer(taskId: string): boolean {
    const known = this.#containerOfTask.get(taskId);
    return known !== undefined && this.#containers.has(known);
  }
}
