import { closeSync, writeFileSync, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { killCgroup } from '#linux/cgroup-kill.ts';
import { hasCode } from '#linux/system-call-error.ts';
import { uptimeMs } from '#linux/uptime.ts';
import { FenceDirectory } from './fence-directory.ts';

/**
 * Ends the single writers of a node when their lease has run out: because the daemon is dead, hangs, or hears no manager and does not
 * renew it. A process of its own, one a daemon, that lives as long as there are single writers, and outlives the daemon as their
 * containers do. Started by `Fence`; its one argument is the directory. Two of them do no harm: all that a keeper does may be
 * done twice.
 */
const READY_DESCRIPTOR = 3;
/** How long it sleeps at most: its timer stands still while the machine sleeps, the lease does not. */
const LONGEST_SLEEP_MS = 1000;
const SHORTEST_SLEEP_MS = 10;

async function main(directory: FenceDirectory): Promise<void> {
  neverForMemory();
  directory.enter();
  writeSync(READY_DESCRIPTOR, '\n');
  closeSync(READY_DESCRIPTOR);
  for (;;) {
    const tasks = directory.tasks();
    if (tasks === undefined || (tasks.size === 0 && mayGo(directory))) return;
    const leftMs = directory.validUntilMs() - uptimeMs();
    // again in each round: what was on its way into a cgroup arrives later
    if (leftMs <= 0) for (const cgroup of tasks.values()) kill(cgroup);
    const sleepMs = leftMs <= 0 ? LONGEST_SLEEP_MS : Math.min(leftMs, LONGEST_SLEEP_MS);
    await delay(Math.max(sleepMs, SHORTEST_SLEEP_MS));
  }
}

/** What goes wrong with one task keeps it from none of the others, and is tried again. */
function kill(cgroup: string): void {
  try {
    killCgroup(cgroup);
  } catch (error) {
    process.emitWarning(`cgroup ${cgroup} could not be killed: ${String(error)}`);
  }
}

/** A task that was added before the leave was taken is seen here; whoever adds one later finds no keeper, and starts one. */
function mayGo(directory: FenceDirectory): boolean {
  directory.leave();
  if ((directory.tasks()?.size ?? 0) === 0) return true;
  directory.enter();
  return false;
}

/** Memory that runs out is no reason to end this one. */
function neverForMemory(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', '-1000');
  } catch (error) {
    // without the capability for it, it is as likely to go as any other
    if (!hasCode(error, 'EACCES', 'EPERM')) throw error;
  }
}

const [, , path = ''] = process.argv;
await main(new FenceDirectory(path));
