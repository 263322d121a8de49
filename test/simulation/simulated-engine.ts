import type { AssignedTask } from '#cluster/agent/assigned-task.ts';
import type { TaskContainer, TaskEngine } from '#cluster/agent/task-engine.ts';
import type { Clock } from '#control/clock.ts';
import { notFound, unavailable } from '#model/errors.ts';
import type { SeededRandom } from './seeded-random.ts';

/** What a container does, by its image's name. */
export const IMAGES = ['good', 'slow', 'checked', 'crashing', 'unhealthy', 'missing', 'finishing'] as const;
export type ImageName = (typeof IMAGES)[number];

/** Images of which tasks stay up. */
export const SOUND_IMAGES: readonly ImageName[] = ['good', 'slow', 'checked'];

export interface SimulatedContainer {
  readonly task: AssignedTask;
  state: TaskContainer['state'];
  health: TaskContainer['health'];
  exitCode: number;
  error: string | undefined;
  /** Ends what its image does over time. */
  readonly life: AbortController;
}

/**
 * The containers of one simulated machine. They outlive the daemon, as real ones do: a daemon has a {@link handle}, which fails when it
 * is killed; the containers go on, and a later daemon finds them.
 */
export class SimulatedEngine {
  readonly containers: Map<string, SimulatedContainer> = new Map();
  readonly #clock: Clock;
  readonly #random: SeededRandom;
  readonly #onStart: (task: AssignedTask) => void;
  readonly #onStop: (task: AssignedTask) => void;
  readonly #watchers = new Set<(taskId: string) => void>();

  constructor(o: {
    clock: Clock;
    random: SeededRandom;
    /** Called when a container has just begun to run. */
    onStart: (task: AssignedTask) => void;
    /** Called when a running container is about to be ended from outside. */
    onStop: (task: AssignedTask) => void;
  }) {
    this.#clock = o.clock;
    this.#random = o.random;
    this.#onStart = o.onStart;
    this.#onStop = o.onStop;
  }

  get running(): SimulatedContainer[] {
    return [...this.containers.values()].filter(({ state }) => state === 'running');
  }

  /** The machine loses power: nothing runs any more, what was made is still there. */
  crash(): void {
    for (const container of this.running) this.#exit(container, 137, 'the machine restarted');
  }

  /** What a keeper of the lease does when the daemon is dead. */
  fence(): void {
    for (const container of this.running) {
      if (container.task.singleWriter) this.#exit(container, 137, 'fenced');
    }
  }

  /** Somebody meddles with a container by hand. */
  meddle(taskId: string, how: 'stop' | 'remove'): void {
    const container = this.containers.get(taskId);
    if (container === undefined) return;
    this.#exit(container, 137, 'task: non-zero exit (137)');
    if (how === 'remove') this.containers.delete(taskId);
    this.#changed(taskId);
  }

  /** A daemon's way to the containers; it fails from when `killed` aborts. */
  handle(killed: AbortSignal): TaskEngine {
    const alive = async (low: number, high: number): Promise<void> => {
      if (high > 0) await this.#clock.sleep(this.#random.between(low, high), killed);
      if (killed.aborted) throw unavailable('the daemon was killed');
    };
    return {
      list: async () => {
        await alive(0, 2);
        return [...this.containers.values()].map(viewOf);
      },
      inspect: async (taskId) => {
        await alive(0, 0);
        const container = this.containers.get(taskId);
        return container === undefined ? undefined : viewOf(container);
      },
      prepare: async (task, signal) => {
        const image = imageOf(task);
        const wait = image === 'slow' ? 3000 : 100;
        await this.#clock.sleep(this.#random.between(1, wait), AbortSignal.any([signal, killed]));
        if (image === 'missing') throw notFound('No such image: missing');
        if (!this.containers.has(task.id)) this.containers.set(task.id, made(task));
      },
      start: async (task) => {
        await alive(1, 30);
        const container = this.containers.get(task.id);
        if (container === undefined) throw notFound(`no container of task ${task.id}`);
        if (container.state === 'created') this.#run(container);
        return viewOf(container);
      },
      stop: async ({ id, graceMs = 10_000 }) => {
        await alive(0, 1);
        const container = this.containers.get(id);
        if (container?.state !== 'running') return;
        this.#onStop(container.task);
        await alive(0, Math.min(graceMs, 500));
        this.#exit(container, 143, undefined);
      },
      remove: async (taskId) => {
        await alive(0, 5);
        const container = this.containers.get(taskId);
        if (container === undefined) return;
        if (container.state === 'running') this.#onStop(container.task);
        this.#exit(container, 137, undefined);
        this.containers.delete(taskId);
      },
      watch: (onChange, signal) => {
        this.#watchers.add(onChange);
        const stop = (): void => void this.#watchers.delete(onChange);
        signal.addEventListener('abort', stop, { once: true });
        killed.addEventListener('abort', stop, { once: true });
      },
    };
  }

  #run(container: SimulatedContainer): void {
    const image = imageOf(container.task);
    container.state = 'running';
    container.health = image === 'checked' || image === 'unhealthy' ? 'starting' : 'healthy';
    this.#onStart(container.task);
    this.#changed(container.task.id);
    if (image !== 'good' && image !== 'slow') {
      this.#live(container, image).catch(() => undefined);
    }
  }

  async #live(container: SimulatedContainer, image: ImageName): Promise<void> {
    await this.#clock.sleep(this.#random.between(50, 2500), container.life.signal);
    switch (image) {
      case 'checked':
        container.health = 'healthy';
        break;
      case 'unhealthy':
        container.health = 'unhealthy';
        break;
      case 'crashing':
        this.#exit(container, 1, 'task: non-zero exit (1)');
        break;
      case 'finishing':
        this.#exit(container, 0, undefined);
        break;
      default:
        return;
    }
    this.#changed(container.task.id);
  }

  #exit(container: SimulatedContainer, exitCode: number, error: string | undefined): void {
    container.life.abort();
    if (container.state === 'exited') return;
    container.state = 'exited';
    container.exitCode = exitCode;
    container.error = error;
    this.#changed(container.task.id);
  }

  #changed(taskId: string): void {
    for (const watcher of this.#watchers) watcher(taskId);
  }
}

export function imageOf(task: AssignedTask): ImageName {
  const name = task.spec.ContainerSpec.Image.split(':', 1)[0];
  return IMAGES.find((image) => image === name) ?? 'good';
}

function made(task: AssignedTask): SimulatedContainer {
  return {
    task,
    state: 'created',
    health: 'starting',
    exitCode: 0,
    error: undefined,
    life: new AbortController(),
  };
}

function viewOf(container: SimulatedContainer): TaskContainer {
  const { task, state, health, exitCode, error } = container;
  return {
    taskId: task.id,
    state,
    health,
    status: {
      ContainerID: `container-of-${task.id}`,
      PID: state === 'running' ? 4242 : 0,
      ExitCode: exitCode,
    },
    exit: state === 'exited' ? { exitCode, finishedAt: '2030-01-01T00:00:00.000Z', error } : undefined,
  };
}
