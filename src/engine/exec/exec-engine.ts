import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { type AttachSession, StreamSession } from '#engine/containers/attach-session.ts';
import type { ContainerEngine } from '#engine/containers/container-engine.ts';
import { publishContainerEvent } from '#engine/containers/container-events.ts';
import { checkUsable } from '#engine/containers/container-state.ts';
import type { EventBus } from '#engine/events/event-bus.ts';
import type { ContainerRuntime, ExecHandle } from '#engine/runtime/container-runtime.ts';
import type { ContainerRecord } from '#model/container.ts';
import { conflict, DroverError, invalid, kindOf, messageOf, notFound } from '#model/errors.ts';
import type { ExecConfig } from './exec-config.ts';
import { startExec } from './exec-process.ts';

/** A command that was, is or will be run in a container. */
export interface ExecRecord {
  readonly id: string;
  readonly containerId: string;
  readonly config: ExecConfig;
  running: boolean;
  /** null until the command has ended. */
  exitCode: number | null;
  /** 0 until it runs. */
  pid: number;
}

interface LiveExec extends ExecRecord {
  started: boolean;
  handle: ExecHandle | undefined;
}

/**
 * Commands in running containers. They live in memory only: Docker forgets them with its daemon too. A container's
 * commands are forgotten when it is started anew or removed, so that their exit codes can still be asked for after
 * its end.
 */
export class ExecEngine implements Disposable {
  readonly #containers: ContainerEngine;
  readonly #runtime: ContainerRuntime;
  readonly #events: EventBus;
  readonly #log: Logger;
  readonly #execs = new Map<string, LiveExec>();
  readonly #subscription: Disposable;

  constructor(o: { containers: ContainerEngine; runtime: ContainerRuntime; events: EventBus; log: Logger }) {
    this.#containers = o.containers;
    this.#runtime = o.runtime;
    this.#events = o.events;
    this.#log = o.log;
    this.#subscription = o.events.subscribe(({ Type, Action, Actor }) => {
      if (Type === 'container' && (Action === 'start' || Action === 'destroy')) this.#forget(Actor.ID);
    });
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
  }

  /** Notes a command for a running container and gives its ID. */
  create(containerReference: string, config: ExecConfig): string {
    const record = this.#containers.resolve(containerReference);
    checkUsable(record);
    if (config.Cmd.length === 0) throw invalid('No exec command specified');
    const id = randomBytes(32).toString('hex');
    this.#execs.set(id, {
      id,
      containerId: record.id,
      config,
      running: false,
      started: false,
      exitCode: null,
      pid: 0,
      handle: undefined,
    });
    this.#publish(record, `exec_create: ${config.Cmd.join(' ')}`, id);
    return id;
  }

  /** The IDs of a container's commands that run. */
  idsOf(containerId: string): string[] {
    return [...this.#execs.values()]
      .filter((exec) => exec.containerId === containerId && exec.running)
      .map(({ id }) => id);
  }

  /**
   * Runs a command. Gives a session unless it is detached. A command that cannot be run is told about in the session,
   * as Docker does, with exit code 126 or 127; a detached one throws.
   */
  async start(
    id: string,
    o: { detach: boolean; tty: boolean; consoleSize?: { height: number; width: number } },
  ): Promise<AttachSession | undefined> {
    const exec = this.#find(id);
    if (exec.started)
      throw conflict(`exec command ${id} is ${exec.running ? 'already running' : 'not to be run twice'}`);
    const record = this.#containers.resolve(exec.containerId);
    checkUsable(record);
    exec.started = true;
    exec.running = true;
    this.#publish(record, `exec_start: ${exec.config.Cmd.join(' ')}`, id);
    const { config } = exec;
    const session = new StreamSession({
      tty: config.Tty,
      stdin: config.AttachStdin && !o.detach,
      stdout: config.AttachStdout || config.Tty,
      stderr: config.AttachStderr,
    });
    let handle: ExecHandle;
    try {
      handle = await startExec(this.#runtime, record, {
        execId: id,
        config: { ...config, AttachStdin: config.AttachStdin && !o.detach },
        rootfs: this.#containers.rootPath(record.id),
      });
    } catch (error) {
      return this.#startFailed(exec, error, o);
    }
    exec.handle = handle;
    exec.pid = handle.pid;
    if (o.consoleSize !== undefined && config.Tty) resizeUnlessEnded(handle, o.consoleSize);
    session.connect(handle.stream, this.#watch(exec, handle, record));
    if (!o.detach) return session;
    this.#drain(session);
    return undefined;
  }

  #startFailed(exec: LiveExec, error: unknown, o: { detach: boolean }): AttachSession {
    exec.running = false;
    exec.exitCode = exitCodeOf(error);
    if (o.detach || !(error instanceof DroverError)) throw error;
    return messageSession(`${messageOf(error)}\r\n`, exec.config.Tty);
  }

  /** Resolves when the exit code is noted. */
  #watch(exec: LiveExec, handle: ExecHandle, record: ContainerRecord): Promise<void> {
    const end = (exitCode: number): void => {
      exec.running = false;
      exec.exitCode = exitCode;
      exec.pid = 0;
      exec.handle = undefined;
      this.#publish(record, 'exec_die', exec.id, { exitCode: String(exitCode) });
    };
    return handle.exited.then(end, (error: unknown) => {
      this.#log.error({ exec: exec.id, error: messageOf(error) }, 'the end of the command was not seen');
      end(255);
    });
  }

  /** Reads what nobody else does, so that the command never waits for a reader. */
  #drain(session: StreamSession): void {
    const read = async (): Promise<void> => {
      for await (const _chunk of session.output);
    };
    read().catch((error: unknown) => {
      this.#log.debug({ error: messageOf(error) }, 'output of a detached command');
    });
  }

  async resize(id: string, size: { height: number; width: number }): Promise<void> {
    const { handle } = this.#find(id);
    if (handle === undefined) throw conflict(`exec ${id} is not running`);
    handle.resize(size);
  }

  inspect(id: string): ExecRecord {
    return this.#find(id);
  }

  #find(id: string): LiveExec {
    const exact = this.#execs.get(id);
    if (exact !== undefined) return exact;
    throw notFound(`No such exec instance: ${id}`);
  }

  #forget(containerId: string): void {
    for (const exec of this.#execs.values()) {
      if (exec.containerId === containerId) this.#execs.delete(exec.id);
    }
  }

  #publish(
    record: ContainerRecord,
    action: string,
    execId: string,
    attributes: Record<string, string> = {},
  ): void {
    publishContainerEvent(this.#events, action, record, { execID: execId, ...attributes });
  }
}

/** A short command may have ended before its terminal gets a size. */
function resizeUnlessEnded(handle: ExecHandle, size: { height: number; width: number }): void {
  try {
    handle.resize(size);
  } catch (error) {
    if (kindOf(error) !== 'conflict') throw error;
  }
}

/** 126 and 127 are the runtime's; Docker's clients expect 126 for whatever else keeps a command from running. */
function exitCodeOf(error: unknown): number {
  const code: unknown = error instanceof DroverError && 'exitCode' in error ? error.exitCode : undefined;
  return code === 127 ? 127 : 126;
}

function messageSession(text: string, tty: boolean): AttachSession {
  async function* output(): AsyncGenerator<{ stream: 'stdout'; data: Buffer }> {
    yield { stream: 'stdout', data: Buffer.from(text) };
  }
  return { tty, output: output(), input: undefined, close: () => undefined };
}
