import type { Duplex } from 'node:stream';
import type { StreamSession } from './attach-session.ts';

/** How a wait ended, in the API's words. */
export interface WaitResult {
  StatusCode: number;
  Error?: { Message: string };
}

type Waiter = (result: WaitResult) => void;

/**
 * What belongs to a container only while this daemon lives: who waits for it, who is attached before its start, and
 * the loops that watch it.
 */
export class LiveContainer {
  /** What the last run left behind is being taken away; the next start and the removal wait for it. Never rejects. */
  cleanup: Promise<void> = Promise.resolve();
  /** Ends the watch for the process's end; the process runs on. */
  watch: AbortController | undefined;
  /** Ends the health checks. */
  health: AbortController | undefined;
  /** Calls a planned restart off. */
  restart: AbortController | undefined;
  /** Set while somebody removes the container. */
  removing = false;
  /** `docker restart` of a `--rm` container must not remove it half-way. */
  keepAtExit = false;
  readonly #sessions = new Set<StreamSession>();
  readonly #exitWaiters = new Set<Waiter>();
  readonly #removalWaiters = new Set<Waiter>();

  /** Keeps a session until the process starts. */
  addSession(session: StreamSession): void {
    this.#sessions.add(session);
  }

  /** Joins the sessions that wait to the process that is about to run. */
  connectSessions(open: () => Duplex): void {
    for (const session of this.#sessions) {
      this.#sessions.delete(session);
      session.connect(open());
    }
  }

  /** Ends the sessions that wait: there will be no process. */
  endSessions(): void {
    for (const session of this.#sessions) session.close();
    this.#sessions.clear();
  }

  /** Resolves at the next end of the process. Subscribed when this returns. */
  nextExit(signal?: AbortSignal): Promise<WaitResult> {
    return subscribe(this.#exitWaiters, signal);
  }

  /** Resolves when the container is removed, or cannot be. Subscribed when this returns. */
  nextRemoval(signal?: AbortSignal): Promise<WaitResult> {
    return subscribe(this.#removalWaiters, signal);
  }

  announceExit(result: WaitResult): void {
    announce(this.#exitWaiters, result);
  }

  announceRemoval(result: WaitResult): void {
    this.endSessions();
    announce(this.#exitWaiters, result);
    announce(this.#removalWaiters, result);
  }

  /** Ends every loop; what runs in the kernel runs on. */
  stopWatching(): void {
    this.watch?.abort();
    this.health?.abort();
    this.restart?.abort();
  }
}

function subscribe(waiters: Set<Waiter>, signal: AbortSignal | undefined): Promise<WaitResult> {
  const { promise, resolve, reject } = Promise.withResolvers<WaitResult>();
  if (signal?.aborted === true) {
    reject(signal.reason);
    return promise;
  }
  const leave = (): void => {
    waiters.delete(done);
    reject(signal?.reason);
  };
  const done: Waiter = (result) => {
    signal?.removeEventListener('abort', leave);
    resolve(result);
  };
  signal?.addEventListener('abort', leave, { once: true });
  waiters.add(done);
  return promise;
}

function announce(waiters: Set<Waiter>, result: WaitResult): void {
  const called = [...waiters];
  waiters.clear();
  for (const waiter of called) waiter(result);
}
