import { availableParallelism, totalmem } from 'node:os';
import { type CgroupUsage, cgroupUsage, systemCpuNs } from '#linux/cgroup-usage.ts';
import { type InterfaceCounters, interfaceCounters } from '#linux/interface-counters.ts';
import type { ContainerParts } from './container-parts.ts';
import { cgroupPath } from './container-start.ts';
import { hasProcess } from './container-state.ts';
import type { StoredContainer } from './container-table.ts';
import { timestampOf } from './timestamp.ts';

/** As often as Docker does. */
const INTERVAL_MS = 1000;

/** What a container used up to one moment. */
export interface ContainerSample {
  /** RFC 3339. */
  readAt: string;
  usage: CgroupUsage;
  /** Of all the machine's processors, idle or not. */
  systemCpuNs: number;
  processors: number;
  /** Bytes that it can use at most: its limit, or the machine's. */
  memoryLimit: number;
  /** Undefined where it has the host's network. */
  interfaces: InterfaceCounters[] | undefined;
}

/** A sample and the one before it; neither while the container does not run. */
export interface StatsStep {
  sample: ContainerSample | undefined;
  previous: ContainerSample | undefined;
}

/** A sample each second, until the container is removed or the signal aborts, for which the generator rejects. */
export async function* followStats(
  parts: ContainerParts,
  record: StoredContainer,
  signal: AbortSignal,
): AsyncGenerator<StatsStep> {
  let previous: ContainerSample | undefined;
  while (parts.table.has(record.id)) {
    const sample = await takeSample(parts, record);
    yield { sample, previous };
    previous = sample;
    await parts.clock.sleep(INTERVAL_MS, signal);
  }
}

/** One sample, with one of a second before unless that is not wanted. */
export async function statsNow(
  parts: ContainerParts,
  record: StoredContainer,
  o: { withPrevious: boolean; signal: AbortSignal },
): Promise<StatsStep> {
  const first = await takeSample(parts, record);
  if (!o.withPrevious || first === undefined) return { sample: first, previous: undefined };
  await parts.clock.sleep(INTERVAL_MS, o.signal);
  return { sample: await takeSample(parts, record), previous: first };
}

async function takeSample(
  parts: ContainerParts,
  record: StoredContainer,
): Promise<ContainerSample | undefined> {
  const { state, hostConfig } = record;
  if (!hasProcess(state)) return undefined;
  const [usage, system, interfaces] = await Promise.all([
    cgroupUsage(cgroupPath(parts, record)),
    systemCpuNs(),
    hostConfig.NetworkMode === 'host' ? undefined : interfaceCounters(state.Pid),
  ]);
  const machine = totalmem();
  return {
    readAt: timestampOf(parts.clock.nowMs()),
    usage,
    systemCpuNs: system,
    processors: availableParallelism(),
    memoryLimit: Math.min(usage.memory.limitBytes ?? machine, machine),
    interfaces,
  };
}
