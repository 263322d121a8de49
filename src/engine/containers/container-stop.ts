import { conflict, internal, kindOf, notModified } from '#model/errors.ts';
import { publishContainerEvent } from './container-events.ts';
import type { ContainerLifecycle } from './container-lifecycle.ts';
import type { ContainerParts } from './container-parts.ts';
import { hasProcess } from './container-state.ts';
import type { StoredContainer } from './container-table.ts';
import { parseSignal } from './signals.ts';

const SIGKILL = 9;
const SIGTERM = 15;
const DEFAULT_STOP_SECONDS = 10;
/** How long the kernel may take to end a process that was killed. */
const KILL_GRACE_MS = 10_000;

/** Signals by which a person means the container to end: it is not to be restarted then. */
const ENDING_SIGNALS: readonly number[] = [SIGKILL, SIGTERM, 2, 3];

export interface StopOptions {
  /** How long the process may take before it is killed; -1 waits for ever. Default: the container's, or 10. */
  timeoutSeconds?: number;
  signal?: string;
}

/** Ends a container's process: its stop signal, and SIGKILL after the timeout. The mutex is held by the caller. */
export async function stopProcess(
  parts: ContainerParts,
  lifecycle: ContainerLifecycle,
  record: StoredContainer,
  o: StopOptions,
): Promise<void> {
  const live = parts.live(record.id);
  const signal = parseSignal(o.signal ?? record.config.StopSignal ?? 'SIGTERM');
  const timeoutSeconds = o.timeoutSeconds ?? record.config.StopTimeout ?? DEFAULT_STOP_SECONDS;
  record.stoppedByUser = true;
  parts.table.save(record);
  lifecycle.callOffRestart(record);
  if (hasProcess(record.state)) {
    const exit = live.nextExit();
    await signalUnlessEnded(parts, record, signal);
    if (signal === SIGKILL || !(await endsWithin(parts, exit, timeoutSeconds)))
      await killProcess(parts, record);
  }
  await live.cleanup;
  publishContainerEvent(parts.events, 'stop', record);
}

async function endsWithin(
  parts: ContainerParts,
  exit: Promise<unknown>,
  timeoutSeconds: number,
): Promise<boolean> {
  if (timeoutSeconds < 0) {
    await exit;
    return true;
  }
  const awake = new AbortController();
  const late = parts.clock.sleep(timeoutSeconds * 1000, awake.signal).then(
    () => false,
    // called off: the process has ended
    () => true,
  );
  const ended = await Promise.race([exit.then(() => true), late]);
  awake.abort();
  return ended;
}

/** Kills the process and waits until it is gone and cleaned up after. One that has ended already is success. */
export async function killProcess(parts: ContainerParts, record: StoredContainer): Promise<void> {
  const live = parts.live(record.id);
  if (hasProcess(record.state)) {
    const exit = live.nextExit();
    await signalUnlessEnded(parts, record, SIGKILL);
    if (!(await endsWithin(parts, exit, KILL_GRACE_MS / 1000))) {
      throw internal(
        `cannot stop container: ${record.id}: tried to kill container, but did not receive an exit event`,
      );
    }
  }
  await live.cleanup;
}

/** `docker kill`: any signal, at once, whatever else is being done to the container. */
export async function killContainer(
  parts: ContainerParts,
  lifecycle: ContainerLifecycle,
  record: StoredContainer,
  text: string,
): Promise<void> {
  const signal = parseSignal(text);
  const { id, state, config } = record;
  if (!state.Running) throw conflict(`cannot kill container: ${id}: container ${id} is not running`);
  const stopSignal = config.StopSignal === undefined ? SIGTERM : parseSignal(config.StopSignal);
  if (signal === stopSignal || ENDING_SIGNALS.includes(signal)) {
    record.stoppedByUser = true;
    parts.table.save(record);
  }
  if (state.Restarting) {
    // a restart may be on its way already: what comes of it is killed
    await parts.mutex.run(id, async () => {
      lifecycle.callOffRestart(record);
      await killProcess(parts, record);
    });
    return;
  }
  if (signal === SIGKILL) await killProcess(parts, record);
  else await sendSignal(parts, record, signal);
}

/** A process that has ended before the news of it came needs no signal; its end is waited for. */
async function signalUnlessEnded(
  parts: ContainerParts,
  record: StoredContainer,
  signal: number,
): Promise<void> {
  try {
    await sendSignal(parts, record, signal);
  } catch (error) {
    if (kindOf(error) !== 'conflict') throw error;
  }
}

/** Sends a signal, and lets a paused process run on where it is meant to end. */
async function sendSignal(parts: ContainerParts, record: StoredContainer, signal: number): Promise<void> {
  const wasPaused = record.state.Paused;
  await parts.runtime.kill(record.id, signal);
  publishContainerEvent(parts.events, 'kill', record, { signal: String(signal) });
  if (!wasPaused || !record.state.Paused || !ENDING_SIGNALS.includes(signal)) return;
  try {
    await parts.runtime.resume(record.id);
  } catch (error) {
    // on cgroup v2 one that is killed ends though it is frozen, and leaves nothing to resume
    const { id, pidStartTime = '' } = record;
    if (parts.runtime.isRunning({ id, pid: record.state.Pid, pidStartTime })) throw error;
  }
  // it may have ended at once
  if (!hasProcess(record.state)) return;
  record.state = { ...record.state, Paused: false, Status: 'running' };
  parts.table.save(record);
  publishContainerEvent(parts.events, 'unpause', record);
}

/** Throws what answers 304 for a container that does not run. */
export function checkStoppable(record: StoredContainer): void {
  if (!record.state.Running) throw notModified(`container ${record.id} is already stopped`);
}
