import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cgroupMode } from './cgroups.ts';
import { hasCode } from './system-call-error.ts';

const ROOT = '/sys/fs/cgroup';
/** USER_HZ, which the kernel's interfaces count in on every architecture that Linux runs containers on. */
const NANOSECONDS_PER_TICK = 1e7;
const NANOSECONDS_PER_MICROSECOND = 1000;

/** What was read or written of a block device since the cgroup was made. */
export interface DeviceOperation {
  major: number;
  minor: number;
  /** `read`, `write` and others, in the kernel's own spelling on v1. */
  operation: string;
  value: number;
}

/** What the processes of a cgroup and those below it use. What the kernel does not say is absent. */
export interface CgroupUsage {
  cpu: {
    totalNs: number;
    userNs: number;
    kernelNs: number;
    /** v1 only. */
    perCpuNs?: number[];
    periods: number;
    throttledPeriods: number;
    throttledNs: number;
  };
  memory: {
    /** The page cache included, which `statistics` tells apart. */
    bytes: number;
    /** v1 only. */
    maximumBytes?: number;
    failures?: number;
    /** Absent where there is none. */
    limitBytes?: number;
    /** memory.stat as it is. */
    statistics: Record<string, number>;
  };
  pids: { current: number; limit?: number };
  io: { bytes: DeviceOperation[]; operations?: DeviceOperation[] };
}

/** Reads the kernel's counters of a cgroup such as `/drover/ID`; zeros where it is gone. */
export function cgroupUsage(path: string): Promise<CgroupUsage> {
  return cgroupMode() === 'v2' ? unifiedUsage(ROOT, path) : separateUsage(ROOT, path);
}

/** The same of a tree with all controllers: v2. */
export async function unifiedUsage(root: string, path: string): Promise<CgroupUsage> {
  const read = (file: string): Promise<string> => textOf(join(root, path, file));
  const [cpu, current, maximum, memory, pids, pidsMaximum, io] = await Promise.all(
    ['cpu.stat', 'memory.current', 'memory.max', 'memory.stat', 'pids.current', 'pids.max', 'io.stat'].map(
      read,
    ),
  );
  const time = keyedNumbers(cpu);
  return {
    cpu: {
      totalNs: (time['usage_usec'] ?? 0) * NANOSECONDS_PER_MICROSECOND,
      userNs: (time['user_usec'] ?? 0) * NANOSECONDS_PER_MICROSECOND,
      kernelNs: (time['system_usec'] ?? 0) * NANOSECONDS_PER_MICROSECOND,
      periods: time['nr_periods'] ?? 0,
      throttledPeriods: time['nr_throttled'] ?? 0,
      throttledNs: (time['throttled_usec'] ?? 0) * NANOSECONDS_PER_MICROSECOND,
    },
    memory: {
      bytes: Number(current),
      ...limitOf('limitBytes', maximum),
      statistics: keyedNumbers(memory),
    },
    pids: { current: Number(pids), ...limitOf('limit', pidsMaximum) },
    io: { bytes: unifiedOperations(io) },
  };
}

/** The same of trees with a controller each: v1, and the controllers of hybrids. */
export async function separateUsage(root: string, path: string): Promise<CgroupUsage> {
  const read = (controller: string, file: string): Promise<string> =>
    textOf(join(root, controller, path, file));
  const [total, each, ticks, throttling] = await Promise.all([
    read('cpuacct', 'cpuacct.usage'),
    read('cpuacct', 'cpuacct.usage_percpu'),
    read('cpuacct', 'cpuacct.stat'),
    read('cpu', 'cpu.stat'),
  ]);
  const [bytes, maximum, failures, limit, statistics] = await Promise.all(
    ['usage_in_bytes', 'max_usage_in_bytes', 'failcnt', 'limit_in_bytes', 'stat'].map((name) =>
      read('memory', `memory.${name}`),
    ),
  );
  const [pids, pidsMaximum] = await Promise.all([read('pids', 'pids.current'), read('pids', 'pids.max')]);
  const io = async (name: string): Promise<DeviceOperation[]> => {
    // The scheduler that has counters of its own keeps the general ones from counting.
    const ofScheduler = separateOperations(await read('blkio', `blkio.bfq.io_${name}_recursive`));
    if (ofScheduler.length > 0) return ofScheduler;
    return separateOperations(await read('blkio', `blkio.throttle.io_${name}_recursive`));
  };
  const time = keyedNumbers(ticks);
  const throttled = keyedNumbers(throttling);
  return {
    cpu: {
      totalNs: Number(total),
      userNs: (time['user'] ?? 0) * NANOSECONDS_PER_TICK,
      kernelNs: (time['system'] ?? 0) * NANOSECONDS_PER_TICK,
      perCpuNs: each.split(/\s+/).filter(Boolean).map(Number),
      periods: throttled['nr_periods'] ?? 0,
      throttledPeriods: throttled['nr_throttled'] ?? 0,
      throttledNs: throttled['throttled_time'] ?? 0,
    },
    memory: {
      bytes: Number(bytes),
      maximumBytes: Number(maximum),
      failures: Number(failures),
      ...limitOf('limitBytes', limit),
      statistics: keyedNumbers(statistics),
    },
    pids: { current: Number(pids), ...limitOf('limit', pidsMaximum) },
    io: { bytes: await io('service_bytes'), operations: await io('serviced') },
  };
}

/** Nanoseconds that all processors of the machine spent since it started, idle ones included (proc_stat(5)). */
export async function systemCpuNs(): Promise<number> {
  const [first = ''] = (await readFile('/proc/stat', 'utf8')).split('\n', 1);
  // guest times are in user times already
  const ticks = first.split(/\s+/).slice(1, 8).map(Number);
  return ticks.reduce((sum, each) => sum + each, 0) * NANOSECONDS_PER_TICK;
}

/** Empty where it is not there: the controller is not on, or the cgroup is gone. */
async function textOf(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENODEV', 'EOPNOTSUPP')) return '';
    throw error;
  }
}

/** Lines of a name and a number. */
function keyedNumbers(text = ''): Record<string, number> {
  return Object.fromEntries(
    text
      .split('\n')
      .map((line) => line.split(' '))
      .flatMap(([name = '', value = '']) => (name === '' ? [] : [[name, Number(value)]])),
  );
}

/** `max`, and v1's largest number, are no limit. */
function limitOf<K extends string>(key: K, text = ''): { [key in K]?: number } {
  const limit = text === '' || text === 'max' ? Number.POSITIVE_INFINITY : Number(text);
  const none: { [key in K]?: number } = {};
  return limit > Number.MAX_SAFE_INTEGER ? none : { ...none, [key]: limit };
}

/** `8:0 rbytes=1 wbytes=2 rios=3 …`. */
function unifiedOperations(text = ''): DeviceOperation[] {
  const names: Readonly<Record<string, string>> = { rbytes: 'read', wbytes: 'write' };
  return text.split('\n').flatMap((line) => {
    const [device = '', ...pairs] = line.split(' ');
    return pairs.flatMap((pair) => {
      const [name = '', value = ''] = pair.split('=');
      const operation = names[name];
      return operation === undefined ? [] : [{ ...deviceOf(device), operation, value: Number(value) }];
    });
  });
}

/** `8:0 Read 1`, and a sum over all devices, which has no device. */
function separateOperations(text: string): DeviceOperation[] {
  return text.split('\n').flatMap((line) => {
    const [device = '', operation = '', value = ''] = line.split(' ');
    return value === '' ? [] : [{ ...deviceOf(device), operation, value: Number(value) }];
  });
}

function deviceOf(text: string): { major: number; minor: number } {
  const [major, minor] = text.split(':').map(Number);
  return { major: major ?? 0, minor: minor ?? 0 };
}
