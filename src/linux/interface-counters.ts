import { readFile } from 'node:fs/promises';
import { hasCode } from './system-call-error.ts';

/** What went through a network interface since it was made. */
export interface InterfaceCounters {
  name: string;
  received: TrafficCounters;
  sent: TrafficCounters;
}

export interface TrafficCounters {
  bytes: number;
  packets: number;
  errors: number;
  dropped: number;
}

/** The interfaces of a process's network namespace, but for its loopback (proc_pid_net(5)); none where the process is gone. */
export async function interfaceCounters(pid: number): Promise<InterfaceCounters[]> {
  let text: string;
  try {
    text = await readFile(`/proc/${pid}/net/dev`, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH', 'EINVAL')) return [];
    throw error;
  }
  return text.split('\n').flatMap((line) => {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0)).trim();
    if (name === '' || name === 'lo') return [];
    const numbers = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    return [{ name, received: counters(numbers, 0), sent: counters(numbers, 8) }];
  });
}

function counters(numbers: readonly number[], at: number): TrafficCounters {
  const [bytes = 0, packets = 0, errors = 0, dropped = 0] = numbers.slice(at);
  return { bytes, packets, errors, dropped };
}
