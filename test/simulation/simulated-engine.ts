import type { WriterLease } from '#cluster/agent/agent.ts';
import type { AssignedTask } from '#cluster/agent/assigned-task.ts';
import type { TaskContainer, TaskEngine } from '#cluster/agent/task-engine.ts';
import type { Clock } from '#control/clock.ts';
import { notFound, unavailable } from '#model/errors.ts';
import type { ProcessClock } from './process-clock.ts';
import type { SeededRandom } from './seeded-random.ts';

/** What a container does, by its image's name. */
export const IMAGES = ['good', 'slow', 'checked', 'crashing', 'unhealthy', 'missing', 'finishing'] as const;
export type ImageName = (typeof IMAGES)[number];

/** Images of which tasks stay up. */
export const SOUND_IMAGES: readonly ImageName[] = ['good', 'slow', 'checked'];

export interface SimulatedContainer {
  /** As it was told last. */
  task: AssignedTask;
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
export class SimulatedEngine implements WriterLease {
  readonly containers: Map<string, SimulatedContainer> = new Map();
  /** How many of a hundred calls fail. */
  faultPercent = 0;
  /** Nobody can be found who keeps the lease. */
  hasKeeper = true;
  readonly #clock: Clock;
  readonly #random: SeededRandom;
  readonly #onStart: (task: AssignedTask) => void;
  readonly #onPrepare: (task: AssignedTask) => void;
  readonly #onChange: () => void;
  readonly #forever: AbortSignal = new AbortController().signal;
  #leaseEndsMs = 0;
  #isKept = false;
  readonly #watchers = new Set<(taskId: string) => Promise<void>>();

  constructor(o: {
    clock: Clock;
    random: SeededRandom;
    /** Called when a container has just begun to run. */
    onStart: (task: AssignedTask) => void;
    /** Called with all that is given for a container that is about to be made. */
    onPrepare: (task: AssignedTask) => void;
    /** Called when a container has begun or ceased to run, or to be healthy. */
    onChange: () => void;
  }) {
    this.#clock = o.clock;
    this.#random = o.random;
    this.#onStart = o.onStart;
    this.#onPrepare = o.onPrepare;
    this.#onChange = o.onChange;
  }

  get running(): SimulatedContainer[] {
    return [...this.containers.values()].filter(({ state }) => state === 'running');
  }

  /** The machine loses power: nothing runs any more, what was made is still there. */
  crash(): void {
    for (const container of this.running) this.#exit(container, 137, 'the machine restarted');
  }

  /** The machine is taken out of the cluster for good. */
  clear(): void {
    this.crash();
    this.containers.clear();
  }

  /** The lease of single writers, which lasts whatever becomes of the daemon. */
  async renew(validMs: number): Promise<void> {
    if (!this.hasKeeper) throw unavailable('the keeper of the lease could not be started');
    this.#leaseEndsMs = Math.max(this.#leaseEndsMs, this.#clock.monotonicMs() + validMs);
  }

  /** A process of its own: ends single writers within a second from when their lease has run out. */
  async #keep(): Promise<void> {
    if (this.#isKept) return;
    this.#isKept = true;
    while (this.running.some(({ task }) => task.singleWriter)) {
      const leftMs = this.#leaseEndsMs - this.#clock.monotonicMs();
      if (leftMs <= 0) {
        for (const container of this.running) {
          if (container.task.singleWriter) this.#exit(container, 137, 'task: non-zero exit (137)');
        }
      }
      await this.#clock.sleep(Math.min(Math.max(leftMs, 10), this.#random.between(100, 900)), this.#forever);
    }
    this.#isKept = false;
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
  handle(clock: ProcessClock, killed: AbortSignal): TaskEngine {
    const alive = async (low: number, high: number): Promise<void> => {
      if (high > 0) await clock.sleep(this.#random.between(low, high), killed);
      else await clock.awake();
      if (killed.aborted) throw unavailable('the daemon was killed');
    };
    const works = async (low: number, high: number): Promise<void> => {
      await alive(low, high);
      if (this.faultPercent > 0 && this.#random.chance(this.faultPercent))
        throw unavailable('the engine did not answer');
    };
    return {
      list: async () => {
        await works(0, 2);
        return [...this.containers.values()].map(viewOf);
      },
      inspect: async (taskId) => {
        await works(0, 0);
        const container = this.containers.get(taskId);
        return container === undefined ? undefined : viewOf(container);
      },
      prepare: async (task, signal) => {
        const image = imageOf(task);
        const wait = image === 'slow' ? 3000 : 100;
        this.#onPrepare(task);
        await clock.sleep(this.#random.between(1, wait), AbortSignal.any([signal, killed]));
        await works(0, 0);
        if (image === 'missing') throw notFound('No such image: missing');
        if (!this.containers.has(task.id)) this.containers.set(task.id, made(task));
      },
      start: async (task) => {
        await works(1, 30);
        const container = this.containers.get(task.id);
        if (container === undefined) throw notFound(`no container of task ${task.id}`);
        if (task.singleWriter && container.state !== 'exited' && !this.#isLeased)
          throw unavailable('the node has not heard of a manager lately');
        if (container.state === 'created') this.#run(container);
        container.task = task;
        if (task.singleWriter) void this.#keep();
        // it did what was asked, and the answer is lost
        await works(0, 0);
        return viewOf(container);
      },
      stop: async ({ id, graceMs = 10_000 }) => {
        await works(0, 1);
        const container = this.containers.get(id);
        if (container?.state !== 'running') return;
        await alive(0, Math.min(graceMs, 500));
        this.#exit(container, 143, undefined);
      },
      remove: async (taskId) => {
        await works(0, 5);
        const container = this.containers.get(taskId);
        if (container === undefined) return;
        this.#exit(container, 137, undefined);
        this.containers.delete(taskId);
      },
      watch: (onChange, signal) => {
        const watcher = async (taskId: string): Promise<void> => {
          await clock.awake();
          onChange(taskId);
        };
        this.#watchers.add(watcher);
        const stop = (): void => void this.#watchers.delete(watcher);
        signal.addEventListener('abort', stop, { once: true });
        killed.addEventListener('abort', stop, { once: true });
      },
    };
  }

  get #isLeased(): boolean {
    return this.#clock.monotonicMs() < this.#leaseEndsMs;
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
    this.#onChange();
    for (const watcher of this.#watchers) void watcher(taskId);
  }
}

export function imageOf(task: Pick<AssignedTask, 'spec'>): ImageName {
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
