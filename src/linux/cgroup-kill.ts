import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupMode, cgroupProcesses } from './cgroups.ts';
import { close, pidfdOpen, pidfdSendSignal } from './libc.ts';
import { hasCode } from './system-call-error.ts';

const SIGKILL = 9;

/**
 * Sends SIGKILL to every process of a cgroup such as `/drover/ID`, and to no other. They end on their own time, and on cgroups v1 may
 * have forked in between: to be repeated until there are none. One that is not there is success.
 */
export function killCgroup(path: string): void {
  if (cgroupMode() !== 'v2') {
    for (const pid of cgroupProcesses(path)) killMember(pid, path);
    return;
  }
  try {
    // with those of the cgroups below, which a container may have made
    writeFileSync(join('/sys/fs/cgroup', path, 'cgroup.kill'), '1');
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}

/** A number may be another process's by the time it is used: what is killed is what was looked at. */
function killMember(pid: number, path: string): void {
  let process: number;
  try {
    process = pidfdOpen(pid);
  } catch (error) {
    if (hasCode(error, 'ESRCH')) return;
    throw error;
  }
  try {
    if (cgroupProcesses(path).includes(pid)) pidfdSendSignal(process, SIGKILL);
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  } finally {
    close(undefined, process);
  }
}
