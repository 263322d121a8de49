import type { ContainerSample, StatsStep } from '#engine/containers/container-stats.ts';
import { type ContainerRecord, NEVER } from '#model/container.ts';
import { invalid } from '#model/errors.ts';
import type { Call } from './call.ts';
import { booleanOf } from './query.ts';
import type { Route } from './route.ts';

export const containerStatsRoutes: readonly Route[] = [
  { method: 'GET', path: '/containers/{id}/stats', operation: 'ContainerStats', handler: stats },
];

async function stats(call: Call): Promise<void> {
  const { query, signal } = call;
  const { containers } = call.parts;
  const follows = booleanOf(query, 'stream', true);
  const oneShot = booleanOf(query, 'one-shot');
  if (follows && oneShot) throw invalid('cannot have stream=true and one-shot=true');
  const record = containers.resolve(call.param('id'));
  if (!follows) {
    call.json(200, statsView(record, await containers.stats(record.id, { withPrevious: !oneShot, signal })));
    return;
  }
  const response = call.startStream('application/json');
  try {
    // A client that takes nothing misses something, and nothing is kept for it.
    for await (const step of containers.followStats(record.id, signal))
      if (!response.writableNeedDrain) response.write(`${JSON.stringify(statsView(record, step))}\n`);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  response.end();
}

/** Docker's shape; of a container that does not run only its name. */
function statsView(record: ContainerRecord, { sample, previous }: StatsStep): object {
  return {
    name: `/${record.name}`,
    id: record.id,
    read: sample?.readAt ?? NEVER,
    preread: previous?.readAt ?? NEVER,
    pids_stats: sample?.usage.pids ?? {},
    blkio_stats: ioView(sample),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: cpuView(sample),
    precpu_stats: cpuView(previous),
    memory_stats: sample === undefined ? {} : memoryView(sample),
    ...(sample?.interfaces === undefined ? {} : { networks: networksView(sample.interfaces) }),
  };
}

function cpuView(sample: ContainerSample | undefined): object {
  const cpu = sample?.usage.cpu;
  return {
    cpu_usage: {
      total_usage: cpu?.totalNs ?? 0,
      ...(cpu?.perCpuNs === undefined ? {} : { percpu_usage: cpu.perCpuNs }),
      usage_in_kernelmode: cpu?.kernelNs ?? 0,
      usage_in_usermode: cpu?.userNs ?? 0,
    },
    ...(sample === undefined ? {} : { system_cpu_usage: sample.systemCpuNs, online_cpus: sample.processors }),
    throttling_data: {
      periods: cpu?.periods ?? 0,
      throttled_periods: cpu?.throttledPeriods ?? 0,
      throttled_time: cpu?.throttledNs ?? 0,
    },
  };
}

function memoryView({ usage, memoryLimit }: ContainerSample): object {
  const { bytes, maximumBytes, failures, statistics } = usage.memory;
  return {
    usage: bytes,
    ...(maximumBytes === undefined ? {} : { max_usage: maximumBytes }),
    stats: statistics,
    ...(failures === undefined ? {} : { failcnt: failures }),
    limit: memoryLimit,
  };
}

function ioView(sample: ContainerSample | undefined): object {
  const { bytes, operations } = sample?.usage.io ?? {};
  const list = (entries: ContainerSample['usage']['io']['bytes'] | undefined): object[] | null =>
    entries?.map(({ operation, ...entry }) => ({ ...entry, op: operation })) ?? null;
  return {
    io_service_bytes_recursive: list(bytes),
    io_serviced_recursive: list(operations),
    io_queue_recursive: null,
    io_service_time_recursive: null,
    io_wait_time_recursive: null,
    io_merged_recursive: null,
    io_time_recursive: null,
    sectors_recursive: null,
  };
}

function networksView(interfaces: NonNullable<ContainerSample['interfaces']>): object {
  return Object.fromEntries(
    interfaces.map(({ name, received, sent }) => [
      name,
      {
        rx_bytes: received.bytes,
        rx_packets: received.packets,
        rx_errors: received.errors,
        rx_dropped: received.dropped,
        tx_bytes: sent.bytes,
        tx_packets: sent.packets,
        tx_errors: sent.errors,
        tx_dropped: sent.dropped,
      },
    ]),
  );
}
