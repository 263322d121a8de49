import { conflict, DroverError, internal, messageOf, notModified } from '#model/errors.ts';
import { cleanUpRun, leaveNetworks } from './container-cleanup.ts';
import { discardContainer } from './container-discard.ts';
import { publishContainerEvent } from './container-events.ts';
import type { ContainerParts } from './container-parts.ts';
import { startProcess } from './container-start.ts';
import {
  exitedState,
  hasProcess,
  releasedEndpoint,
  restartingState,
  runningState,
} from './container-state.ts';
import type { StoredContainer } from './container-table.ts';
import { planOfContainer, watchContainerHealth } from './health-probe.ts';
import { nextRestart, shouldRestart } from './restart-policy.ts';
import { timestamp, timestampOf } from './timestamp.ts';

/** What a container is marked with whose end nobody saw. */
export const UNSEEN_EXIT_CODE = 255;
/** How long a container may run without a monitor before that is noticed. */
const PATROL_MS = 5000;
/** How long the monitor of an ended process may take to write down how it ended. */
const MONITOR_GRACE_MS = 2000;

/** How a process ended, as the runtime tells it. */
export interface ProcessEnd {
  exitCode: number;
  oomKilled: boolean;
  finishedAt: string;
}

/**
 * A container's way from start to end and back, under its restart policy, and out of the world.
 *
 * `start` and `remove` are called while the container's mutex is held; `ended` needs no mutex, as an end comes when
 * it comes, and is one synchronous step: nobody sees a container that is neither running nor exited.
 */
export class ContainerLifecycle {
  readonly #parts: ContainerParts;
  readonly #patrol = new AbortController();
  #stopped = false;

  constructor(parts: ContainerParts) {
    this.#parts = parts;
  }

  /** Nothing is watched or restarted from now on; containers run on. */
  stop(): void {
    this.#stopped = true;
    this.#patrol.abort();
    for (const { id } of this.#parts.table.all()) this.#parts.live(id).stopWatching();
  }

  /** Starts a container that has no process. What failed is in its state; a `--rm` one is removed then. */
  async start(record: StoredContainer, o: { byPolicy: boolean }): Promise<void> {
    const { table, events } = this.#parts;
    const live = this.#parts.live(record.id);
    // until it runs, a container that its policy restarts counts as restarting
    if (!o.byPolicy) this.callOffRestart(record);
    await live.cleanup;
    record.unfinished = 'start';
    record.stoppedByUser = false;
    if (!o.byPolicy) {
      record.restartCount = 0;
      delete record.quickRestarts;
    }
    table.save(record);
    try {
      await startProcess(this.#parts, record, live);
    } catch (error) {
      await this.#startFailed(record, error);
      throw error;
    }
    delete record.unfinished;
    record.state = runningState(record.state, {
      pid: record.state.Pid,
      startedAt: timestamp(),
      hasHealthCheck: planOfContainer(record) !== undefined,
    });
    table.save(record);
    publishContainerEvent(events, 'start', record);
    this.watch(record);
  }

  async #startFailed(record: StoredContainer, error: unknown): Promise<void> {
    const live = this.#parts.live(record.id);
    delete record.unfinished;
    record.state = {
      ...record.state,
      Status: record.state.Status === 'created' ? 'created' : 'exited',
      Running: false,
      Restarting: false,
      Pid: 0,
      Error: messageOf(error),
      ExitCode: exitCodeOfFailure(error),
    };
    record.ports = {};
    this.#parts.table.save(record);
    live.endSessions();
    if (record.hostConfig.AutoRemove && !live.keepAtExit) await this.remove(record, { volumes: true });
  }

  /**
   * Looks for containers whose monitor was killed: nobody would read what they write or see their end. Such a container is
   * ended, and its restart policy decides what comes then. Goes on until `stop`.
   */
  patrol(): void {
    const { clock, table, log } = this.#parts;
    const { signal } = this.#patrol;
    const round = async (): Promise<void> => {
      for (;;) {
        await clock.sleep(PATROL_MS, signal);
        for (const record of table.all()) if (hasProcess(record.state)) this.#endIfUnmonitored(record);
      }
    };
    round().catch((error: unknown) => {
      if (!signal.aborted) log.error({ error: messageOf(error) }, 'monitors are not looked after any more');
    });
  }

  #endIfUnmonitored(record: StoredContainer): void {
    const { runtime, log } = this.#parts;
    // In this order: a monitor writes how its container ended before it ends itself.
    if (runtime.isMonitored(record.id) || runtime.exitStatus(record.id) !== undefined) return;
    log.warn({ container: record.id }, 'the monitor is gone; ending the container');
    this.ended(record, { exitCode: UNSEEN_EXIT_CODE, oomKilled: false, finishedAt: timestamp() });
  }

  /** Follows a running container to its end, and its health on the way. */
  watch(record: StoredContainer): void {
    if (this.#stopped) return;
    const { runtime, log, clock } = this.#parts;
    const live = this.#parts.live(record.id);
    const watch = new AbortController();
    live.watch = watch;
    runtime.exited(record.id, watch.signal).then(
      (end) => {
        if (!watch.signal.aborted) this.ended(record, end);
      },
      (error: unknown) => {
        if (watch.signal.aborted) return;
        log.error({ container: record.id, error: messageOf(error) }, 'the end of the container was not seen');
        this.ended(record, { exitCode: UNSEEN_EXIT_CODE, oomKilled: false, finishedAt: timestamp() });
      },
    );
    const plan = planOfContainer(record);
    if (plan === undefined) return;
    const health = new AbortController();
    live.health = health;
    watchContainerHealth(this.#parts, record, plan, { clock, signal: health.signal }).catch(
      (error: unknown) => {
        log.error({ container: record.id, error: messageOf(error) }, 'health checks ended');
      },
    );
  }

  /** Records the end of a process, tells who waits for it, and does what restart policy and `--rm` say. */
  ended(record: StoredContainer, end: ProcessEnd): void {
    const { table, events } = this.#parts;
    const live = this.#parts.live(record.id);
    live.stopWatching();
    const ranMs = Math.max(0, Date.parse(end.finishedAt) - Date.parse(record.state.StartedAt));
    record.state = exitedState(record.state, end);
    const restart = this.#restartDelay(record, ranMs);
    if (end.oomKilled) publishContainerEvent(events, 'oom', record);
    publishContainerEvent(events, 'die', record, {
      exitCode: String(end.exitCode),
      execDuration: String(Math.floor(ranMs / 1000)),
    });
    leaveNetworks(this.#parts, record);
    forgetNetworks(record);
    table.save(record);
    live.cleanup = cleanUpRun(this.#parts, record);
    live.announceExit({ StatusCode: end.exitCode });
    if (restart !== undefined) this.#restartLater(record, restart);
    else if (record.hostConfig.AutoRemove && !live.keepAtExit) this.removeLater(record);
  }

  /** Puts the record into `restarting` and says how long to wait, when the policy wants another run. */
  #restartDelay(record: StoredContainer, ranMs: number): number | undefined {
    const { ExitCode } = record.state;
    const { restartCount, stoppedByUser, hostConfig } = record;
    if (this.#stopped || this.#parts.live(record.id).removing) return undefined;
    if (!shouldRestart(hostConfig.RestartPolicy, { exitCode: ExitCode, stoppedByUser, restartCount })) {
      return undefined;
    }
    const { quickRestarts, delayMs } = nextRestart({ quickRestarts: record.quickRestarts ?? 0, ranMs });
    record.restartCount += 1;
    record.quickRestarts = quickRestarts;
    record.state = restartingState(record.state);
    return delayMs;
  }

  #restartLater(record: StoredContainer, delayMs: number): void {
    const { clock, log, mutex, networks } = this.#parts;
    const live = this.#parts.live(record.id);
    const restart = new AbortController();
    live.restart = restart;
    const { signal } = restart;
    const work = async (): Promise<void> => {
      await clock.sleep(delayMs, signal);
      // outside of the mutex: whoever stops the container meanwhile does not wait for managers
      await networks.attachments.ready(record, signal);
      await mutex.run(record.id, async () => {
        if (!signal.aborted && record.state.Restarting) await this.start(record, { byPolicy: true });
      });
    };
    work().catch((error: unknown) => {
      if (signal.aborted && kindOfAbort(error)) return;
      log.error({ container: record.id, error: messageOf(error) }, 'the container could not be restarted');
      this.#tryAgain(record);
    });
  }

  /** A restart that failed counts as a run that failed at once: what stood in its way may go. */
  #tryAgain(record: StoredContainer): void {
    if (!this.#parts.table.has(record.id) || record.state.Running) return;
    const delayMs = this.#restartDelay(record, 0);
    this.#parts.table.save(record);
    if (delayMs !== undefined) this.#restartLater(record, delayMs);
  }

  /** Starts a container in the background, and goes on trying as its restart policy says. */
  startLater(record: StoredContainer): void {
    record.state = restartingState(record.state);
    this.#parts.table.save(record);
    this.#restartLater(record, 0);
  }

  /** Learns how a process ended that is gone already: from its monitor, or not at all. */
  watchEnd(record: StoredContainer): void {
    const { runtime, clock } = this.#parts;
    const signal = AbortSignal.timeout(MONITOR_GRACE_MS);
    runtime.exited(record.id, signal).then(
      (end) => this.ended(record, end),
      () =>
        this.ended(record, {
          exitCode: UNSEEN_EXIT_CODE,
          oomKilled: false,
          finishedAt: timestampOf(clock.nowMs()),
        }),
    );
  }

  /** A planned restart does not take place; the container counts as exited. */
  callOffRestart(record: StoredContainer): void {
    this.#parts.live(record.id).restart?.abort();
    if (!record.state.Restarting) return;
    record.state = { ...record.state, Status: 'exited', Running: false, Restarting: false };
    this.#parts.table.save(record);
  }

  /** Removes a container in the background, as `--rm` asks for. */
  removeLater(record: StoredContainer): void {
    const { mutex, log } = this.#parts;
    mutex
      .run(record.id, () => this.remove(record, { volumes: true }))
      .catch((error: unknown) => {
        log.error({ container: record.id, error: messageOf(error) }, 'the container could not be removed');
      });
  }

  /** Removes a container that has no process, with what belongs to it. One that is gone already is success. */
  async remove(record: StoredContainer, o: { volumes: boolean }): Promise<void> {
    const { table, events } = this.#parts;
    if (!table.has(record.id)) return;
    const live = this.#parts.live(record.id);
    live.removing = true;
    const exitCode = record.state.ExitCode;
    try {
      record.state = { ...record.state, Status: 'removing' };
      record.removesVolumes = o.volumes;
      table.save(record);
      await live.cleanup;
      await discardContainer(this.#parts, record, o);
    } catch (error) {
      live.removing = false;
      record.state = { ...record.state, Status: 'dead', Dead: true, Error: messageOf(error) };
      table.save(record);
      live.announceRemoval({ StatusCode: exitCode, Error: { Message: messageOf(error) } });
      throw internal(
        `container ${record.id}: driver "overlay2" failed to remove root filesystem: ${messageOf(error)}`,
        {
          cause: error,
        },
      );
    }
    publishContainerEvent(events, 'destroy', record);
    live.announceRemoval({ StatusCode: exitCode });
    this.#parts.forget(record.id);
  }

  /** Throws Docker's message when a container cannot be started as it is. */
  checkStartable(record: StoredContainer): void {
    const { state } = record;
    if (state.Paused) throw conflict('cannot start a paused container, try unpause instead');
    if (hasProcess(state)) throw notModified(`container ${record.id} is already running`);
    if (state.Dead || state.Status === 'removing' || this.#parts.live(record.id).removing) {
      throw conflict('container is marked for removal and cannot be started');
    }
  }
}

function forgetNetworks(record: StoredContainer): void {
  record.ports = {};
  delete record.pidStartTime;
  for (const [name, endpoint] of Object.entries(record.networks)) {
    record.networks[name] = releasedEndpoint(endpoint);
  }
}

/** 126 and 127 come from the runtime; 128 is Docker's for everything else that keeps a container from starting. */
function exitCodeOfFailure(error: unknown): number {
  const code: unknown = error instanceof DroverError && 'exitCode' in error ? error.exitCode : undefined;
  return code === 126 || code === 127 ? code : 128;
}

function kindOfAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
