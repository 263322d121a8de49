import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { runCommand } from '#engine/runtime/process-launcher.ts';
import type { HostConfig } from '#model/container.ts';
import { conflict, internal } from '#model/errors.ts';
import type { ContainerParts } from './container-parts.ts';
import { hasProcess } from './container-state.ts';
import type { StoredContainer } from './container-table.ts';
import { checkResources } from './resource-limits.ts';
import { checkRestartPolicy } from './restart-policy.ts';

/** `docker update`: a new restart policy, and new limits for the next start. */
export async function changeResources(
  parts: ContainerParts,
  record: StoredContainer,
  change: Partial<HostConfig>,
): Promise<void> {
  const { state, id } = record;
  if (state.Dead || state.Status === 'removing') {
    throw conflict(`Cannot update container ${id}: container is marked for removal and cannot be "update".`);
  }
  const next = { ...record.hostConfig, ...change };
  checkResources(next, availableParallelism());
  checkRestartPolicy(next.RestartPolicy);
  if (next.AutoRemove && !['', 'no'].includes(next.RestartPolicy.Name)) {
    throw conflict(`Restart policy cannot be updated because AutoRemove is enabled for the container`);
  }
  const { RestartPolicy: _policy, ...limits } = change;
  if (hasProcess(state) && Object.keys(limits).length > 0) await changeCgroup(parts, id, limits);
  record.hostConfig = next;
  parts.table.save(record);
}

const CPU_PERIOD = 100_000;

/** Changes the limits of a running container, by the runtime's own command. */
async function changeCgroup(parts: ContainerParts, id: string, limits: Partial<HostConfig>): Promise<void> {
  const { NanoCpus, Memory, MemorySwap, MemoryReservation, PidsLimit } = limits;
  const quota = NanoCpus ? Math.round((NanoCpus * CPU_PERIOD) / 1e9) : limits.CpuQuota;
  const period = NanoCpus ? CPU_PERIOD : limits.CpuPeriod;
  const values: [string, number | string | null | undefined][] = [
    ['--memory', Memory],
    ['--memory-swap', MemorySwap],
    ['--memory-reservation', MemoryReservation],
    ['--cpu-period', period],
    ['--cpu-quota', quota],
    ['--cpu-share', limits.CpuShares],
    ['--cpuset-cpus', limits.CpusetCpus],
    ['--cpuset-mems', limits.CpusetMems],
    ['--blkio-weight', limits.BlkioWeight],
    // 0 and less are Docker's "no limit"
    [
      '--pids-limit',
      PidsLimit === undefined || PidsLimit === null ? undefined : PidsLimit > 0 ? PidsLimit : -1,
    ],
  ];
  const options = values.flatMap(([option, value]) => (value ? [`${option}=${value}`] : []));
  if (options.length === 0) return;
  const root = join(parts.execRoot, 'oci');
  const { code, stderr } = await runCommand(parts.runtime.name, ['--root', root, 'update', ...options, id]);
  if (code !== 0) throw internal(`Cannot update container ${id}: ${stderr.trim()}`);
}
