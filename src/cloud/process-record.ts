import { bootId, processStartTime } from '#linux/process-identity.ts';
import { hasCode } from '#linux/system-call-error.ts';

/** One process for ever: its number is given to another one day, but not with the same start in the same life of the machine. */
export interface ProcessRecord {
  pid: number;
  startTime: string;
  bootId: string;
}

/** Undefined for a process that is gone. */
export function recordOf(pid: number): ProcessRecord | undefined {
  const startTime = processStartTime(pid);
  return startTime === undefined ? undefined : { pid, startTime, bootId: bootId() };
}

export function isRunning(process: ProcessRecord | undefined): process is ProcessRecord {
  return (
    process !== undefined &&
    process.bootId === bootId() &&
    processStartTime(process.pid) === process.startTime
  );
}

/** Nothing where the process is gone, or its number is another's. */
export function signalProcess(target: ProcessRecord | undefined, signal: NodeJS.Signals): void {
  if (!isRunning(target)) return;
  try {
    process.kill(target.pid, signal);
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}
