import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootId } from '#linux/process-identity.ts';
import { NEVER } from '#model/container.ts';
import { messageOf } from '#model/errors.ts';
import { cleanUpRun, leaveNetworks } from './container-cleanup.ts';
import { discardContainer } from './container-discard.ts';
import { type ContainerLifecycle, UNSEEN_EXIT_CODE } from './container-lifecycle.ts';
import type { ContainerParts } from './container-parts.ts';
import { exitedState, hasProcess } from './container-state.ts';
import type { StoredContainer } from './container-table.ts';
import { shouldRestart, shouldStartWithMachine } from './restart-policy.ts';
import { timestamp } from './timestamp.ts';

/**
 * Brings records and world together after the daemon was away: what was half-made or half-removed goes, what runs is
 * followed again, what ended meanwhile is told so with its true exit code, and what should run is started. Restarts
 * go on in the background; everything else is done when this resolves.
 */
export async function recoverContainers(parts: ContainerParts, lifecycle: ContainerLifecycle): Promise<void> {
  const machineRestarted = noteBoot(parts.execRoot);
  await removeHalfMade(parts, lifecycle);
  const records = parts.table.all();
  const wanted = machineRestarted
    ? await settleAfterBoot(parts, records)
    : await settleAfterAbsence(parts, lifecycle, records);
  await removeStrayRuns(parts);
  for (const record of records) if (record.pausedForCommit === true) await goOnAfterCommit(parts, record);
  for (const record of wanted) lifecycle.startLater(record);
  for (const record of parts.table.all()) {
    const { state, hostConfig } = record;
    const hasRun = state.StartedAt !== NEVER || state.Status === 'exited';
    if (hostConfig.AutoRemove && hasRun && !state.Running) lifecycle.removeLater(record);
  }
}

/** True when the machine was restarted since this daemon last ran, or its run-time files are gone. */
function noteBoot(execRoot: string): boolean {
  const file = join(execRoot, 'boot-id');
  const now = bootId();
  let before = '';
  try {
    before = readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  mkdirSync(execRoot, { recursive: true, mode: 0o711 });
  writeFileSync(file, `${now}\n`);
  return before !== now;
}

/** Containers whose creation or removal was cut off. */
async function removeHalfMade(parts: ContainerParts, lifecycle: ContainerLifecycle): Promise<void> {
  for (const record of parts.table.all()) {
    const isHalfMade = record.unfinished === 'create';
    if (!isHalfMade && record.state.Status !== 'removing') continue;
    parts.log.info({ container: record.id, isHalfMade }, 'removing what was left of a container');
    await attempt(parts, record, async () => {
      await cleanUpRun(parts, record);
      leaveNetworks(parts, record);
      if (isHalfMade) await discardContainer(parts, record, { volumes: true });
      else await lifecycle.remove(record, { volumes: record.removesVolumes ?? false });
    });
  }
}

/** Nothing runs any more. Gives the containers that start with the machine. */
async function settleAfterBoot(
  parts: ContainerParts,
  records: readonly StoredContainer[],
): Promise<StoredContainer[]> {
  const wanted: StoredContainer[] = [];
  for (const record of records) {
    const { state } = record;
    if (state.Running || record.unfinished === 'start') {
      markEnded(parts, record, { exitCode: UNSEEN_EXIT_CODE, finishedAt: timestamp(), error: '' });
    }
    await cleanUpRun(parts, record);
    leaveNetworks(parts, record);
    const start = shouldStartWithMachine(record.hostConfig.RestartPolicy, {
      stoppedByUser: record.stoppedByUser,
      hasBeenStarted: state.StartedAt !== NEVER,
    });
    if (start) wanted.push(record);
  }
  return wanted;
}

/** The daemon was away, the machine was not. Gives the containers whose restart policy wants another run. */
async function settleAfterAbsence(
  parts: ContainerParts,
  lifecycle: ContainerLifecycle,
  records: readonly StoredContainer[],
): Promise<StoredContainer[]> {
  const wanted: StoredContainer[] = [];
  for (const record of records) {
    if (record.unfinished === 'start') {
      if (await settleHalfStarted(parts, record)) wanted.push(record);
    } else if (record.state.Restarting) {
      wanted.push(record);
    } else if (hasProcess(record.state)) {
      settleRunning(parts, lifecycle, record);
    }
  }
  return wanted;
}

/** A start that was cut off is undone; true when the restart policy asks for another. */
async function settleHalfStarted(parts: ContainerParts, record: StoredContainer): Promise<boolean> {
  await cleanUpRun(parts, record);
  leaveNetworks(parts, record);
  markEnded(parts, record, {
    exitCode: 128,
    finishedAt: timestamp(),
    error: 'the daemon ended while the container was being started',
  });
  const { restartCount, stoppedByUser, hostConfig } = record;
  return shouldRestart(hostConfig.RestartPolicy, { exitCode: 128, restartCount, stoppedByUser });
}

function settleRunning(parts: ContainerParts, lifecycle: ContainerLifecycle, record: StoredContainer): void {
  const { runtime } = parts;
  const end = runtime.exitStatus(record.id);
  if (end !== undefined) {
    lifecycle.ended(record, end);
    return;
  }
  const { Pid: pid } = record.state;
  if (runtime.isRunning({ id: record.id, pid, pidStartTime: record.pidStartTime ?? '' })) {
    parts.log.info({ container: record.id, pid }, 'the container runs on');
    lifecycle.watch(record);
    return;
  }
  // its monitor is gone too, or about to write how it ended
  lifecycle.watchEnd(record);
}

/** A commit was cut off while its container stood still, or was about to. */
async function goOnAfterCommit(parts: ContainerParts, record: StoredContainer): Promise<void> {
  delete record.pausedForCommit;
  const { state } = record;
  if (hasProcess(state)) {
    await attempt(parts, record, () => parts.runtime.resume(record.id));
    record.state = { ...state, Paused: false, Status: 'running' };
  }
  parts.table.save(record);
}

function markEnded(
  parts: ContainerParts,
  record: StoredContainer,
  o: { exitCode: number; finishedAt: string; error: string },
): void {
  delete record.unfinished;
  delete record.pidStartTime;
  record.ports = {};
  record.state = { ...exitedState(record.state, { ...o, oomKilled: false }), Error: o.error };
  parts.table.save(record);
}

/** Run-time state that no running container owns, of containers whose start was cut off or whose record is gone. */
async function removeStrayRuns(parts: ContainerParts): Promise<void> {
  const { runtime, filesystems, table } = parts;
  const found = [...runtime.listBundles(), ...filesystems.listRuns(), ...filesystems.listKept()];
  for (const id of new Set(found)) {
    const owner = table.all().find((record) => record.id === id);
    if (owner === undefined) {
      await runtime.delete(id);
      await filesystems.remove(id);
    } else if (!hasProcess(owner.state)) {
      await parts.live(id).cleanup;
      await cleanUpRun(parts, owner);
    }
  }
}

async function attempt(
  parts: ContainerParts,
  record: StoredContainer,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    parts.log.error({ container: record.id, error: messageOf(error) }, 'could not be recovered');
  }
}
