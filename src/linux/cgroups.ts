import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from './system-call-error.ts';

const ROOT = '/sys/fs/cgroup';

/** How this machine mounts cgroups (cgroups(7)): one tree, one a controller, or both with the controllers on v1. */
export function cgroupMode(): 'v1' | 'hybrid' | 'v2' {
  if (existsSync(join(ROOT, 'cgroup.controllers'))) return 'v2';
  return existsSync(join(ROOT, 'unified', 'cgroup.controllers')) ? 'hybrid' : 'v1';
}

/** The directories a cgroup can be in: one on v2, one a hierarchy on v1. */
function hierarchies(): string[] {
  if (cgroupMode() === 'v2') return [ROOT];
  return readdirSync(ROOT, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(ROOT, entry.name));
}

/** Processes in a cgroup such as `/drover/ID`, in any hierarchy; empty where it is not there. */
export function cgroupProcesses(path: string): number[] {
  const found = new Set<number>();
  for (const hierarchy of hierarchies()) {
    const file = join(hierarchy, path, 'cgroup.procs');
    if (!existsSync(file)) continue;
    for (const line of readFileSync(file, 'utf8').split('\n')) if (line !== '') found.add(Number(line));
  }
  return [...found];
}

/**
 * Moves this process to the cgroup it is in. That changes nothing, but the kernel waits for an RCU grace period (5 to 13 ms) before
 * the first of several moves, and not before those that follow within milliseconds: done ahead, nobody waits.
 */
export async function rehearseCgroupMove(ownProcesses: string): Promise<void> {
  await writeFile(ownProcesses, String(process.pid));
}

/** `cgroup.procs` of the cgroup (on v2, or the unified tree of a hybrid) that this process is in; undefined on v1. */
export function ownCgroupProcesses(): string | undefined {
  const memberships = readFileSync('/proc/self/cgroup', 'utf8').trim().split('\n');
  const path = memberships.find((line) => line.startsWith('0::'))?.slice('0::'.length);
  const tree = cgroupMode() === 'v2' ? ROOT : join(ROOT, 'unified');
  return path === undefined ? undefined : join(tree, path, 'cgroup.procs');
}

/** Removes a cgroup and those below it from every hierarchy; what still holds processes is left. */
export function removeCgroup(path: string): void {
  for (const hierarchy of hierarchies()) removeTree(join(hierarchy, path));
}

function removeTree(directory: string): void {
  try {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (entry.isDirectory()) removeTree(join(directory, entry.name));
    }
    rmdirSync(directory);
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'EBUSY', 'ENOTEMPTY', 'ENODEV')) throw error;
  }
}
