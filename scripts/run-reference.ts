import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setLinkUp } from '#linux/links.ts';
import { unmount } from '#linux/mount.ts';

const START_LIMIT_MS = 60_000;

/**
 * Runs node with the arguments given while Debian's dockerd serves, for `npm run test:reference`: a test of ours that dockerd fails
 * is our misunderstanding. Expects to be alone in fresh network and mount namespaces (unshare(1)), so that nothing that dockerd
 * does to links, firewall and mounts is seen outside of them.
 */
async function main(args: readonly string[]): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'drover-reference-'));
  const cgroup = directory.slice(1).replaceAll('/', '_');
  const socket = join(directory, 'd.sock');
  const log = join(directory, 'dockerd.log');
  setLinkUp('lo');
  const dockerd = spawn(
    'dockerd',
    [
      ...['--data-root', join(directory, 'data'), '--exec-root', join(directory, 'exec')],
      ...['--pidfile', join(directory, 'dockerd.pid'), '--host', `unix://${socket}`],
      ...['--cgroup-parent', `/${cgroup}`, '--storage-driver', 'overlay2'],
    ],
    { stdio: ['ignore', 'ignore', openSync(log, 'w')] },
  );
  try {
    await listening(dockerd, log);
    return (
      spawnSync(process.execPath, [...process.execArgv, ...args], {
        stdio: 'inherit',
        env: { ...process.env, DROVER_TEST_REFERENCE: socket },
      }).status ?? 1
    );
  } finally {
    await ended(dockerd);
    // dockerd leaves network namespaces mounted
    for (const path of mountsBelow(directory)) unmount(path);
    rmSync(directory, { recursive: true, force: true });
    for (const path of spawnSync('find', ['/sys/fs/cgroup', '-maxdepth', '2', '-name', cgroup], {
      encoding: 'utf8',
    })
      .stdout.split('\n')
      .filter(Boolean))
      rmdirSync(path);
  }
}

async function listening(dockerd: ChildProcess, log: string): Promise<void> {
  const deadline = Date.now() + START_LIMIT_MS;
  while (!readFileSync(log, 'utf8').includes('API listen on')) {
    if (dockerd.exitCode !== null || dockerd.pid === undefined || Date.now() > deadline)
      throw new Error(`dockerd did not start:\n${readFileSync(log, 'utf8')}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Innermost first. */
function mountsBelow(directory: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${directory}/`))
    .reverse();
}

async function ended(dockerd: ChildProcess): Promise<void> {
  if (dockerd.pid === undefined || dockerd.exitCode !== null) return;
  const exit = once(dockerd, 'exit');
  dockerd.kill('SIGTERM');
  await exit;
}

process.exitCode = await main(process.argv.slice(2));
