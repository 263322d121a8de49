import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listLinks, setLinkUp } from '#linux/links.ts';
import { hasCode } from '#linux/system-call-error.ts';

/**
 * Runs node with the arguments given, as a test run that must leave nothing. Expects to be alone in fresh network and mount
 * namespaces (unshare(1)): whatever link, table, mount, process, cgroup or file is there afterwards was left by a test.
 */
function main(args: readonly string[]): number {
  const temporary = mkdtempSync(join(tmpdir(), 'drover-run-'));
  setLinkUp('lo');
  const before = mounts();
  const done = spawnSync(process.execPath, [...process.execArgv, ...args], {
    stdio: 'inherit',
    env: { ...process.env, TMPDIR: temporary },
  });
  const left = [
    ...mounts()
      .filter((mount) => !before.includes(mount))
      .map((mount) => `mount ${mount}`),
    ...listLinks()
      .filter(({ name }) => name !== 'lo')
      .map(({ name }) => `link ${name}`),
    ...tables(),
    ...processes(),
    ...cgroups(temporary),
    ...readdirSync(temporary).map((name) => `file ${join(temporary, name)}`),
  ];
  if (left.length > 0) {
    console.error(`\nthe tests left behind:\n  ${left.join('\n  ')}`);
    return done.status || 1;
  }
  rmdirSync(temporary);
  return done.status ?? 1;
}

/** Mount points without their numbers, which change when one is made anew. */
function mounts(): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').trim().split('\n');
  return lines.map((line) => line.split(' ').slice(3).join(' '));
}

function tables(): string[] {
  const { stdout, status, stderr } = spawnSync('nft', ['list', 'tables'], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`nft list tables: ${stderr}`);
  return stdout.split('\n').filter(Boolean);
}

/** Processes that share this network namespace: daemons and monitors. What they watch has namespaces of its own, but ends with them. */
function processes(): string[] {
  const own = readlinkSync('/proc/self/ns/net');
  const found: string[] = [];
  for (const pid of readdirSync('/proc').filter(
    (name) => /^\d+$/.test(name) && Number(name) !== process.pid,
  )) {
    try {
      if (readlinkSync(`/proc/${pid}/ns/net`) !== own) continue;
      found.push(`process ${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')}`);
    } catch (error) {
      if (!hasCode(error, 'ENOENT', 'ESRCH', 'EACCES')) throw error;
    }
  }
  return found;
}

/** Daemons name their cgroup after their exec root, which is below the directory of this run. */
function cgroups(temporary: string): string[] {
  const root = '/sys/fs/cgroup';
  const slug = temporary.slice(1).replaceAll('/', '_');
  const hierarchies = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return ['', ...hierarchies.map(({ name }) => name)].flatMap((hierarchy) =>
    readdirSync(join(root, hierarchy))
      .filter((name) => name.includes(slug))
      .map((name) => `cgroup ${join(root, hierarchy, name)}`),
  );
}

process.exitCode = main(process.argv.slice(2));
