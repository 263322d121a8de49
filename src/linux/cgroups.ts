import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
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

/** The same, with those in the cgroups below it. */
export function cgroupTreeProcesses(path: string): number[] {
  const below = new Set<string>();
  for (const hierarchy of hierarchies()) for (const name of children(join(hierarchy, path))) below.add(name);
  const found = [path, ...below].flatMap((each) =>
    each === path ? cgroupProcesses(path) : cgroupTreeProcesses(join(path, each)),
  );
  return [...new Set(found)];
}

/**
 * Moves this process to a cgroup, made where it is not there, and back when disposed of: what is started in between is born there,
 * and so cannot get away. On v1 and hybrids that is one hierarchy only, where no controller has a say in it.
 */
export function enterCgroup(path: string): Disposable {
  const tree = processTree();
  const memberships = readFileSync('/proc/self/cgroup', 'utf8').trim().split('\n');
  const own = memberships.find((line) => line.startsWith(tree.membership))?.slice(tree.membership.length);
  const directory = join(tree.mountedAt, path);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'cgroup.procs'), String(process.pid));
  return {
    [Symbol.dispose]: () =>
      writeFileSync(join(tree.mountedAt, own ?? '/', 'cgroup.procs'), String(process.pid)),
  };
}

/** The hierarchy that tells processes apart: the unified one, or on v1 that of systemd, which has no controller. */
function processTree(): { mountedAt: string; membership: string } {
  if (cgroupMode() === 'v2') return { mountedAt: ROOT, membership: '0::' };
  if (cgroupMode() === 'hybrid') return { mountedAt: join(ROOT, 'unified'), membership: '0::' };
  const name = existsSync(join(ROOT, 'systemd')) ? 'systemd' : 'pids';
  const lines = readFileSync('/proc/self/cgroup', 'utf8').split('\n');
  const line = lines.find((each) => each.includes(name === 'systemd' ? ':name=systemd:' : `:${name}:`)) ?? '';
  return { mountedAt: join(ROOT, name), membership: line.slice(0, line.lastIndexOf(':') + 1) };
}

/** Removes a cgroup and those below it from every hierarchy; what still holds processes is left. */
export function removeCgroup(path: string): void {
  for (const hierarchy of hierarchies()) removeTree(join(hierarchy, path));
}

function removeTree(directory: string): void {
  try {
    for (const name of children(directory)) removeTree(join(directory, name));
    rmdirSync(directory);
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'EBUSY', 'ENOTEMPTY', 'ENODEV')) throw error;
  }
}

function children(directory: string): string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENODEV')) return [];
    throw error;
  }
}
