import type { HostConfig } from '#model/container.ts';
import { invalid } from '#model/errors.ts';

const LEAST_MEMORY = 6 * 1024 * 1024;
const BILLION = 1_000_000_000;

/** Throws Docker's message for limits that are out of range or contradict each other. `cpus` is how many there are. */
export function checkResources(asked: Partial<HostConfig>, cpus: number): void {
  checkMemory(asked);
  checkCpu(asked, cpus);
  const { OomScoreAdj = 0, ShmSize = 0, BlkioWeight = 0 } = asked;
  if (OomScoreAdj < -1000 || OomScoreAdj > 1000) {
    throw invalid(`Invalid value ${OomScoreAdj}, range for oom score adj is [-1000, 1000]`);
  }
  if (ShmSize < 0) throw invalid('SHM size can not be less than 0');
  if (BlkioWeight !== 0 && (BlkioWeight < 10 || BlkioWeight > 1000)) {
    throw invalid('Range of blkio weight is from 10 to 1000');
  }
  for (const { Name, Soft, Hard } of asked.Ulimits ?? []) {
    if (Soft > Hard && Hard !== -1) {
      throw invalid(`ulimit soft limit must be less than or equal to hard limit: ${Name} ${Soft} > ${Hard}`);
    }
  }
}

function checkMemory(asked: Partial<HostConfig>): void {
  const { Memory: memory = 0, MemorySwap: swap = 0, MemoryReservation: reservation = 0 } = asked;
  if (memory < 0) throw invalid('invalid memory limit: it cannot be negative');
  if (memory > 0 && memory < LEAST_MEMORY) throw invalid('Minimum memory limit allowed is 6MB');
  if (memory > 0 && swap > 0 && swap < memory) {
    throw invalid('Minimum memoryswap limit should be larger than memory limit, see usage');
  }
  if (memory === 0 && swap > 0) {
    throw invalid('You should always set the Memory limit when using Memoryswap limit, see usage');
  }
  const swappiness = asked.MemorySwappiness ?? -1;
  if (swappiness < -1 || swappiness > 100) {
    throw invalid(`Invalid value: ${swappiness}, valid memory swappiness range is 0-100`);
  }
  if (reservation > 0 && reservation < LEAST_MEMORY) {
    throw invalid('Minimum memory reservation allowed is 6MB');
  }
  if (memory > 0 && reservation > memory) {
    throw invalid('Minimum memory limit can not be less than memory reservation limit, see usage');
  }
}

function checkCpu(asked: Partial<HostConfig>, cpus: number): void {
  const { NanoCpus: nano = 0, CpuPeriod: period = 0, CpuQuota: quota = 0, CpuShares: shares = 0 } = asked;
  if (nano > 0 && period > 0)
    throw invalid('Conflicting options: Nano CPUs and CPU Period cannot both be set');
  if (nano > 0 && quota > 0) throw invalid('Conflicting options: Nano CPUs and CPU Quota cannot both be set');
  if (nano < 0 || nano > cpus * BILLION) {
    throw invalid(`range of CPUs is from 0.01 to ${cpus}.00, as there are only ${cpus} CPUs available`);
  }
  if (period !== 0 && (period < 1000 || period > 1_000_000)) {
    throw invalid('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)');
  }
  if (quota > 0 && quota < 1000) throw invalid('CPU cfs quota can not be less than 1ms (i.e. 1000)');
  if (shares < 0) throw invalid(`invalid CPU shares (${shares}): value must be a positive integer`);
  for (const [field, value] of [
    ['cpus', asked.CpusetCpus],
    ['memory nodes', asked.CpusetMems],
  ] as const) {
    if (value !== undefined && value !== '' && !/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(value)) {
      throw invalid(`Invalid value ${value} for cpuset ${field}`);
    }
  }
}
