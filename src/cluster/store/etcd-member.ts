import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { backoffMs } from '#control/backoff.ts';
import { type Clock, systemClock } from '#control/clock.ts';
import { pause } from '#control/pause.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { kindOf, messageOf, notFound, unavailable } from '#model/errors.ts';
import { dataDirectory, type EtcdBirth, type EtcdMemberOptions, newCluster } from './etcd-arguments.ts';
import { EtcdClient } from './etcd-client.ts';
import { boundLog, EtcdProcess, forgetProcess, lastWords } from './etcd-process.ts';
import { tlsOf } from './etcd-tls.ts';

const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;
/** A member that ran for so long before it died is started again at once. */
const STEADY_MS = 60_000;
const LOG_LOOK_MS = 60_000;
const READY_LOOK_MS = 100;

export interface EtcdSupervision {
  readonly clock?: Clock;
  /** Told what happens to the process, a sentence each. */
  readonly report: (message: string) => void;
}

/**
 * One member of an etcd cluster, as a process of its own that this one looks after: it is started again when it dies, and goes on when
 * this process ends. Disposing of it ends only the looking after; {@link stop} ends the process. etcd-join.ts makes further members.
 */
export class EtcdMember implements AsyncDisposable {
  readonly options: EtcdMemberOptions;
  /** Asks this member alone. */
  readonly client: EtcdClient;
  readonly #clock: Clock;
  readonly #report: (message: string) => void;
  readonly #birth: EtcdBirth;
  readonly #over: AbortController;
  readonly #supervision: Promise<unknown>;
  #process: EtcdProcess;

  private constructor(
    o: EtcdMemberOptions,
    how: EtcdSupervision & { birth: EtcdBirth; process: EtcdProcess; over: AbortController },
  ) {
    this.options = o;
    this.client = new EtcdClient({
      endpoints: [o.clientUrl],
      ...(o.tls === undefined ? {} : { tls: tlsOf(o.tls) }),
    });
    this.#clock = how.clock ?? systemClock;
    this.#report = how.report;
    this.#birth = how.birth;
    this.#over = how.over;
    this.#process = how.process;
    this.#supervision = Promise.all([this.#supervise(), this.#boundLog()]);
  }

  /** The first member of a new cluster. Where there are data or a process of it already, it goes on with those. */
  static async found(o: EtcdMemberOptions, how: EtcdSupervision): Promise<EtcdMember> {
    return await EtcdMember.open(o, { ...how, birth: newCluster(o) });
  }

  /**
   * Adopts the process that runs on the directory, or starts one on its data; it need not serve yet: see {@link ready}. Where there are
   * neither it is `birth` that counts, and `not-found` without: a member that lost its disk must not begin an empty cluster.
   */
  static async open(
    o: EtcdMemberOptions,
    how: EtcdSupervision & { readonly birth?: EtcdBirth },
  ): Promise<EtcdMember> {
    const over = new AbortController();
    const adopted = EtcdProcess.adopt(o, how.clock ?? systemClock, over.signal);
    if (adopted === undefined && how.birth === undefined && !hasData(o)) throw noData(o);
    const birth = how.birth ?? newCluster(o);
    const process = adopted ?? (await EtcdProcess.start(o, { birth, forceNew: false }));
    return new EtcdMember(o, { ...how, birth, process, over });
  }

  /**
   * Revives a cluster that lost its quorum for good: this member, with what it has, becomes the only one of its cluster. The others must
   * not run any more, and join again with empty directories. `not-found` where this one has no data.
   */
  static async recover(
    o: EtcdMemberOptions,
    how: EtcdSupervision & { readonly signal: AbortSignal },
  ): Promise<EtcdMember> {
    if (!hasData(o)) throw noData(o);
    const clock = how.clock ?? systemClock;
    const over = new AbortController();
    await EtcdProcess.adopt(o, clock, over.signal)?.stop();
    over.abort();
    const birth = newCluster(o);
    const forced = await EtcdProcess.start(o, { birth, forceNew: true });
    {
      const controller = new AbortController();
      await using alone = new EtcdMember(o, { ...how, birth, process: forced, over: controller });
      await alone.ready(how.signal);
      // it stays the only member; the flag itself must not see a second start
      await alone.stop();
    }
    const member = await EtcdMember.open(o, how);
    await member.ready(how.signal);
    return member;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Resolves when the member serves, in a cluster with a quorum; `unavailable` with etcd's last words when `signal` aborts before. */
  async ready(signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        await this.client.call('kv/range', { key: 'LQ==' }, { repeatable: true, signal });
        return;
      } catch (error) {
        if (kindOf(error) !== 'unavailable') throw error;
        if (!(await pause(this.#clock, READY_LOOK_MS, signal)))
          throw unavailable(`etcd is not ready: ${messageOf(error)}; ${lastWords(this.options)}`, {
            cause: error,
          });
      }
    }
  }

  /** Ends the process and the looking after. The data stay. */
  async stop(): Promise<void> {
    await this[Symbol.asyncDispose]();
    await this.#process.stop();
    forgetProcess(this.options);
  }

  /** Ends the process, and removes its data: for a member that was removed from its cluster. */
  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.options.directory, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    this.client[Symbol.dispose]();
    await this.#supervision;
  }

  async #supervise(): Promise<void> {
    const { signal } = this.#over;
    for (let attempt = 0; ; attempt += 1) {
      const sinceMs = this.#clock.monotonicMs();
      const how = await beforeAbort(this.#process.ended, signal);
      if (how === undefined) return;
      if (this.#clock.monotonicMs() - sinceMs >= STEADY_MS) attempt = 0;
      const pauseMs = backoffMs({ attempt, firstMs: FIRST_PAUSE_MS, maxMs: MAX_PAUSE_MS });
      this.#report(
        `etcd ended (${how}) and starts again in ${pauseMs} ms; it last said: ${lastWords(this.options)}`,
      );
      if (!(await this.#startAgain(pauseMs))) return;
    }
  }

  /** False when the looking after ended before it could be started. */
  async #startAgain(pauseMs: number): Promise<boolean> {
    while (await pause(this.#clock, pauseMs, this.#over.signal)) {
      try {
        this.#process = await EtcdProcess.start(this.options, {
          ...{ birth: this.#birth, forceNew: false },
        });
        return true;
      } catch (error) {
        this.#report(`etcd cannot be started: ${messageOf(error)}`);
      }
    }
    return false;
  }

  async #boundLog(): Promise<void> {
    while (await pause(this.#clock, LOG_LOOK_MS, this.#over.signal)) boundLog(this.options);
  }
}

/** Ends the process that runs on a directory, and removes the directory: for a member that its cluster has let go, or lost. */
export async function removeMember(o: EtcdMemberOptions, clock: Clock): Promise<void> {
  const over = new AbortController();
  try {
    await EtcdProcess.adopt(o, clock, over.signal)?.stop();
  } finally {
    over.abort();
  }
  rmSync(o.directory, { recursive: true, force: true });
}

function noData(o: EtcdMemberOptions): Error {
  return notFound(`there are no data of an etcd member in ${o.directory}`);
}

/** Whether a member lived in this directory: then it goes on with what it has. */
export function hasData(o: EtcdMemberOptions): boolean {
  try {
    return readdirSync(join(dataDirectory(o), 'member/wal')).some((name) => name.endsWith('.wal'));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}

/** Undefined where `signal` aborts first. */
async function beforeAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  if (signal.aborted) return undefined;
  const aborted = Promise.withResolvers<undefined>();
  const abort = (): void => aborted.resolve(undefined);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
